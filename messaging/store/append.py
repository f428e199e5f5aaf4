"""The append: one round trip, one transaction, and its outcome is always known before the next one is sent.

Whoever does not hear the answer does not guess. It raises its writer's fence on another line: that waits for the
transaction under way, refuses the statement that has not begun, and then reads. The batch's answer is there, or never
will be.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import asyncpg
import msgspec

from messaging.errors import StatementFailed, Unavailable
from messaging.model import Content, digest_of
from messaging.store.pool import Connection, Pool, connect, our_errors, time_limit

Outcome = Literal["stored", "repeated", "conflict", "not_a_member", "unknown_topic"]

SLOT = 0
ANSWER_TIME = 4.0  # seconds; a line that has no answer by then is closed, and asked about on another
DROP_EACH = 256  # heard answers are let go of when they are so many
MAX_DROPPED = 1000  # in one statement
END_TIME = 2.0  # seconds for taking a writer's row away at the end

# An error of the append itself: nothing was written. Whatever else ends it leaves that open: a shutdown (57P0x), a lost
# line (08), and what has no class of its own. https://www.postgresql.org/docs/current/errcodes-appendix.html
_OWN_ERRORS = ("22", "23", "40", "55", "P0")
_FENCED, _FORGOTTEN = "P0F01", "P0F02"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True, eq=False, kw_only=True)
class Draft:
    """A message on its way into the log.

    ``member``: the id of the user who must belong to the topic, None where nobody must.
    ``key``: the idempotency key, of one topic and sender. ``ttl``: seconds.
    """

    topic_id: int
    member: int | None = None
    sender: str
    key: str | None = None
    content: Content
    ttl: int | None = None

    @property
    def digest(self) -> bytes | None:
        return None if self.key is None else digest_of(self.content)


@dataclass(slots=True, eq=False)
class Verdict:
    """What became of a draft; ``seq`` where it is in the log, ``sent_at`` where it was put there just now."""

    outcome: Outcome
    seq: int | None
    sent_at: datetime | None


class Answer(msgspec.Struct, frozen=True):
    """What `recado.append` returns, and keeps."""

    topics: list[tuple[int, int, int]]  # id, first seq, sent_at in microseconds since 1970
    others: list[tuple[int, Outcome, int | None]]  # place (from 1), outcome, seq


_answers: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)


class HeadsLocked(Exception):
    """Somebody else holds a head, and did not let go of it within the lock timeout; nothing was written."""


class Refused(Exception):
    """The database refuses something in the batch; nothing was written."""


class OutcomeUnknown(Exception):
    """The batch was sent and its answer was not heard. `LogWriter.settle` finds it."""


class WriterForgotten(Exception):
    """This writer's row has gone, as if its process had been away for a week: its appends are refused for good."""


class LogWriter:
    """Appends on a line of its own; one append at a time."""

    def __init__(self, dsn: str, pool: Pool, node: str, answer_time: float = ANSWER_TIME) -> None:
        """``node``: the process that it belongs to. ``answer_time``: seconds."""
        self._dsn = dsn
        self._pool = pool
        self._node = node
        self._answer_time = answer_time
        self._writer = uuid.uuid4()
        self._made = False
        self._fence = 0
        self._batch = 0
        self._unsettled: Sequence[Draft] | None = None  # of the last batch, while its outcome is not known
        self._refusal: str | None = None  # why it would be refused again, if it is not stored
        self._dropped = 0  # the answers up to this batch have gone
        self._connection: Connection | None = None
        self.many_heard = asyncio.Event()  # `drop_heard` has something to do

    async def append(self, drafts: Sequence[Draft]) -> list[Verdict]:
        """Append, commit, and say what became of each. Cancelling closes the line, and leaves the outcome open.

        Raises:
            HeadsLocked, Refused, Unavailable: nothing was written, nor will be.
            OutcomeUnknown: it may have been, or may yet be. `settle` comes before the next append.
            WriterForgotten: nothing was written, nor will this process write again.
        """
        assert self._unsettled is None, "settle() comes first"
        connection = await self._connected()
        self._batch += 1
        self._unsettled, self._refusal = drafts, None
        try:
            row = await self._ask(connection, "append_batch", *columns(drafts))
        except (Unavailable, StatementFailed) as exc:
            raise self._judged(exc) from exc
        return self._heard(row[0])

    async def settle(self) -> list[Verdict] | None:
        """What became of the last append; None where it is not stored, and never will be unless it is sent again.

        Raises:
            Unavailable: it is not known yet; ask again. Cancelling is safe, likewise.
            Refused: it is not stored, and sent again it would not be either.
            WriterForgotten.
        """
        connection = await self._connected()
        try:
            self._fence, answer = await self._ask(connection, "fence_raise")
        except StatementFailed as exc:
            if exc.sqlstate == _FORGOTTEN:
                raise WriterForgotten(str(exc)) from exc
            raise
        if answer is not None:
            return self._heard(answer)
        self._unsettled = None
        if self._refusal is not None:
            raise Refused(self._refusal)
        return None

    async def free_heads(self, topic_ids: Sequence[int]) -> set[int]:
        """Which of these topics nobody holds now, or have gone. Raises Unavailable."""
        return {row["topic_id"] for row in await self._pool.fetch("heads_free", topic_ids)}

    async def drop_heard(self) -> None:
        """Let answers go that were heard, `MAX_DROPPED` at a time. Cancelling is safe. Raises Unavailable."""
        last = min(self._dropped + MAX_DROPPED, self._batch - (self._unsettled is not None))
        await self._pool.fetch("answers_drop", SLOT, self._writer, self._dropped + 1, last)
        self._dropped = last
        self.many_heard.clear()

    async def close(self) -> None:
        """Close the line. A writer that has heard all its answers leaves nothing behind."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
        if self._made and self._unsettled is None:
            self._made = False
            with suppress(Unavailable, TimeoutError):
                async with asyncio.timeout(END_TIME):
                    await self._pool.fetch("writer_end", SLOT, self._writer)

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(self._dsn)
        if not self._made:  # and committed, before the first append locks it
            await self._pool.fetch("writer_make", SLOT, self._writer, self._node)
            self._made = True
        return self._connection

    async def _ask(self, connection: Connection, name: str, *args: object) -> Any:
        """What a statement of this writer returns, once that is committed. Raises Unavailable, StatementFailed."""
        own = (SLOT, self._writer, self._fence, self._batch)
        try:
            with our_errors(), time_limit(connection, self._answer_time):
                return await connection.fetchrow(self._pool.text(name), *own, *args)
        except asyncio.CancelledError:
            connection.terminate()  # before the driver asks the server to cancel it, which an append never is
            raise

    def _heard(self, answer: str) -> list[Verdict]:
        drafts, self._unsettled = self._unsettled, None
        assert drafts is not None, "an answer belongs to a batch"
        if self._batch - self._dropped >= DROP_EACH:
            self.many_heard.set()
        return verdicts(drafts, _answers.decode(answer))

    def _judged(self, exc: Unavailable | StatementFailed) -> Exception:
        """What the failure of an append says of it."""
        cause = exc.__cause__
        state = getattr(cause, "sqlstate", None) or ""
        # Our row may be held by what an older line of ours still does, or its fence be higher than we know.
        ours = state == _FENCED or "recado.writers" in (getattr(cause, "context", None) or "")
        if state == _FORGOTTEN:
            return WriterForgotten(str(exc))
        if ours or not state.startswith(_OWN_ERRORS):
            self._refusal = str(exc) if isinstance(exc, StatementFailed) and not ours else None
            return OutcomeUnknown(str(exc))
        self._unsettled = None
        if isinstance(cause, asyncpg.LockNotAvailableError):
            return HeadsLocked(str(exc))
        return exc if isinstance(exc, Unavailable) else Refused(str(exc))


async def append_within(connection: Connection, pool: Pool, drafts: Sequence[Draft]) -> list[Verdict]:
    """Append as part of the transaction that is open on ``connection``: what becomes of it, becomes of them.

    It has no writer: something else that is stored in it tells the outcome. Failures pass through as they are.
    """
    answer = await connection.fetchval(pool.text("append_batch"), SLOT, None, 0, 0, *columns(drafts))
    return verdicts(drafts, _answers.decode(answer))


def columns(drafts: Sequence[Draft]) -> tuple[list[object], ...]:
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


def verdicts(drafts: Sequence[Draft], answer: Answer) -> list[Verdict]:
    """What became of each draft, by the answer to their batch."""
    others = {place: (outcome, seq) for place, outcome, seq in answer.others}
    sent_at = {topic_id: _EPOCH + timedelta(microseconds=micros) for topic_id, _, micros in answer.topics}
    following = {topic_id: first for topic_id, first, _ in answer.topics}
    found = []
    for place, draft in enumerate(drafts, 1):
        if place in others:
            found.append(Verdict(*others[place], None))
            continue
        found.append(Verdict("stored", following[draft.topic_id], sent_at[draft.topic_id]))
        following[draft.topic_id] += 1
    return found
