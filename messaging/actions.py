"""What a caller may do, on every door. The sole home of permissions.

A private topic that a caller may not see does not exist for it: the same error, whatever it tries.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import Any

from messaging.appender import Appender, Origin
from messaging.bus import Bus
from messaging.errors import BadRequest, Conflict, Forbidden, NotAMember, UnknownTopic, UnknownUser
from messaging.model import (
    MAX_SEQ,
    Changed,
    Kind,
    Membership,
    Message,
    Topic,
    User,
    Voided,
    inbox_of,
    is_name,
    is_topic_name,
)
from messaging.settings import Settings
from messaging.store import Member, Standing, Store
from messaging.store_append import Draft

HISTORY_MOST = 100
INBOXES_KNOWN = 100_000  # an inbox never goes, so its id may be remembered


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a user, or a backend that holds the API key (or any caller in open mode) and acts for anyone."""

    user: User | None

    @property
    def is_backend(self) -> bool:
        return self.user is None

    def require_self(self, username: str) -> None:
        """Raises Forbidden where the caller is a user and another one than ``username``."""
        if self.user is not None and self.user.name != username:
            raise Forbidden("With a user's token you act for that user alone.")


BACKEND = Caller(None)


@dataclass(frozen=True, slots=True)
class Aim:
    """Where a publish goes: a topic, and the user who must belong to it when it is stored (None: nobody must)."""

    topic: Topic
    member: int | None


def visible(caller: Caller, standing: Standing | None) -> Standing:
    """The topic, if it exists for this caller. Raises UnknownTopic."""
    if standing is None:
        raise UnknownTopic
    if not caller.is_backend and standing.topic.kind != "public" and standing.membership is None:
        raise UnknownTopic
    return standing


def belonging(caller: Caller, standing: Standing | None) -> Standing:
    """The topic, if this caller is a member of it or a backend. Raises UnknownTopic, NotAMember."""
    found = visible(caller, standing)
    if not caller.is_backend and found.membership is None:
        raise NotAMember
    return found


def owning(caller: Caller, standing: Standing | None) -> Standing:
    """The topic, if this caller may change it. Raises UnknownTopic, NotAMember, Forbidden."""
    found = belonging(caller, standing)
    if found.membership is not None and found.membership.role != "owner":
        raise Forbidden("Only the owner of this topic may do this.")
    return found


def joinable(topic: Topic) -> None:
    """Raises Forbidden for an inbox."""
    if topic.kind == "direct":
        raise Forbidden("An inbox belongs to its user alone: it can be neither joined, left nor changed.")


def history_starts(caller: Caller, standing: Standing) -> int:
    """The seq behind which history is open: public topics from the start, private ones from joining."""
    if standing.topic.kind == "public" or caller.is_backend or standing.membership is None:
        return 0
    return standing.membership.joined_seq


class Actions:
    """Everything that can be done, with its permission."""

    def __init__(self, store: Store, appender: Appender, bus: Bus, settings: Settings) -> None:
        self._store = store
        self._appender = appender
        self._bus = bus
        self._settings = settings
        self._inboxes: dict[str, Topic] = {}

    # Publishing

    async def aim(self, caller: Caller, target: str) -> Aim:
        """Where a message to ``target`` goes: a topic visible to the caller, else the inbox of a known user.

        Raises:
            UnknownTopic, UnknownUser, NotAMember.
        """
        if target.startswith("@"):
            return Aim(await self._inbox(target[1:]), None)
        standing = await self._standing(caller, target)
        try:
            found = belonging(caller, standing)
        except UnknownTopic:
            try:
                return Aim(await self._inbox(target), None)
            except UnknownUser:
                raise UnknownTopic from None
        return Aim(found.topic, None if caller.user is None else caller.user.id)

    def publish(
        self, aim: Aim, sender: str, content: str, key: str | None, ttl: int | None, origin: Origin, context: Any
    ) -> None:
        """Hand a message to the appender; ``origin`` hears what became of it.

        Args:
            content: JSON that `check_content` has passed.
            key: makes a retry harmless: the same with the same content is stored once.
            ttl: seconds that the message lives; None: as its topic says.

        Raises:
            Unavailable: too much is in flight.
        """
        digest = None if key is None else hashlib.blake2b(content.encode(), digest_size=16).digest()
        lifetime = ttl if ttl is not None else self._lifetime(aim.topic)
        draft = Draft(aim.topic.id, aim.member, sender, key, digest, content, lifetime)
        self._appender.submit(draft, origin, context)

    def _lifetime(self, topic: Topic) -> int | None:
        if topic.lifetime is not None:
            return topic.lifetime
        return self._settings.inbox_ttl if topic.kind == "direct" else None

    async def _inbox(self, user: str) -> Topic:
        topic = self._inboxes.get(user)
        if topic is None:
            standing = await self._store.standing(inbox_of(user)) if is_name(user) else None
            if standing is None:
                raise UnknownUser
            topic = standing.topic
            if len(self._inboxes) >= INBOXES_KNOWN:
                self._inboxes.clear()
            self._inboxes[user] = topic
        return topic

    # Belonging

    async def subscribe(self, caller: Caller, user: User, name: str, inviter: str | None = None) -> bool:
        """Make ``user`` a member of a topic that the caller sees. Whether it was none before."""
        standing = visible(caller, await self._standing(caller, name))
        joinable(standing.topic)
        return await self._join(standing.topic, user, inviter)

    async def unsubscribe(self, caller: Caller, user: User, name: str) -> bool:
        """End a membership: one's own, or as a backend or owner anybody's. Whether there was one."""
        standing = await self._standing(caller, name)
        myself = caller.user is not None and caller.user.id == user.id
        found = belonging(caller, standing) if myself else owning(caller, standing)
        joinable(found.topic)
        left = await self._store.leave(found.topic.id, user.id)
        self._bus.tell(Changed(user.id))
        return left

    async def invite(self, caller: Caller, name: str, username: str) -> bool:
        """Make a known user a member; any member may. Whether it was none before."""
        standing = belonging(caller, await self._standing(caller, name))
        joinable(standing.topic)
        invited = await self.user(username)
        return await self._join(standing.topic, invited, None if caller.user is None else caller.user.name)

    async def _join(self, topic: Topic, user: User, inviter: str | None) -> bool:
        joined = await self._store.join(topic.id, user.id, "member", inviter)
        if joined:
            self._bus.tell(Changed(user.id))
        return joined

    # Reading

    async def history(
        self, caller: Caller, name: str, before: int | None, after: int | None, limit: int
    ) -> tuple[list[Message], bool]:
        """Messages in order, and whether there are more: beyond ``after`` where it is given, else before ``before``."""
        standing = belonging(caller, await self._standing(caller, name))
        floor = max(history_starts(caller, standing), after or 0)
        membership = standing.membership
        guard = membership.id if membership is not None and standing.topic.kind != "public" else None
        limit = max(1, min(limit, HISTORY_MOST))
        newest = after is None
        messages = await self._store.history(
            standing.topic.id, floor, before or MAX_SEQ, limit + 1, guard, newest=newest
        )
        more = len(messages) > limit
        return (messages[-limit:] if newest else messages[:limit]), more

    async def topics(self, user: User, device: str = "") -> list[tuple[Membership, int, int]]:
        """What a user belongs to: each with its head and this device's cursor."""
        positions = await self._store.positions(user.id, device)
        memberships = await self._store.memberships(user.id)
        return [(m, *positions[m.topic.id]) for m in memberships if m.topic.id in positions]

    async def topic(self, caller: Caller, name: str) -> Standing:
        return visible(caller, await self._standing(caller, name))

    async def members(self, caller: Caller, name: str, after: str, limit: int) -> list[Member]:
        standing = belonging(caller, await self._standing(caller, name))
        return await self._store.members_page(standing.topic.id, after, limit)

    async def receipts(
        self, caller: Caller, name: str, seq: int, after: str, limit: int
    ) -> list[tuple[str, bool]]:
        """By member that a message was for: whether any of its devices has it. May lag one flush of cursors."""
        standing = belonging(caller, await self._standing(caller, name))
        if seq > standing.head:
            raise BadRequest(f"The topic has no message {seq} yet; its last one is {standing.head}.")
        return await self._store.receipts_page(standing.topic.id, seq, after, limit)

    async def reached(self, topic: Topic, seq: int) -> bool:
        """Whether a topic's log goes as far as ``seq``."""
        return seq <= (await self._store.heads([topic.id])).get(topic.id, 0)

    # Topics

    async def create_topic(
        self, caller: Caller, name: str, owner: User, kind: Kind,
        retention: int | None = None, lifetime: int | None = None,
    ) -> None:  # fmt: skip
        """Raises BadRequest for a name outside the rule, Conflict for a taken one, Forbidden for another's topic."""
        if not is_topic_name(name) or kind == "direct":
            raise BadRequest(f"{name!r} is not a name that a topic may have.")
        caller.require_self(owner.name)
        if await self._store.create_topic(name, kind, owner, retention, lifetime) is None:
            raise Conflict(f"There is a topic {name!r} already.")
        self._bus.tell(Changed(owner.id))

    async def change_topic(
        self, caller: Caller, name: str, kind: Kind, retention: int | None, lifetime: int | None
    ) -> None:
        standing = owning(caller, await self._standing(caller, name))
        joinable(standing.topic)
        await self._store.change_topic(standing.topic.id, kind, retention, lifetime)

    async def delete_topic(self, caller: Caller, name: str) -> None:
        standing = owning(caller, await self._standing(caller, name))
        joinable(standing.topic)
        for user_id in await self._store.delete_topic(standing.topic.id):
            self._bus.tell(Changed(user_id))

    # Users and tokens

    async def user(self, name: str) -> User:
        """A known user. Raises UnknownUser."""
        if not is_name(name):
            raise UnknownUser
        return await self._store.user(name)

    async def know(self, name: str) -> User:
        """A user, made known if need be. Raises BadRequest for a name outside the rule."""
        if not is_name(name):
            raise BadRequest(f"{name!r} is not a name that a user may have.")
        found = await self._store.find_user(name)
        if found is None:
            await self._store.know([name])
            return await self._store.user(name)
        return found[0]

    async def revoke_user(self, name: str) -> None:
        """Void every token of a user issued until now; its sessions end."""
        self._bus.tell(Changed(await self._store.revoke_user(name, time.time())))

    async def revoke_token(self, jti: str) -> None:
        """Void one token by its id; its sessions end."""
        await self._store.revoke_token(jti)
        self._bus.tell(Voided(jti))

    async def _standing(self, caller: Caller, name: str) -> Standing | None:
        if not is_name(name):  # an inbox's name, too, is within the rule or not there
            return None
        return await self._store.standing(name, None if caller.user is None else caller.user.id)
