"""What a caller can do, on every door. Whether it may, `permissions` says."""

from __future__ import annotations

from typing import Any

from messaging import model, permissions
from messaging.bus.contract import Bus
from messaging.errors import BadRequest, Conflict, UnknownTopic, UnknownUser
from messaging.limits.limits import Limits
from messaging.limits.quotas import Quotas
from messaging.log.appender import Appender
from messaging.log.batch import Origin
from messaging.log.content import lifetime_of
from messaging.model import (
    Changed,
    Content,
    Kind,
    Member,
    Membership,
    Message,
    Topic,
    TopicView,
    User,
    Voided,
)
from messaging.news import MAKER, kind_of_unowned
from messaging.permissions import Aim, Caller, Past
from messaging.readers.pages import fit
from messaging.settings.settings import Settings
from messaging.store.append import Draft
from messaging.store.inboxes import Inboxes
from messaging.store.store import HISTORY_BYTES, Store

MAX_HISTORY = 100
MAX_TOPICS = 1000


class Actions:
    """Everything that can be done, with its permission."""

    def __init__(self, store: Store, appender: Appender, bus: Bus, settings: Settings, limits: Limits) -> None:
        self.limits = limits
        self._store = store
        self._appender = appender
        self._bus = bus
        self._settings = settings
        self._quotas = Quotas(store.pool, settings, limits)
        self.epochs = store.epochs
        self._inboxes = Inboxes(store)

    # Publishing

    async def aim(self, caller: Caller, target: str) -> Aim:
        """Where a message to ``target`` goes: a topic visible to the caller, else the inbox of a known user.

        ``@NAME`` is always the inbox, ``#NAME`` always the topic.

        Raises UnknownTopic, UnknownUser, NotAMember, Forbidden; Conflict where it is a topic and a user.
        """
        if target.startswith("@"):
            return await self._aim_at_inbox(caller, target[1:])
        name = model.name_of_topic(target)
        view = await self._view(caller, target)
        if view is None and permissions.may_make_to_write(caller, name):
            view = await self._unowned(caller, target)
        try:
            aim = permissions.aim_at(caller, view, target)
        except UnknownTopic:
            if target.startswith("#") or caller.grants.writes(name):  # it means a topic, which is not there
                raise
            try:
                return await self._aim_at_inbox(caller, target)
            except UnknownUser:
                raise UnknownTopic from None
        if view is not None and view.is_invited and caller.user is not None:
            await self._quotas.take_up(aim.topic.id, caller.user.id)
        return aim

    async def _aim_at_inbox(self, caller: Caller, user: str) -> Aim:
        name = _known_as(user)
        caller.require_write(model.inbox_of(name))
        return Aim(await self._inboxes.of(name), None, source=caller.id)

    def publish(
        self, aim: Aim, sender: str, content: Content, key: str | None, ttl: int | None, origin: Origin, context: Any
    ) -> None:
        """Hand a message to the appender; ``origin`` hears what became of it.

        Args:
            key: makes a retry harmless: the same with the same content is stored once.
            ttl: seconds that the message lives; None: as its topic says.

        Raises:
            Forbidden: the aim is not one for writing.
            Unavailable: too much is in flight.
        """
        if not aim.allowed:
            raise permissions.not_for_writing()
        lifetime = lifetime_of(ttl, aim.topic.lifetime, aim.topic.kind, self._settings)
        draft = Draft(topic_id=aim.topic.id, member=aim.member, sender=sender, key=key, content=content, ttl=lifetime)
        self._appender.submit(draft, origin, context, aim.source)

    # Belonging

    async def subscribe(self, caller: Caller, user: User, name: str, inviter: str | None = None) -> bool:
        """Make ``user`` a member of a topic that the caller sees. Whether it was none before."""
        view = await self.topic_to_join(caller, name)
        return await self._join(caller, view.topic, user, inviter)

    async def topic_to_join(self, caller: Caller, name: str) -> TopicView:
        """A topic that the caller sees, made if need be where it is for news. Raises UnknownTopic, Forbidden."""
        found = await self._view(caller, name)
        if found is None and permissions.may_make_to_read(
            caller, model.name_of_topic(name), kind_of_unowned(self._settings)
        ):
            found = await self._unowned(caller, name, caller.user)
        view = permissions.visible(caller, found)
        permissions.refuse_inbox(view.topic)
        return view

    async def unsubscribe(self, caller: Caller, user: User, name: str) -> bool:
        """End a membership: one's own, or as a backend or owner anybody's. Whether there was one."""
        found = permissions.leaving(caller, await self._view(caller, name), user)
        changes = await self._store.leave(found.topic.id, user.id)
        for change in changes:
            self._bus.tell(change)
        return bool(changes)

    async def invite(self, caller: Caller, name: str, username: str) -> bool:
        """Make a known user a member; any member may. Whether it was none before."""
        view = permissions.inviting(caller, await self._view(caller, name))
        invited = await self.user(username)
        return await self._join(caller, view.topic, invited, None)

    async def _join(self, caller: Caller, topic: Topic, user: User, inviter: str | None) -> bool:
        if caller.user is None:
            joined = await self._store.join(topic.id, user.id, "member", inviter)
        else:
            joined = await self._quotas.join(topic.id, user.id, None if caller.user.id == user.id else caller.user)
        if joined:
            self._bus.tell(Changed(user.id))
        return joined

    # Reading

    async def history(
        self, caller: Caller, name: str, before: int | None, after: int | None, limit: int, epoch: str | None = None
    ) -> tuple[list[Message], bool, str]:
        """Messages in order, whether there are more, and their epoch: beyond ``after`` where it is given, else before
        ``before``. One at least, then as many as fit in 128 KiB. Raises Conflict where these seqs are of another epoch.
        """
        view, opened = await self.readable(caller, name)
        now = self.epochs.require(view.topic, epoch)
        floor = max(opened.floor, after or 0)
        limit = max(1, min(limit, MAX_HISTORY))
        newest = after is None
        messages = await self._store.history(
            view.topic.id, floor, before or model.MAX_SEQ, limit + 1, opened.membership, newest=newest
        )
        kept = fit(messages, limit, HISTORY_BYTES, newest=newest)
        return kept, len(kept) < len(messages), now

    async def readable(self, caller: Caller, name: str) -> tuple[TopicView, Past]:
        """A topic of which the caller may read, and how much. Raises UnknownTopic, NotAMember."""
        view = permissions.visible(caller, await self._view(caller, name))
        return view, permissions.past(caller, view)

    async def topics(
        self, caller: Caller, user: User, device: str = "", after: str = "", limit: int = MAX_TOPICS
    ) -> tuple[list[tuple[Membership, int, int]], bool]:
        """What a user belongs to, as far as the caller sees it, by name behind ``after``; whether there are more.

        Each with its head and this device's cursor.
        """
        limit = max(1, min(limit, MAX_TOPICS))
        found: list[tuple[Membership, int, int]] = []
        more = True
        while more and len(found) <= limit:
            page = await self._store.topics_page(user.id, device, after, limit + 1)
            found += (each for each in page if permissions.sees(caller, each[0].topic, member=True))
            more = len(page) > limit
            after = page[-1][0].topic.name if page else after
        return found[:limit], len(found) > limit

    async def topic(self, caller: Caller, name: str) -> TopicView:
        return permissions.visible(caller, await self._view(caller, name))

    async def members(self, caller: Caller, name: str, after: str, limit: int) -> list[Member]:
        view = permissions.belonging(caller, await self._view(caller, name))
        return await self._store.members_page(view.topic.id, after, limit)

    async def receipts(
        self, caller: Caller, name: str, seq: int, after: str, limit: int, epoch: str | None = None
    ) -> list[tuple[str, bool]]:
        """By member that a message was for: whether any of its devices has it. May lag one flush of cursors.

        Raises Conflict where ``seq`` is of another epoch.
        """
        view = permissions.belonging(caller, await self._view(caller, name))
        self.epochs.require(view.topic, epoch)
        if seq > view.head:
            raise BadRequest(f"The topic has no message {seq} yet; its last one is {view.head}.")
        return await self._store.receipts_page(view.topic.id, seq, after, limit)

    # Topics

    async def create_topic(
        self, caller: Caller, name: str, owner: User, kind: Kind,
        retention: int | None = None, lifetime: int | None = None,
    ) -> None:  # fmt: skip
        """Raises BadRequest: outside the rule; Conflict: taken; Forbidden: another's to make; LimitReached."""
        name = model.name_of_topic(name)
        if not model.is_topic_name(name) or kind == "direct":
            raise BadRequest(f"{name!r} is not a name that a topic may have.")
        bridged = not caller.is_backend and await self._store.is_bridged(name)
        permissions.check_creation(caller, name, owner, bridged=bridged)
        create = self._store.create_topic if caller.is_backend else self._quotas.create_topic
        if await create(name, kind, owner, retention, lifetime) is None:
            raise Conflict(f"There is a topic or a user {name!r} already.")
        self._bus.tell(Changed(owner.id))

    async def make_unowned(self, name: str, creator: str, kind: Kind | None = None) -> None:
        """Make a topic that belongs to nobody, if nothing has this name. Raises BadRequest for what is no name."""
        if not model.is_topic_name(name):
            raise BadRequest(f"{name!r} is not a name that a topic may have.")
        await self._store.create_unowned(name, kind or kind_of_unowned(self._settings), creator)

    async def _unowned(self, caller: Caller, name: str, maker: User | None = None) -> TopicView:
        """``maker``: the user for whom it counts. Raises Conflict: it is the name of a user."""
        if maker is None:
            await self.make_unowned(model.name_of_topic(name), MAKER)
        else:
            await self._quotas.create_unowned(model.name_of_topic(name), kind_of_unowned(self._settings), MAKER, maker)
        made = await self._view(caller, name)
        if made is None:
            raise Conflict(f"There is a user {name!r}, so there can be no topic.")
        return made

    async def change_topic(
        self, caller: Caller, name: str, kind: Kind, retention: int | None, lifetime: int | None
    ) -> None:
        view = permissions.owning(caller, await self._view(caller, name))
        permissions.refuse_inbox(view.topic)
        await self._store.change_topic(view.topic.id, kind, retention, lifetime)

    async def delete_topic(self, caller: Caller, name: str) -> None:
        view = permissions.owning(caller, await self._view(caller, name))
        permissions.refuse_inbox(view.topic)
        for user_id in await self._store.delete_topic(view.topic.id):
            self._bus.tell(Changed(user_id))

    # Users and tokens

    async def user(self, name: str) -> User:
        """A known user, by the name or what another system calls the person. Raises UnknownUser."""
        return await self._store.user(_known_as(name))

    async def know(self, name: str) -> User:
        """The same, made known if need be. Raises BadRequest for what can be no name."""
        name = model.person_name(name)
        found = await self._store.find_user(name)
        if found is None:
            await self._store.know([name])
            return await self._store.user(name)
        return found[0]

    async def revoke_user(self, name: str) -> None:
        """Void every token of a user issued until now; its sessions end. Raises UnknownUser."""
        self._bus.tell(Changed(await self._store.tokens.revoke_user(name)))

    async def revoke_token(self, jti: str) -> None:
        """Void one token by its id; its sessions end."""
        await self._store.tokens.revoke(jti)
        self._bus.tell(Voided(jti))

    async def _view(self, caller: Caller, name: str) -> TopicView | None:
        name = model.name_of_topic(name)
        if not model.is_encoded_name(name.removeprefix("@")):  # an inbox's owner, too, is within the rule or not there
            return None
        return await self._store.topic_view(name, None if caller.user is None else caller.user.id)


def _known_as(name: str) -> str:
    """`person_name`; what can be none, nobody has. Raises UnknownUser."""
    try:
        return model.person_name(name)
    except BadRequest:
        raise UnknownUser from None
