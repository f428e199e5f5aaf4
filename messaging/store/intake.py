"""The intake in the store: what applications published by SQL, until a node has taken it into the logs.

Rows go in the same transaction in which their messages come into the logs: whatever ends it early, a message is in
exactly one of the two. They go first, so that of two nodes one has them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from messaging.errors import StatementFailed, Unavailable
from messaging.model import Kind
from messaging.store.append import Draft, HeadsLocked, Refused, Verdict, append_within
from messaging.store.bridges import INTAKE
from messaging.store.pool import Connection, Pool, our_errors


@dataclass(frozen=True, slots=True)
class Posted:
    """A row of the intake. ``kind`` and ``lifetime`` (seconds) are the topic's now; None where it has gone.

    ``source``: the sender of the first row of its transaction; rows of one source keep their order.
    """

    id: int
    topic_id: int
    topic: str
    sender: str
    content: str
    key: str | None
    ttl: int | None
    published_at: datetime
    source: str
    kind: Kind | None
    lifetime: int | None


class Taking:
    """One transaction in which rows of the intake become messages, or dead letters."""

    def __init__(self, pool: Pool, connection: Connection) -> None:
        self._pool = pool
        self._connection = connection

    async def append(self, drafts: Sequence[Draft]) -> list[Verdict]:
        """What becomes of each, once this is committed.

        Raises:
            HeadsLocked, Refused: nothing is.
        """
        if not drafts:
            return []
        try:
            with our_errors():
                return await append_within(self._connection, self._pool, drafts)
        except StatementFailed as exc:
            raise Refused(str(exc)) from exc
        except Unavailable as exc:
            if isinstance(exc.__cause__, asyncpg.LockNotAvailableError):
                raise HeadsLocked from exc
            raise

    async def bury(self, dead: Sequence[tuple[Posted, str]]) -> None:
        """Make them dead letters, each with its reason; the id of its row stands for each."""
        await self._connection.execute(
            self._pool.text("intake_bury"), INTAKE,
            [posted.topic for posted, _ in dead], [posted.id for posted, _ in dead],
            [posted.sender for posted, _ in dead], [posted.content for posted, _ in dead],
            [posted.published_at for posted, _ in dead], [reason for _, reason in dead],
            [posted.ttl for posted, _ in dead],
        )  # fmt: skip


class IntakeStore:
    """The intake behind typed methods."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def waiting(self, most: int, size: int, held: Collection[int], after: str) -> list[Posted]:
        """What is next, in order: at most ``most`` rows, and about ``size`` bytes; none of the topics ``held``.

        Each source behind ``after``, by name, has an equal share of it. Raises Unavailable.
        """
        rows = await self._pool.fetch("intake_waiting", most, size, list(held), after)
        return [Posted(**row) for row in rows]

    @asynccontextmanager
    async def taking(self, posted: Sequence[Posted], term: int) -> AsyncIterator[Taking]:
        """Take these rows, and deal with them in the block, at whose end it is committed. Cancelling is safe.

        A COMMIT whose answer is lost needs no question: either the rows have gone and their messages are there, or both
        is as before.

        Raises:
            HeadsLocked, Refused: what `Taking.append` raised; nothing was written.
            Unavailable: likewise, or it is not known; or they are not all there any more, or the term is over.
        """
        async with self._pool.connection() as connection, connection.transaction(isolation="read_committed"):
            ids = [each.id for each in posted]
            if await connection.fetchval(self._pool.text("intake_take"), ids, term) != len(ids):
                raise Unavailable("Rows of the intake were taken by somebody else.")
            yield Taking(self._pool, connection)

    async def held(self, topic_ids: Collection[int]) -> set[int]:
        """Those of the topics whose head somebody holds now. Raises Unavailable."""
        rows = await self._pool.fetch("heads_free", list(topic_ids))
        return set(topic_ids) - {row["topic_id"] for row in rows}
