"""The intake in the store: what applications published by SQL, until a node has taken it into the logs.

It is read and emptied in one kind of transaction, on one node at a time. Rows go in the same transaction in which their
messages come into the logs: whatever ends it early, a message is in exactly one of the two.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from messaging.errors import StatementFailed, Unavailable
from messaging.model import Kind
from messaging.store_append import Draft, HeadsLocked, Refused, Verdict, append_within
from messaging.store_bridges import INTAKE
from messaging.store_pool import Connection, Pool, our_errors

_LOCK = 0x5245_4341_444F + 3


@dataclass(frozen=True, slots=True)
class Posted:
    """A row of the intake. ``kind`` and ``lifetime`` (seconds) are the topic's now; None where it has gone."""

    id: int
    topic_id: int
    topic: str
    sender: str
    content: str
    key: str | None
    ttl: int | None
    published_at: datetime
    kind: Kind | None
    lifetime: int | None


class Turn:
    """One transaction in which this node alone takes in."""

    def __init__(self, pool: Pool, connection: Connection) -> None:
        self._pool = pool
        self._connection = connection

    async def waiting(self, most: int, size: int, held: Collection[int]) -> list[Posted]:
        """The oldest rows, in order: at most ``most``, and about ``size`` bytes; none of the topics ``held``."""
        rows = await self._connection.fetch(self._pool.text("intake_waiting"), most, size, list(held))
        return [Posted(**row) for row in rows]

    async def append(self, drafts: Sequence[Draft]) -> list[Verdict]:
        """What becomes of each, once the turn is over.

        Raises:
            HeadsLocked, Refused: the turn is void.
        """
        try:
            with our_errors():
                return await append_within(self._connection, self._pool, drafts)
        except StatementFailed as exc:
            raise Refused(str(exc)) from exc
        except Unavailable as exc:
            if isinstance(exc.__cause__, asyncpg.LockNotAvailableError):
                raise HeadsLocked from exc
            raise

    async def bury(self, posted: Posted, reason: str) -> None:
        """Make it a dead letter, which the id of its row stands for."""
        await self._connection.execute(
            self._pool.text("dead_letter_bury"), INTAKE, posted.topic, 0, posted.id, posted.sender, posted.content,
            posted.published_at, reason, None, posted.ttl,
        )  # fmt: skip

    async def remove(self, posted: Sequence[Posted]) -> None:
        """These rows have been dealt with."""
        await self._connection.execute(self._pool.text("intake_remove"), [each.id for each in posted])


class IntakeStore:
    """The intake behind typed methods."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Turn | None]:
        """A turn, committed at the end of the block; None where another node has it. Cancelling is safe.

        A COMMIT whose answer is lost needs no question: either the rows have gone and their messages are there, or both
        is as before.

        Raises:
            HeadsLocked, Refused: what `Turn.append` raised; nothing was written.
            Unavailable: likewise, and it passes by itself.
        """
        async with self._pool.connection() as connection, connection.transaction(isolation="read_committed"):
            has_turn = await connection.fetchval(self._pool.text("intake_turn"), _LOCK)
            yield Turn(self._pool, connection) if has_turn else None

    async def held(self, topic_ids: Collection[int]) -> set[int]:
        """Those of the topics whose head somebody holds now. Raises Unavailable."""
        rows = await self._pool.fetch("heads_free", list(topic_ids))
        return set(topic_ids) - {row["topic_id"] for row in rows}
