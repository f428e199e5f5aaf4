"""The append: one transaction, whose outcome is always known or asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Literal

import asyncpg

from messaging.errors import Unavailable
from messaging.retrying import backoff_delays
from messaging.store_pool import Connection, Pool, _is_transient, connect

Witness = tuple[int, int, datetime]  # of a message: its topic's id, its seq, its sent_at
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


@dataclass(slots=True, eq=False)
class Verdict:
    """What became of a draft; ``seq`` where it is in the log, now or since an earlier try."""

    outcome: Outcome
    seq: int | None
    sent_at: datetime


class HeadsHeld(Exception):
    """A head was not to be had within the lock timeout; nothing was written."""


class Refused(Exception):
    """The database refuses something in the batch; nothing was written."""


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
            HeadsHeld, Refused, Unavailable: nothing was written.
            OutcomeUnknown: it may have been.
        """
        try:
            connection = await self._connected()
            await connection.execute(
                f"BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '{LOCK_TIMEOUT}s'"
            )
            rows = await connection.fetch(self._pool.text("append_batch"), *columns(drafts))
        except asyncpg.LockNotAvailableError as exc:
            await self._roll_back()
            raise HeadsHeld from exc
        except Exception as exc:
            await self._roll_back()
            if not _is_transient(exc):
                raise Refused(str(exc)) from exc
            raise Unavailable(str(exc)) from exc
        rows.sort(key=itemgetter(0))
        _, _, _, sent_at, xid = rows[0]
        verdicts = [Verdict(outcome, seq, sent_at) for _, outcome, seq, _, _ in rows]
        await self._commit(connection, xid, _witness(drafts, verdicts))
        return verdicts

    async def free_heads(self, topic_ids: Sequence[int]) -> set[int]:
        """Which of these topics nobody holds now, or have gone. Raises Unavailable."""
        rows = await self._pool.fetch("heads_free", list(topic_ids))
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

    async def _commit(self, connection: Connection, xid: str, witness: Witness | None) -> None:
        try:
            await connection.execute("COMMIT")
        except Exception as exc:
            await self.close()
            if not await self._was_committed(xid, witness):
                raise Unavailable(f"the COMMIT failed: {exc}") from exc

    async def _was_committed(self, xid: str, witness: Witness | None) -> bool:
        """Ask for the outcome of a COMMIT that was not answered.

        A crash or a lost connection ends every transaction under way, so "in progress" passes.
        """
        for pause in backoff_delays():
            try:
                async with asyncio.timeout(ASK_FOR):
                    status = await self._ask(xid, witness)
            except Exception as exc:
                if not _is_transient(exc):
                    raise OutcomeUnknown(str(exc)) from exc
                status = "in progress"
            if status is None:
                raise OutcomeUnknown(f"transaction {xid} is too long ago, or a crash gave its id to another")
            if status != "in progress":
                return bool(status == "committed")
            await asyncio.sleep(pause)
        raise AssertionError("unreachable")

    async def _ask(self, xid: str, witness: Witness | None) -> str | None:
        """What became of a transaction; None where nobody can tell.

        A crash forgets ids whose log never reached the disk, and the server gives them again: "committed" is believed
        only where the witness is there, and an id that is not given yet is one that was forgotten.
        """
        async with self._pool.connection() as connection:
            try:
                status: str | None = await connection.fetchval(self._pool.text("append_outcome"), xid)
            except asyncpg.InvalidParameterValueError:
                return "aborted"
            if status == "committed" and witness is not None:
                kept = await connection.fetchval(self._pool.text("append_kept"), *witness)
                return status if kept else None
        return status


def _witness(drafts: Sequence[Draft], verdicts: Sequence[Verdict]) -> Witness | None:
    """One of the messages that an append has stored; None where it stored none, and a wrong belief harms nobody."""
    for draft, verdict in zip(drafts, verdicts, strict=True):
        if verdict.outcome == "stored" and verdict.seq is not None:
            return draft.topic_id, verdict.seq, verdict.sent_at
    return None


def columns(drafts: Sequence[Draft]) -> tuple[list[object], ...]:
    """Drafts as the parallel arrays that `recado.append` takes."""
    """The drafts as `append_batch` takes them: one array for each field."""
    return (
        [draft.topic_id for draft in drafts],
        [draft.member for draft in drafts],
        [draft.sender for draft in drafts],
        [draft.key for draft in drafts],
        [draft.digest for draft in drafts],
        [draft.content for draft in drafts],
        [draft.ttl for draft in drafts],
    )
