"""The store: what the rest of the domain asks of PostgreSQL. The statements are in sql/, by the names used here.

Reads, and writes that are harmless to repeat, are tried again while a failure may pass; then they raise `Unavailable`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec

from messaging.delivery import fill
from messaging.errors import LimitReached, TokenRevoked, Unavailable, UnknownTopic, UnknownUser
from messaging.model import MAX_SEQ, Changed, Kind, Member, Membership, Message, Page, Role, Topic, TopicView, User
from messaging.store.append import ANSWER_TIME, LogWriter
from messaging.store.clock import ClockOffset
from messaging.store.leases import LeaseStore
from messaging.store.pool import Pool
from messaging.store.timeline import Epochs
from messaging.store.tokens import TokenStore, digest

MAX_DEVICES = 16
DEVICE_KEPT = timedelta(days=30)
PAGE_ROWS = 512
HISTORY_BYTES = 128 * 1024  # of content

# Cursors may be lost by a crash: what they confirmed is then delivered again, which is what "at least once" allows.
_QUICK = "SET LOCAL synchronous_commit = off"


@dataclass(frozen=True, slots=True)
class Move:
    """A cursor's new position."""

    topic_id: int
    membership_id: int
    device: str
    seq: int


class Store:
    """The truth, behind typed methods. `open` first, `close` last."""

    def __init__(self, dsn: str, pool_size: int = 8) -> None:
        self._dsn = dsn
        self.pool = Pool(dsn, pool_size)
        self.epochs = Epochs(self.pool)
        self.leases = LeaseStore(dsn)
        self.tokens = TokenStore(dsn, self.pool)
        self.clock = ClockOffset()
        self._ping: asyncio.Task[list[Any]] | None = None

    def log_writer(self, node: str, answer_time: float = ANSWER_TIME) -> LogWriter:
        """A writer of the process called ``node``, with a connection of its own. It is closed before the store is."""
        return LogWriter(self._dsn, self.pool, node, answer_time=answer_time)

    async def open(self) -> None:
        """Connect. Raises Unavailable."""
        await self.pool.open()
        await self.epochs.look()
        await self.leases.open()
        await self.tokens.open()

    async def close(self) -> None:
        await self.tokens.close()
        await self.leases.close()
        await self.pool.close()

    async def ping(self) -> None:
        """Raises Unavailable where the database does not answer, or its clock is another than ours.

        Single-flight: however many ask at once, the database is asked once.
        """
        if self._ping is None or self._ping.done():
            self._ping = asyncio.create_task(self.pool.fetch("ping"))
            self._ping.add_done_callback(lambda ping: ping.cancelled() or ping.exception())  # none may wait for it
        await asyncio.shield(self._ping)
        if self.clock.trouble:
            raise Unavailable(self.clock.trouble)

    async def shared_value(self, name: str, offer: str) -> str:
        """The value that all services of this installation use: the first that any offered."""
        return str(await self.pool.value("shared_value", name, offer))

    # Users, devices, tokens

    async def know(self, names: Sequence[str]) -> None:
        """Make users known, each with an inbox."""
        await self.pool.fetch("users_know", list(names))

    async def find_user(self, name: str, jti: str = "", issued_at: float = 0.0) -> tuple[User, bool] | None:
        """A known user, and whether its token (by id and time of issue, seconds since 1970) was revoked."""
        row = await self.pool.row("user_by_name", name, digest(jti), issued_at)
        return None if row is None else (User(row["id"], row["name"], row["version"]), row["revoked"])

    async def user(self, name: str) -> User:
        """A known user. Raises UnknownUser."""
        found = await self.find_user(name)
        if found is None:
            raise UnknownUser
        return found[0]

    async def users_page(self, after: str, limit: int) -> list[tuple[int, str]]:
        return [(row["id"], row["name"]) for row in await self.pool.fetch("users_page", after, limit)]

    async def see_device(self, user_id: int, device: str, jti: str = "", issued_at: float = math.inf) -> int:
        """A device connects: it counts from now on, and has its cursors. The version of its user.

        Raises:
            TokenRevoked: the token (by id and time of issue) was revoked by now.
            LimitReached: there are too many devices.
        """
        token = digest(jti), issued_at
        row = await self.pool.row("device_see", user_id, device, MAX_DEVICES, DEVICE_KEPT, *token)
        if row is None:
            raise Unavailable  # another database than the one that knew the user
        if row["revoked"]:
            raise TokenRevoked
        if not row["fits"]:
            raise LimitReached(f"This user has {MAX_DEVICES} devices already, the most. Use one of their names.")
        return int(row["version"])

    async def stay_seen(self, devices: Sequence[tuple[int, str]]) -> None:
        """These devices, each of a user by its id, are connected."""
        await self.pool.fetch("devices_stay", [user_id for user_id, _ in devices], [name for _, name in devices])

    # Topics and memberships

    async def memberships(self, user_id: int, after: int = 0, limit: int | None = None) -> list[Membership]:
        """What a user belongs to, by topic id: the next ``limit`` (all) behind one."""
        return [_membership(row) for row in await self.pool.fetch("memberships_of_user", user_id, after, limit)]

    async def positions(
        self, user_id: int, device: str, after: int = 0, until: int = MAX_SEQ
    ) -> dict[int, tuple[int, int]]:
        """By topic id, behind ``after`` up to ``until``: the head, and what this device has confirmed."""
        rows = await self.pool.fetch("positions_of_user", user_id, device, after, until)
        return {row["topic_id"]: (row["last_seq"], row["cursor"]) for row in rows}

    async def topics_page(self, user_id: int, device: str, after: str, limit: int) -> list[tuple[Membership, int, int]]:
        """What a user belongs to, by name: the next ``limit`` behind one, with their heads and the device's cursors."""
        rows = await self.pool.fetch("topics_page", user_id, device, after, limit)
        return [(_membership(row), row["last_seq"], row["cursor"]) for row in rows]

    async def topic_view(self, name: str, user_id: int | None = None) -> TopicView | None:
        """A topic by its name, as this user stands to it."""
        row = await self.pool.row("topic_by_name", name, user_id)
        if row is None:
            return None
        topic = _topic(row, row["id"])
        if row["membership_id"] is None:
            return TopicView(topic, row["last_seq"], None)
        member = Membership(row["membership_id"], topic, row["role"], row["joined_seq"], None)
        return TopicView(topic, row["last_seq"], member, row["is_invited"])

    async def create_topic(
        self, name: str, kind: Kind, owner: User, retention: int | None = None, lifetime: int | None = None,
        *, by_backend: bool = True,
    ) -> int | None:  # fmt: skip
        """Its id, with its owner as first member; None where the name is another topic's, or a user's."""
        topic_id: int | None = await self.pool.value(
            "topic_create", name, kind, owner.name, retention, lifetime, owner.id, by_backend
        )
        return topic_id

    async def create_unowned(self, name: str, kind: Kind, creator: str) -> None:
        """A topic without members, if nothing has this name."""
        await self.pool.fetch("topic_create", name, kind, creator, None, None, None, True)

    async def is_bridged(self, name: str) -> bool:
        """Whether a bridge feeds topics of this name, or takes them out."""
        return bool(await self.pool.value("topic_bridged", name))

    async def change_topic(self, topic_id: int, kind: Kind, retention: int | None, lifetime: int | None) -> None:
        await self.pool.fetch("topic_change", topic_id, kind, retention, lifetime)

    async def delete_topic(self, topic_id: int) -> list[int]:
        """The ids of the users who belonged to it. Raises UnknownTopic."""
        gone: list[int] | None = await self.pool.value("topic_delete", topic_id)
        if gone is None:
            raise UnknownTopic
        return gone

    async def join(self, topic_id: int, user_id: int, role: Role, inviter: str | None) -> bool:
        """Whether the membership is new. Raises UnknownTopic."""
        joined: bool | None = await self.pool.value("topic_join", topic_id, user_id, role, inviter)
        if joined is None:
            raise UnknownTopic
        return joined

    async def leave(self, topic_id: int, user_id: int) -> list[Changed]:
        """Whose memberships are others now, the member's first; nobody's where it was no member."""
        [row] = await self.pool.fetch("topic_leave", topic_id, user_id)
        return [Changed(user_id, (topic_id, row["ended"])), *map(Changed, row["others"])] if row["ended"] else []

    async def members_page(self, topic_id: int, after: str, limit: int) -> list[Member]:
        rows = await self.pool.fetch("members_page", topic_id, after, limit)
        return [Member(r["name"], r["role"], r["joined_seq"], msgspec.json.decode(r["cursors"])) for r in rows]

    async def member_names(self, topic_ids: Sequence[int], limit: int) -> dict[int, list[str]]:
        """By topic id: the first ``limit`` members by name."""
        rows = await self.pool.fetch("members_named", topic_ids, limit)
        return {row["topic_id"]: row["names"] for row in rows}

    async def receipts_page(self, topic_id: int, seq: int, after: str, limit: int) -> list[tuple[str, bool]]:
        rows = await self.pool.fetch("receipts_page", topic_id, seq, after, limit)
        return [(row["name"], row["has"]) for row in rows]

    # The log

    async def heads(self, topic_ids: Sequence[int]) -> dict[int, int]:
        rows = await self.pool.fetch("heads_of", topic_ids)
        return {row["topic_id"]: row["last_seq"] for row in rows}

    async def page(
        self, topic: Topic, after: int, budget: int, memberships: Sequence[int] = ()
    ) -> tuple[Page, set[int]]:
        """What lies beyond ``after``: at least one entry, then up to ``budget`` bytes, and which memberships hold.

        Raises:
            UnknownTopic: it has gone.
        """
        direct = topic.kind == "direct"
        rows = await self.pool.fetch("page_read", topic.id, after, budget, memberships, direct, PAGE_ROWS)
        if not rows:
            raise UnknownTopic
        first = rows[0]
        messages = [_message(row) for row in rows if row["seq"] is not None]
        scanned = first["scanned"] or 0
        cut = len(messages) < scanned or scanned == PAGE_ROWS
        return fill(messages, after, first["head"], cut, first["seen"] or 0), set(first["members"])

    async def history(
        self, topic_id: int, after: int, before: int, limit: int, membership: int | None, *, newest: bool
    ) -> list[Message]:
        """Messages with after < seq < before, ascending: the newest ``limit`` of them, or the oldest.

        Those that fit in `HISTORY_BYTES`, and one more where there is one.
        """
        name = "history_before" if newest else "history_after"
        rows = await self.pool.fetch(name, topic_id, after, before, limit, membership, HISTORY_BYTES)
        return [_message(row) for row in (reversed(rows) if newest else rows)]

    async def move_cursors(self, moves: Sequence[Move]) -> set[int]:
        """Move cursors, only upwards. The ids of the inboxes among their topics.

        Raises:
            Unavailable: moving again is harmless.
        """
        columns = zip(*((m.topic_id, m.membership_id, m.device, m.seq) for m in moves), strict=True)
        async with self.pool.connection() as connection, connection.transaction():
            await connection.execute(_QUICK)
            rows = await connection.fetch(self.pool.text("cursors_move"), *map(list, columns))
        return {row[0] for row in rows}

    # Upkeep: small batches

    async def purge(self, name: str, *args: Any) -> int:
        """Run one purge by its statement's name: idempotent, whoever runs it beside. The rows that it touched."""
        async with self.pool.connection() as connection, connection.transaction():
            await connection.execute(_QUICK)
            status: str = await connection.execute(self.pool.text(name), *args)
        return int(status.rsplit(" ", 1)[1])

    async def deleted_topics(self, limit: int) -> list[int]:
        return [row["id"] for row in await self.pool.fetch("topics_deleted", limit)]

    async def topics_slice(self, after: int, limit: int) -> list[tuple[int, Kind]]:
        """The next topics by id: id and kind."""
        return [(row["id"], row["kind"]) for row in await self.pool.fetch("topics_slice", after, limit)]


def _topic(row: Any, topic_id: int) -> Topic:
    return Topic(
        topic_id, row["name"], row["kind"], row["creator"], retention=row["retention"], lifetime=row["lifetime"],
        in_doubt=row["in_doubt"], origin=row["origin"],
    )  # fmt: skip


def _membership(row: Any) -> Membership:
    return Membership(row["id"], _topic(row, row["topic_id"]), row["role"], row["joined_seq"], row["invited_by"])


def _message(row: Any) -> Message:
    return Message(row["seq"], row["sender"], row["content"], row["sent_at"])
