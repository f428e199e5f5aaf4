"""Group commit: many publishes, one transaction. While one append is in flight the next batch gathers; no timer.

The batch that makes fsync cheap also makes the network cheap: it leaves as one range of each topic.

No append is sent before the outcome of the last is known. What has none after `OUTCOME_SECONDS` hears `Unavailable`:
it may yet be stored, and its sender does better to ask again, with the same key, than to wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any

from messaging.errors import BadRequest, RecadoError, Unavailable
from messaging.log.batch import (
    Origin,
    Queue,
    Waiting,
    answer,
    answer_double,
    notices,
    overdue,
    take_batch,
    without_doubles,
)
from messaging.model import Appended
from messaging.observability.metrics import Metrics
from messaging.retrying import backoff_delays, retrying
from messaging.store.append import Draft, HeadsLocked, LogWriter, OutcomeUnknown, Refused, Verdict

log = logging.getLogger(__name__)

WAITING_BYTES = 64 * 1024 * 1024  # of the whole node; beyond it a publish is refused at once
OVERHEAD = 512  # bytes that a draft costs beside its content
OUTCOME_SECONDS = 10.0  # seconds
LATE = "Not known to be stored yet; it may be. Try again with the same id: nothing is stored twice."
CHECKS_PER_TIMEOUT = 20  # how finely it is kept


class Appender:
    """The one place of a node that appends."""

    def __init__(
        self, writer: LogWriter, side_writer: LogWriter, announce: Callable[[Appended], None], metrics: Metrics,
        patience: float = OUTCOME_SECONDS,
    ) -> None:  # fmt: skip
        """``patience``: seconds."""
        self._metrics = metrics
        self._writer = writer
        self._side_writer = side_writer  # for topics whose head somebody else holds
        self._announce = announce
        self._patience = patience
        self._queue = Queue()
        self._held: dict[int, deque[Waiting]] = {}
        self._taken: dict[LogWriter, list[Waiting]] = {}  # the batch that each has in hand
        self._more = asyncio.Event()
        self._more_held = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.waiting_bytes = 0

    def submit(self, draft: Draft, origin: Origin, context: Any = None, source: int | None = None) -> None:
        """Put a draft into the batch in the making; its origin hears of it after COMMIT, or after `OUTCOME_SECONDS`.

        ``source``: whose share of a batch it takes, see `Waiting`.

        Raises:
            Unavailable: this node has too much in flight.
        """
        size = len(draft.content) + OVERHEAD
        if self.waiting_bytes + size > WAITING_BYTES:
            raise Unavailable("The server has too many messages in flight. Try again with the same id.")
        self.waiting_bytes += size
        since = asyncio.get_running_loop().time()
        self._queue.append(Waiting(draft, origin, context, size, since, source=source))
        self._idle.clear()
        self._more.set()

    async def run(self) -> None:
        """Append until cancelled; `drain` first, or what is in flight may be left without an answer."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._serve_queue(), name="appender")
            tasks.create_task(self._serve_held(), name="appender of held topics")
            tasks.create_task(self._watch_patience(), name="appender's patience")
            for writer in (self._writer, self._side_writer):
                tasks.create_task(_drop_heard(writer), name="answers that were heard")

    async def drain(self) -> None:
        """Wait until nobody waits for an answer. Cancelling is safe."""
        await self._idle.wait()

    async def _serve_queue(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            while self._queue:
                left = self._taken[self._writer] = self._queue.take_batch(self._held)
                while left:
                    left = await self._append(self._writer, left)
                    left = await self._set_aside(left) if left else []
                del self._taken[self._writer]

    async def _serve_held(self) -> None:
        while True:
            await self._more_held.wait()
            for delay in backoff_delays():
                await self._append_released()
                if not self._held:
                    self._more_held.clear()
                    break
                await asyncio.sleep(delay)

    async def _append_released(self) -> None:
        try:
            free = await self._side_writer.free_heads(list(self._held))
        except Unavailable:
            return
        for topic_id in free:
            self._taken[self._side_writer] = batch = take_batch(self._held[topic_id], {})
            left = await self._append(self._side_writer, batch)
            del self._taken[self._side_writer]
            if left:
                self._held[topic_id].extendleft(reversed(left))
            else:  # back into the queue: others wait here, and its messages may never end
                self._queue.put_back(self._held.pop(topic_id))
                self._more.set()

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

    async def _append(self, writer: LogWriter, batch: list[Waiting]) -> list[Waiting]:
        """Settle a batch, however often it has to be sent. Returns what is left because a head was not to be had."""
        for delay in backoff_delays():
            batch = [waiting for waiting in batch if not waiting.told]
            if not batch:
                return []
            leaders, doubles = without_doubles(batch, attrgetter("draft"))
            try:
                with self._metrics.append_seconds.time():
                    verdicts = await _outcome(writer, [waiting.draft for waiting in leaders])
            except HeadsLocked:
                return batch
            except Refused as exc:
                return await self._halve(writer, batch, exc)
            except Unavailable as exc:
                log.warning("append failed, trying again: %s", exc)
            else:
                if verdicts is not None:
                    self._settle(leaders, verdicts, doubles)
                    return []
            await asyncio.sleep(delay)
        raise AssertionError("the delays are endless")

    async def _halve(self, writer: LogWriter, batch: list[Waiting], exc: Refused) -> list[Waiting]:
        """One bad draft never fails its neighbours: halve the batch, in order, until it is alone."""
        if len(batch) == 1:
            log.error("the database refuses a message: %s", exc)
            self._tell([(batch[0], BadRequest("The database refuses this message."))])
            return []
        middle = len(batch) // 2
        left = await self._append(writer, batch[:middle])
        return left + batch[middle:] if left else await self._append(writer, batch[middle:])

    def _settle(self, leaders: list[Waiting], verdicts: list[Verdict], doubles: list[tuple[Waiting, int]]) -> None:
        answers = [answer(waiting.draft, verdict) for waiting, verdict in zip(leaders, verdicts, strict=True)]
        told = list(zip(leaders, answers, strict=True))
        told += [(w, answer_double(w.draft, leaders[n].draft, answers[n])) for w, n in doubles]
        self._tell(told)
        for notice in notices([waiting.draft for waiting in leaders], verdicts):
            self._metrics.appended.inc(notice.last - notice.first + 1)
            self._announce(notice)

    async def _watch_patience(self) -> None:
        while True:
            await asyncio.sleep(self._patience / CHECKS_PER_TIMEOUT)
            self._give_up(asyncio.get_running_loop().time() - self._patience)

    def _give_up(self, before: float) -> None:
        """Tell what has waited since ``before`` or longer that nobody knows; what was not sent yet, never is."""
        lines = (*self._taken.values(), *self._held.values(), *self._queue.lines())
        if all(_oldest(line) > before for line in lines):
            return
        late = overdue(lines, before)
        log.error("%d messages have no outcome after %g s; their senders hear unavailable", len(late), self._patience)
        self._tell((waiting, Unavailable(LATE)) for waiting in late)
        self._queue.forget_told()
        for line in self._held.values():
            left = [waiting for waiting in line if not waiting.told]
            line.clear()
            line.extend(left)

    def _tell(self, outcomes: Iterable[tuple[Waiting, Verdict | RecadoError]]) -> None:
        """Tell each that has not been told yet."""
        origins: dict[Origin, None] = {}
        for waiting, outcome in outcomes:
            if waiting.told:
                continue
            waiting.told = True
            self.waiting_bytes -= waiting.size
            origins[waiting.origin] = None
            waiting.origin.on_result(waiting.context, outcome)
        for origin in origins:
            origin.on_batch_end()
        if not self.waiting_bytes:
            self._idle.set()


async def _outcome(writer: LogWriter, drafts: Sequence[Draft]) -> list[Verdict] | None:
    """What became of drafts that were sent once; None where they are not stored. Raises as `LogWriter.append` does."""
    try:
        return await writer.append(drafts)
    except OutcomeUnknown as exc:
        log.warning("an append was not answered, asking what became of it: %s", exc)
        return await retrying(writer.settle, "the outcome of an append")


async def _drop_heard(writer: LogWriter) -> None:
    while True:
        await writer.many_heard.wait()
        await retrying(writer.drop_heard, "letting go of heard answers")


def _oldest(line: Iterable[Waiting]) -> float:
    """Since when the oldest that has not been told waits; the first is older only than others of its topic."""
    return min((waiting.since for waiting in line if not waiting.told), default=float("inf"))
