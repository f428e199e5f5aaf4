"""From queues of RabbitMQ into topics and inboxes: stored, then acknowledged, in the order of delivery.

What can't be stored becomes a dead letter and is acknowledged: neither does it come again for ever, nor does it stop
what is behind it. While the database is away nothing is acknowledged, and the server keeps it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from bridges.cancelling import heed_cancel
from bridges.incoming import Incoming, bury, submit
from bridges.rabbitmq_form import Delivery, number_of
from bridges.rabbitmq_line import ANSWER_TIME, Failures, Line, lost, reason
from messaging.errors import BadRequest, Conflict, RecadoError, Unavailable
from messaging.node import Node
from messaging.replay import Settled
from messaging.retrying import backoff_delays
from messaging.schedule import Schedule
from messaging.settings import Settings
from messaging.store_append import Verdict

log = logging.getLogger(__name__)

BATCH = 200  # deliveries that are stored in one go


class Inlet(Protocol):
    """What is read, and how. ``tries``: after so many a message that can't be stored is buried."""

    name: str
    tries: int

    def read(self, delivery: Delivery) -> Incoming:
        """Pure. Raises BadRequest."""

    def topic_of(self, queue: str) -> str: ...

    async def consume(self, line: Line, channel: AbstractChannel, reception: Reception) -> None:
        """Let the queues deliver to the reception, until cancelled. Raises one of `Failures`."""


@dataclass(slots=True)
class Waiting:
    """A delivery that is not acknowledged yet."""

    message: AbstractIncomingMessage
    delivery: Delivery
    tries: int = 0


class Reception:
    """Sees through what one channel delivers; another channel has another one, as only it can acknowledge."""

    def __init__(self, inlet: Inlet, node: Node, settings: Settings) -> None:
        self._inlet = inlet
        self._node = node
        self._settings = settings
        self._queue: deque[Waiting] = deque()
        self._more = asyncio.Event()
        self.opened = asyncio.Event()

    def take_from(self, queue: str) -> Callable[[AbstractIncomingMessage], Awaitable[None]]:
        """What a consumer of this queue calls. It never waits, which keeps the order."""

        async def take(message: AbstractIncomingMessage) -> None:
            self._queue.append(Waiting(message, _delivery(queue, message)))
            self._more.set()

        return take

    async def run(self) -> None:
        """Until cancelled, which is safe: what is not acknowledged comes again. Raises one of `Failures`."""
        while True:
            heed_cancel()
            await self._more.wait()
            self._more.clear()
            while self._queue:
                await self._see_through([self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))])

    async def _see_through(self, batch: list[Waiting]) -> None:
        for pause in backoff_delays():
            heed_cancel()
            batch = await self._store(batch)
            if not batch:
                return
            log.warning("bridge %s: %d messages wait for the database", self._inlet.name, len(batch))
            await asyncio.sleep(pause)

    async def _store(self, batch: list[Waiting]) -> list[Waiting]:
        """Store in order, and settle each. Those that are left, to be tried again."""
        under_way: list[tuple[Waiting, Settled]] = []
        left: list[Waiting] = []
        for place, waiting in enumerate(batch):
            try:
                under_way.append((waiting, await self._submit(waiting.delivery)))
            except RecadoError as exc:
                if isinstance(exc, Unavailable):  # nothing overtakes it
                    left = [*left, *batch[place:]]
                    break
                if not await self._settle(waiting, exc):
                    left.append(waiting)
        return [w for w, origin in under_way if not await self._settle(w, await origin.outcome)] + left

    async def _submit(self, delivery: Delivery) -> Settled:
        incoming = self._inlet.read(delivery)
        return await submit(self._node, self._settings, self._inlet.topic_of(delivery.queue), incoming)

    async def _settle(self, waiting: Waiting, outcome: Verdict | RecadoError) -> bool:
        """Acknowledge what is stored or buried; False: it is to be tried again."""
        if isinstance(outcome, RecadoError) and not await self._is_buried(waiting, outcome):
            return False
        await waiting.message.ack()
        return True

    async def _is_buried(self, waiting: Waiting, exc: RecadoError) -> bool:
        if isinstance(exc, Unavailable):
            return False
        waiting.tries += 1
        if not isinstance(exc, BadRequest | Conflict) and waiting.tries < self._inlet.tries:
            return False
        topic, delivery = self._inlet.topic_of(waiting.delivery.queue), waiting.delivery
        try:
            await bury(
                self._node, self._inlet.name, topic, number_of(delivery), delivery.queue, delivery.body, exc.message
            )
        except Unavailable:
            return False
        return True


def _delivery(queue: str, message: AbstractIncomingMessage) -> Delivery:
    expiration = message.expiration
    seconds = float(expiration) if isinstance(expiration, int | float) else None
    return Delivery(queue, message.body, message.message_id, seconds)


class Reader:
    """Keeps an inlet open: a line, what it delivers, another line where it broke."""

    def __init__(
        self, inlet: Inlet, url: str, node: Node, settings: Settings, schedule: Schedule | None = None
    ) -> None:
        self._inlet = inlet
        self._url = url
        self._node = node
        self._settings = settings
        self._schedule = schedule or Schedule()
        self._attempts = 0  # in vain, since the inlet was open

    async def run(self) -> None:
        """Until cancelled, which is safe. A failure of our own passes through."""
        while True:
            heed_cancel()
            line = Line(self._url, self._inlet.name)
            try:
                await self._serve(line)
            except* Failures as group:
                self._note(_first(group))
            finally:
                await line.close()
            await asyncio.sleep(self._schedule.pause(self._attempts, random.random()))

    async def _serve(self, line: Line) -> None:
        async with asyncio.timeout(3 * ANSWER_TIME):
            channel = await line.another_channel()
        reception = Reception(self._inlet, self._node, self._settings)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(lost(channel))
            tasks.create_task(reception.run())
            tasks.create_task(self._inlet.consume(line, channel, reception))
            tasks.create_task(self._note_opening(reception))

    async def _note_opening(self, reception: Reception) -> None:
        await reception.opened.wait()
        log.info("bridge %s: open%s", self._inlet.name, " again" if self._attempts else "")
        self._attempts = 0

    def _note(self, exc: BaseException) -> None:
        self._attempts += 1
        self._node.metrics.bridge_failures.labels(self._inlet.name).inc()
        if self._attempts == 1:
            log.warning("bridge %s waits: %s", self._inlet.name, reason(exc))


def _first(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group
