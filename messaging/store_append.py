"""The append: one transaction, whose outcome is always known or asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import asyncpg

from messaging.store_pool import Connection, Pool, connect, is_passing, pauses

Outcome = Literal["stored", "repeated", "conflict", "not_a_member", "unknown_topic"]

LOCK_TIMEOUT = 2  # seconds
ASK_FOR = 10.0  # seconds that an unknown COMMIT is asked for while the database answers "in progress"


@dataclass(slots=True, eq=False)
class Draft:
    """A message on its way into the log.

    ``member``: the id of the user who must belong to the topic, None where nobody must.
    ``digest``: of the content, where there is a ``key``. ``ttl``: seconds.
    """

    topic_id: int
    member: int | None
    sender: str
    key: str | None
    digest: bytes | None
    content: str
    ttl: int | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a draft; ``seq`` where it is in the log, now or since an earlier try."""

    outcome: Outcome
    seq: int | None
    sent_at: datetime


class HeadsHeld(Exception):
    """A head was not to be had within the lock timeout; nothing was written."""


class Refused(Exception):
    """The database refuses something in the batch; nothing was written."""


class Passing(Exception):
    """A failure that passes by itself; nothing was written."""


class OutcomeUnknown(Exception):
    """The COMMIT was sent, its answer lost, and the database can't tell any more."""


class Log:
    """Appends on one connection of its own; one append at a time."""

    def __init__(self, dsn: str, pool: Pool) -> None:
        self._dsn = dsn
        self._pool = pool
        self._connection: Connection | None = None

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def append(self, drafts: Sequence[Draft]) -> list[Verdict]:
        """Append, commit, and say what became of each.

        Must not be cancelled between its COMMIT and its return: the caller would not know. (It then learns of
        nothing wrong: a retry with the same key finds the first.)

        Raises:
            HeadsHeld, Refused, Passing: nothing was written.
            OutcomeUnknown: it may have been.
        """
        try:
            connection = await self._connected()
            # Never below "on": a stronger setting of the database (remote_apply) stays.
            await connection.execute(
                "BEGIN; SELECT set_config('synchronous_commit', 'on', true)"
                " WHERE current_setting('synchronous_commit') <> 'remote_apply';"
                f" SET LOCAL lock_timeout = '{LOCK_TIMEOUT}s'"
            )
            rows = await connection.fetch(self._pool.text("append_batch"), *_columns(drafts))
        except asyncpg.LockNotAvailableError as exc:
            await self._roll_back()
            raise HeadsHeld from exc
        except Exception as exc:
            await self._roll_back()
            if not is_passing(exc):
                raise Refused(str(exc)) from exc
            raise Passing(str(exc)) from exc
        await self._commit(connection, rows[0]["xid"])
        verdicts: list[Verdict | None] = [None] * len(drafts)
        for n, outcome, seq, sent_at, _ in rows:
            verdicts[n - 1] = Verdict(outcome, seq, sent_at)
        return [verdict for verdict in verdicts if verdict is not None]

    async def free_heads(self, topic_ids: Sequence[int]) -> set[int]:
        """Which of these heads nobody holds now. Raises Passing."""
        try:
            async with self._pool.connection() as connection:
                rows = await connection.fetch(self._pool.text("heads_free"), topic_ids)
        except Exception as exc:
            if not is_passing(exc):
                raise
            raise Passing(str(exc)) from exc
        return {row["topic_id"] for row in rows}

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(self._dsn)
        return self._connection

    async def _roll_back(self) -> None:
        connection = self._connection
        try:
            if connection is not None and not connection.is_closed():
                await connection.execute("ROLLBACK")
        except Exception:  # whatever is wrong with it, a connection that can't roll back is given up
            await self.close()

    async def _commit(self, connection: Connection, xid: str) -> None:
        try:
            await connection.execute("COMMIT")
        except Exception as exc:
            await self.close()
            if not await self._was_committed(xid):
                raise Passing(f"the COMMIT failed: {exc}") from exc

    async def _was_committed(self, xid: str) -> bool:
        """Ask for the outcome of a COMMIT that was not answered.

        A crash or a lost connection ends every transaction under way, so "in progress" passes.
        """
        for pause in pauses():
            try:
                async with asyncio.timeout(ASK_FOR):
                    status = await self._ask(xid)
            except Exception as exc:
                if not is_passing(exc):
                    raise OutcomeUnknown(str(exc)) from exc
                status = "in progress"
            if status is None:
                raise OutcomeUnknown(f"transaction {xid} is too long ago")
            if status != "in progress":
                return bool(status == "committed")
            await asyncio.sleep(pause)
        raise AssertionError("unreachable")

    async def _ask(self, xid: str) -> str | None:
        async with self._pool.connection() as connection:
            status: str | None = await connection.fetchval(self._pool.text("append_outcome"), xid)
        return status


def _columns(drafts: Sequence[Draft]) -> tuple[list[object], ...]:
    return (
        [draft.topic_id for draft in drafts],
        [draft.member for draft in drafts],
        [draft.sender for draft in drafts],
        [draft.key for draft in drafts],
        [draft.digest for draft in drafts],
        [draft.content for draft in drafts],
        [draft.ttl for draft in drafts],
    )
