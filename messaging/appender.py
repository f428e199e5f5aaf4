"""Group commit: many publishes, one transaction. While one append is in flight the next batch gathers; no timer.

The batch that makes fsync cheap also makes the network cheap: it leaves as one range of each topic.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from messaging.errors import BadRequest, Conflict, NotAMember, RecadoError, Unavailable, UnknownTopic
from messaging.metrics import Metrics
from messaging.model import Appended, Message
from messaging.retrying import backoff_delays
from messaging.store_append import Draft, HeadsHeld, Log, OutcomeUnknown, Refused, Verdict

log = logging.getLogger(__name__)

BATCH_BYTES = 1024 * 1024
BATCH_DRAFTS = 2000
WAITING_BYTES = 64 * 1024 * 1024  # of the whole node; beyond it a publish is refused at once
OVERHEAD = 512  # bytes that a draft costs beside its content

_REFUSALS: dict[str, type[RecadoError]] = {"unknown_topic": UnknownTopic, "not_a_member": NotAMember}


class Origin(Protocol):
    """Who sent a draft, and hears of it exactly once, synchronously, unless the process dies."""

    def settled(self, context: Any, outcome: Verdict | RecadoError) -> None: ...

    def settle_end(self) -> None:
        """The last of this batch has been told: what `settled` gathered may leave in one piece."""


@dataclass(slots=True, eq=False)
class Waiting:
    """A draft on its way, with whom to tell and what to tell it by."""

    draft: Draft
    origin: Origin
    context: Any
    size: int  # bytes

    @property
    def identity(self) -> tuple[int, str, str] | None:
        draft = self.draft
        return None if draft.key is None else (draft.topic_id, draft.sender, draft.key)


def take_batch(queue: deque[Waiting], held: dict[int, deque[Waiting]]) -> list[Waiting]:
    """The next batch of a queue, in order; what belongs to a topic whose head is held joins those that wait for it."""
    batch: list[Waiting] = []
    size = 0
    while queue and len(batch) < BATCH_DRAFTS and (not batch or size + queue[0].size <= BATCH_BYTES):
        waiting = queue.popleft()
        if waiting.draft.topic_id in held:
            held[waiting.draft.topic_id].append(waiting)
        else:
            batch.append(waiting)
            size += waiting.size
    return batch


def without_doubles(batch: Iterable[Waiting]) -> tuple[list[Waiting], list[tuple[Waiting, int]]]:
    """The batch with each key once, and the doubles, each with the place of the draft whose fate it shares."""
    leaders: list[Waiting] = []
    doubles: list[tuple[Waiting, int]] = []
    seen: dict[tuple[int, str, str], int] = {}
    for waiting in batch:
        identity = waiting.identity
        if identity is not None and identity in seen:
            doubles.append((waiting, seen[identity]))
            continue
        if identity is not None:
            seen[identity] = len(leaders)
        leaders.append(waiting)
    return leaders, doubles


def answer(draft: Draft, verdict: Verdict) -> Verdict | RecadoError:
    """What the sender of ``draft`` hears."""
    if verdict.outcome == "conflict":
        return Conflict(f"The id {draft.key!r} was used for other content in this topic.")
    refusal = _REFUSALS.get(verdict.outcome)
    return verdict if refusal is None else refusal()


def answer_double(draft: Draft, leader: Draft, outcome: Verdict | RecadoError) -> Verdict | RecadoError:
    """What the sender of a draft hears whose key ``leader``, in the same batch, had first."""
    if isinstance(outcome, Verdict) and draft.digest != leader.digest:
        return Conflict(f"The id {draft.key!r} was used for other content in this topic.")
    return outcome


def notices(drafts: Sequence[Draft], verdicts: Sequence[Verdict]) -> list[Appended]:
    """One notice per topic of a committed batch."""
    stored: dict[int, list[Message]] = {}
    for draft, verdict in zip(drafts, verdicts, strict=True):
        if verdict.outcome == "stored" and verdict.seq is not None:
            message = Message(verdict.seq, draft.sender, draft.content, verdict.sent_at)
            stored.setdefault(draft.topic_id, []).append(message)
    return [
        Appended(topic_id, messages[0].seq, messages[-1].seq, tuple(messages))
        for topic_id, messages in stored.items()
    ]


class Appender:
    """The one writer of a node."""

    def __init__(
        self, writer: Log, side_writer: Log, announce: Callable[[Appended], None], metrics: Metrics
    ) -> None:
        self._metrics = metrics
        self._writer = writer
        self._side_writer = side_writer  # for topics whose head somebody else holds
        self._announce = announce
        self._queue: deque[Waiting] = deque()
        self._held: dict[int, deque[Waiting]] = {}
        self._more = asyncio.Event()
        self._more_held = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.waiting_bytes = 0

    def submit(self, draft: Draft, origin: Origin, context: Any = None) -> None:
        """Put a draft into the batch in the making; its origin hears of it after COMMIT.

        Raises:
            Unavailable: this node has too much in flight.
        """
        waiting = Waiting(draft, origin, context, len(draft.content) + OVERHEAD)
        if self.waiting_bytes + waiting.size > WAITING_BYTES:
            raise Unavailable("The server has too many messages in flight. Try again with the same id.")
        self.waiting_bytes += waiting.size
        self._queue.append(waiting)
        self._idle.clear()
        self._more.set()

    async def run(self) -> None:
        """Append until cancelled; `drain` first, or what is in flight may be left without an answer."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._serve_queue(), name="appender")
            tasks.create_task(self._serve_held(), name="appender of held topics")

    async def drain(self) -> None:
        """Wait until nothing is in flight. Cancelling is safe."""
        await self._idle.wait()

    async def _serve_queue(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            while self._queue:
                batch = take_batch(self._queue, self._held)
                while batch:
                    batch = await self._append(self._writer, batch)
                    batch = await self._set_aside(batch) if batch else []

    async def _serve_held(self) -> None:
        while True:
            await self._more_held.wait()
            for pause in backoff_delays():
                await self._append_released()
                if not self._held:
                    self._more_held.clear()
                    break
                await asyncio.sleep(pause)

    async def _append_released(self) -> None:
        try:
            free = await self._side_writer.free_heads(list(self._held))
        except Unavailable:
            return
        for topic_id in free:
            queue = self._held[topic_id]
            left: list[Waiting] = []
            while queue and not left:
                left = await self._append(self._side_writer, take_batch(queue, {}))
            queue.extendleft(reversed(left))
            if not queue:
                del self._held[topic_id]

    async def _set_aside(self, batch: list[Waiting]) -> list[Waiting]:
        """Some head is held by somebody else: its topic waits alone, in order. Returns the others."""
        topics = {waiting.draft.topic_id for waiting in batch}
        try:
            held = topics - await self._writer.free_heads(list(topics))
        except Unavailable:
            return batch
        for topic_id in held:
            self._held.setdefault(topic_id, deque())
        if held:
            log.warning("%d topics are locked by somebody else; their messages wait", len(held))
            self._more_held.set()
        return take_batch(deque(batch), self._held)

    async def _append(self, writer: Log, batch: list[Waiting]) -> list[Waiting]:
        """Settle a batch, whatever it takes. Returns what is unsettled because a head was not to be had."""
        leaders, doubles = without_doubles(batch)
        drafts = [waiting.draft for waiting in leaders]
        for pause in backoff_delays():
            try:
                with self._metrics.append_seconds.time():
                    verdicts = await writer.append(drafts)
            except Unavailable as exc:
                log.warning("append failed, trying again: %s", exc)
                await asyncio.sleep(pause)
                continue
            except HeadsHeld:
                return batch
            except Refused as exc:
                return await self._halve(writer, batch, exc)
            except OutcomeUnknown as exc:
                log.error("a COMMIT was not answered: %s", exc)
                self._tell((waiting, Unavailable()) for waiting in batch)
                return []
            self._settle(leaders, verdicts, doubles)
            return []
        raise AssertionError("unreachable")

    async def _halve(self, writer: Log, batch: list[Waiting], exc: Refused) -> list[Waiting]:
        """One bad draft never fails its neighbours: halve the batch, in order, until it is alone."""
        if len(batch) == 1:
            log.error("the database refuses a message: %s", exc)
            self._tell([(batch[0], BadRequest("The database refuses this message."))])
            return []
        middle = len(batch) // 2
        left = await self._append(writer, batch[:middle])
        return left + batch[middle:] if left else await self._append(writer, batch[middle:])

    def _settle(
        self, leaders: list[Waiting], verdicts: list[Verdict], doubles: list[tuple[Waiting, int]]
    ) -> None:
        answers = [answer(waiting.draft, verdict) for waiting, verdict in zip(leaders, verdicts, strict=True)]
        told = list(zip(leaders, answers, strict=True))
        told += [(w, answer_double(w.draft, leaders[n].draft, answers[n])) for w, n in doubles]
        self._tell(told)
        for notice in notices([waiting.draft for waiting in leaders], verdicts):
            self._metrics.appended.inc(notice.last - notice.first + 1)
            self._announce(notice)

    def _tell(self, told: Iterable[tuple[Waiting, Verdict | RecadoError]]) -> None:
        origins: dict[Origin, None] = {}
        for waiting, outcome in told:
            self.waiting_bytes -= waiting.size
            origins[waiting.origin] = None
            waiting.origin.settled(waiting.context, outcome)
        for origin in origins:
            origin.settle_end()
        if not self.waiting_bytes:
            self._idle.set()
