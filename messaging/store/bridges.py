"""What the store keeps of bridges beyond memberships and cursors: their patterns, how they fare, their dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from messaging.errors import Conflict
from messaging.store.pool import Pool

State = Literal["up", "waiting", "failing"]
Direction = Literal["out", "in"]

INTAKE = "intake"  # what the dead letters of the intake stand under; no bridge is called so
PREFIX = "%bridge/"  # of the user that a bridge is: no token can name it, as '%' is in no name
BURIED_BYTES = 1024 * 1024  # of the content of dead letters in one answer


@dataclass(frozen=True, slots=True)
class BridgeState:
    """A bridge as its lane must know it. ``version``: of its user, raised by every change."""

    name: str
    kind: str
    paused: bool
    state: State
    attempts: int
    since: datetime
    version: int


@dataclass(frozen=True, slots=True)
class Report:
    """A bridge as its operator sees it. ``lag``: messages before it; ``oldest``: when the first of them came.

    None: nobody knows, as with what lies before an inlet.
    """

    name: str
    kind: str
    direction: Direction
    paused: bool
    state: State
    reason: str | None
    attempts: int
    since: datetime
    lag: int | None
    oldest: datetime | None
    dead: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message that was given up on. ``content`` is None where it had expired before it could be sent.

    Of one that came in, ``topic_id`` is 0 and ``came_by`` tells the subject or queue (None: by SQL). Where it could be
    read, ``sender``, ``content`` and ``ttl`` are what would have been stored; else ``sender`` is "" and ``content``
    shows what it was.
    """

    bridge: str
    topic: str
    topic_id: int
    seq: int
    sender: str
    content: str | None
    sent_at: datetime | None
    reason: str
    came_by: str | None = None
    ttl: int | None = None


@dataclass(frozen=True, slots=True)
class Buried:
    """A dead letter as it lies in the store. ``replayable``: there is all that a second try needs."""

    id: int
    letter: DeadLetter
    replayable: bool
    died_at: datetime


class BridgeStore:
    """Bridges in the store. Writes are harmless to repeat; failures pass as Unavailable, see Pool.

    ``term``: of the leader that writes, whose late writes change nothing; None for whoever needs not be the leader.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def register(self, name: str, kind: str, like: str | None) -> int:
        """Make a bridge known as it is configured now: a member of every topic whose name is LIKE that, from here on.

        Returns:
            The id of the user that it is.

        Raises:
            Conflict: a bridge of another kind or direction has this name.
        """
        return _registered(name, await self._pool.value("bridge_register", PREFIX + name, name, kind, like))

    async def register_inlet(self, name: str, kind: str, like: str | None = None) -> int:
        """The same for an inlet, which feeds such topics and belongs to none."""
        return _registered(name, await self._pool.value("inlet_register", PREFIX + name, name, kind, like))

    async def forget(self, name: str) -> int | None:
        """The id of the user that it was; None where there is no such bridge."""
        user_id: int | None = await self._pool.value("bridge_forget", name)
        return user_id

    async def bridge_state(self, user_id: int) -> BridgeState | None:
        row = await self._pool.row("bridge_state", user_id)
        return None if row is None else BridgeState(**row)

    async def reports(self, name: str | None = None) -> list[Report]:
        fields = Report.__dataclass_fields__
        rows = await self._pool.fetch("bridges_all", name)
        return [Report(**{field: row[field] for field in fields}) for row in rows]

    async def disown(self, kinds: Sequence[str], names: Sequence[str]) -> None:
        """Bridges of these kinds, but for these, are configured no more: say so."""
        await self._pool.fetch("bridges_disown", list(kinds), list(names))

    async def touch(self) -> None:
        """Bridges are there, also where nothing moves: an inbox keeps what they have not had yet."""
        await self._pool.fetch("bridges_touch")

    async def report(
        self, user_id: int, state: State, reason: str | None, attempts: int, term: int | None = None
    ) -> None:
        await self._pool.fetch("bridge_report", user_id, state, reason, attempts, term)

    async def pause(self, name: str, paused: bool, reason: str | None = None, term: int | None = None) -> int | None:
        """The id of its user; None where there is no such bridge."""
        user_id: int | None = await self._pool.value("bridge_pause", name, paused, reason, term)
        return user_id

    async def bury(self, letter: DeadLetter, term: int | None = None) -> None:
        await self._pool.fetch(
            "dead_letter_bury", letter.bridge, letter.topic, letter.topic_id, letter.seq, letter.sender,
            letter.content, letter.sent_at, letter.reason, letter.came_by, letter.ttl, term,
        )  # fmt: skip

    async def knows(self, name: str) -> bool:
        """Whether there is a bridge of this name, or the intake, or a dead letter of one that was forgotten."""
        return name == INTAKE or bool(await self._pool.value("dead_letters_kept", name))

    async def buried(self, bridge: str | None, after: int, limit: int) -> list[Buried]:
        """Those after an id, oldest first: at most ``limit``, and about a MiB of content."""
        rows = await self._pool.fetch("dead_letters_page", bridge, after, limit, BURIED_BYTES)
        return [_buried(row) for row in rows]

    async def chosen(
        self, bridge: str, ids: Sequence[int] | None, since: datetime | None, until: datetime | None, limit: int
    ) -> list[Buried]:
        """Dead letters by their ids, or all that can be replayed."""
        rows = await self._pool.fetch("dead_letters_chosen", bridge, ids, since, until, limit)
        return [_buried(row) for row in rows]

    async def drop(self, bridge: str, ids: Sequence[int]) -> int:
        """Drop dead letters for good. How many there were."""
        return int(await self._pool.value("dead_letters_forget", bridge, list(ids)))

    async def unearth(self, ids: Sequence[int]) -> None:
        """Drop dead letters that are in the log again."""
        await self._pool.fetch("dead_letters_drop", list(ids))


def _registered(name: str, user_id: int | None) -> int:
    if user_id is None:
        raise Conflict(f"There is a bridge {name!r} of another kind or direction. Choose another name, or forget it.")
    return user_id


def _buried(row: Any) -> Buried:
    letter = DeadLetter(**{field: row[field] for field in DeadLetter.__dataclass_fields__})
    return Buried(row["id"], letter, row["replayable"], row["died_at"])
