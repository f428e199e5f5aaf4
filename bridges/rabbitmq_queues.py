"""What is read from RabbitMQ: one queue that the operator names, or the queues that are called like known users."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aiormq.exceptions import ChannelAccessRefused, ChannelLockedResource, ChannelPreconditionFailed

from bridges.cancelling import heed_cancel
from bridges.config import RabbitIn
from bridges.incoming import Incoming
from bridges.rabbitmq_form import QUEUE_RULE, Delivery, is_queue_name, read_content, read_offer
from bridges.rabbitmq_in import Reception
from bridges.rabbitmq_line import ANSWER_TIME, Line, reason
from messaging.errors import Unavailable
from messaging.model import inbox_of
from messaging.store import Store

log = logging.getLogger(__name__)

INBOXES = "prontogram"  # what reads the users' queues is called
SLICE = 1000  # users that are read at a time
LOOK_EVERY = 2.0  # seconds, for users that have become known
BREATH = 0.1  # seconds between slices

REFUSALS = (ChannelAccessRefused, ChannelLockedResource, ChannelPreconditionFailed)  # of one queue

Consumer = Callable[[AbstractIncomingMessage], Awaitable[None]]


class OneQueue:
    """An inlet, see `Inlet`: any JSON, into one topic or inbox."""

    def __init__(self, given: RabbitIn, limit: int) -> None:
        """``limit``: bytes of a content."""
        self.name = given.name
        self.tries = given.dead_after
        self._given = given
        self._limit = limit

    def read(self, delivery: Delivery) -> Incoming:
        return read_content(delivery, self._given.sender, self._limit)

    def topic_of(self, queue: str) -> str:
        return self._given.topic

    async def consume(self, line: Line, channel: AbstractChannel, reception: Reception) -> None:
        queue = self._given.queue
        ended = await _endings(channel)
        await channel.set_qos(prefetch_count=self._given.prefetch, timeout=ANSWER_TIME)
        await line.declare(queue)
        await _consume(channel, queue, reception.take_from(queue))
        reception.opened.set()
        await ended.get()
        raise ConnectionError(f"the queue {queue} was deleted")


class Inboxes:
    """An inlet, see `Inlet`: the queue of every known user, as ProntoGram had one, into the user's inbox.

    One channel for all; of each queue one message at a time is on its way, which bounds memory by the number of users.
    """

    def __init__(self, store: Store, limit: int, is_ours: Callable[[str], bool]) -> None:
        """``is_ours``: whether a user's queue is to be read; not where a bridge out fills it."""
        self.name = INBOXES
        self.tries = 1
        self._store = store
        self._limit = limit
        self._is_ours = is_ours
        self._left_out: set[str] = set()
        self._consumed: set[str] = set()

    def read(self, delivery: Delivery) -> Incoming:
        return read_offer(delivery, self._limit)

    def topic_of(self, queue: str) -> str:
        return inbox_of(queue)

    async def consume(self, line: Line, channel: AbstractChannel, reception: Reception) -> None:
        self._consumed.clear()
        ended = await _endings(channel)
        await channel.set_qos(prefetch_count=1, timeout=ANSWER_TIME)
        while True:
            after = ""
            while names := await self._names(after):
                for name in names:
                    heed_cancel()
                    if name not in self._consumed and self._may_read(name):
                        await self._open(line, channel, name, reception.take_from(name))
                after = names[-1]
                await asyncio.sleep(BREATH)
            heed_cancel()
            reception.opened.set()
            await asyncio.sleep(LOOK_EVERY)
            while not ended.empty():  # deleted: it is made again, as its user is still known
                self._consumed.discard(ended.get_nowait())

    async def _names(self, after: str) -> list[str]:
        try:
            return [name for _, name in await self._store.users_page(after, SLICE)]
        except Unavailable as exc:
            log.warning("bridge %s looks for users later: %s", self.name, exc)
            return []

    def _may_read(self, name: str) -> bool:
        if name in self._left_out:
            return False
        if not self._is_ours(name):
            self._leave_out(name, "a bridge out fills this queue, and a queue has one direction")
        elif not is_queue_name(name):
            self._leave_out(name, f"RabbitMQ has no such queue: a name is {QUEUE_RULE}")
        return name not in self._left_out

    async def _open(self, line: Line, channel: AbstractChannel, name: str, consumer: Consumer) -> None:
        try:
            await line.declare(name)
            await _consume(channel, name, consumer)
        except REFUSALS as exc:  # the others go on, on another channel if need be
            self._leave_out(name, reason(exc))
            if channel.is_closed:
                raise
        else:
            self._consumed.add(name)

    def _leave_out(self, name: str, why: str) -> None:
        self._left_out.add(name)
        log.warning("bridge %s leaves out the queue of %s until its next start: %s", self.name, name, why)


async def _consume(channel: AbstractChannel, queue: str, consumer: Consumer) -> None:
    reading = await channel.get_queue(queue, ensure=False)
    await reading.consume(consumer, consumer_tag=queue, timeout=ANSWER_TIME)


async def _endings(channel: AbstractChannel) -> asyncio.Queue[str]:
    """The queues of this channel that the server ends: somebody has deleted them."""
    ended: asyncio.Queue[str] = asyncio.Queue()
    underlay = await channel.get_underlay_channel()
    underlay.on_consumer_cancel_callbacks.add(lambda frame: ended.put_nowait(frame.consumer_tag or ""))
    return ended
