"""From queues of RabbitMQ: one queue that the operator names, or the queues that are called like known users."""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Callable, Sequence

from aiormq.exceptions import ChannelAccessRefused, ChannelLockedResource, ChannelPreconditionFailed

from bridges.config import RabbitIn
from bridges.deliveries import Deliveries
from bridges.rabbitmq.connection import TROUBLE, AmqpConnection, Reader, reason
from bridges.rabbitmq.frames import Delivery
from bridges.rabbitmq.messages import QUEUE_RULE, is_queue_name, read_content, read_offer
from messaging.bridge.arrivals import Arrival, Incoming
from messaging.bridge.inlet import SourceLost
from messaging.errors import BadRequest, Unavailable
from messaging.model import inbox_of, original_name, person_name
from messaging.settings.settings import Settings
from messaging.store.store import Store

log = logging.getLogger(__name__)

INBOXES = "prontogram"  # what reads the users' queues is called
MAX_UNSETTLED_BYTES = 16 * 1024 * 1024  # bytes of messages that are not acknowledged; beyond it the socket is not read
OVERHEAD = 1024  # bytes that a message costs beside its body
PREFETCH = 64  # messages of one user's queue
MAX_ASKED_USERS = 1000  # users that are read at a time
LOOK_EVERY = 2.0  # seconds, for users that have become known
BREATH = 0.1  # seconds between slices

REFUSALS = (ChannelAccessRefused, ChannelLockedResource, ChannelPreconditionFailed)  # of one queue


class RabbitSource:
    """See `Source`: one line, and on it one channel that reads."""

    keeps = True

    def __init__(self, name: str, url: str, prefetch: int) -> None:
        self.name = name
        self._url = url
        self._prefetch = prefetch
        self._deliveries: Deliveries[Delivery] = Deliveries()
        self._line: AmqpConnection | None = None
        self._reader: Reader | None = None
        self._watching: asyncio.Task[None] | None = None
        self._unsettled: dict[int, int] = {}  # the weight of each, by its tag, in order
        self._weight = 0
        self._has_room = asyncio.Event()

    @abstractmethod
    def topic_of(self, queue: str) -> str: ...

    @abstractmethod
    def read(self, delivery: Delivery) -> Incoming:
        """Pure. Raises BadRequest."""

    @abstractmethod
    async def begin(self, line: AmqpConnection, reader: Reader) -> None:
        """Before the source counts as open. Raises one of TROUBLE."""

    @abstractmethod
    async def watch(self, line: AmqpConnection, reader: Reader) -> None:
        """See to its queues, until cancelled. Raises one of TROUBLE where the line is to be made anew."""

    async def open(self) -> None:
        deliveries = self._deliveries = Deliveries()
        self._unsettled.clear()
        self._weight = 0
        self._has_room.set()
        line = self._line = AmqpConnection(self._url, self.name, self._has_room)
        try:
            reader = await line.reader(self._prefetch, lambda exc: deliveries.end(SourceLost(reason(exc))))
            self._reader = reader
            await self.begin(line, reader)
        except TROUBLE as exc:
            raise SourceLost(reason(exc)) from None
        self._watching = asyncio.create_task(self._watch(line, reader, deliveries), name=f"queues of {self.name}")

    async def _watch(self, line: AmqpConnection, reader: Reader, deliveries: Deliveries[Delivery]) -> None:
        try:
            await self.watch(line, reader)
        except TROUBLE as exc:
            deliveries.end(SourceLost(reason(exc)))
        except Exception as exc:  # a defect of ours, which `receive` raises
            deliveries.end(exc)

    async def close(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            await line.close()
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            await asyncio.wait([watching])
        if line is not None:
            await line.close()  # who declared a queue meanwhile has made it anew

    def take(self, delivery: Delivery) -> None:
        weight = len(delivery.body) + OVERHEAD
        self._unsettled[delivery.tag] = weight
        self._weigh(weight)
        self._deliveries.put(delivery)

    def _weigh(self, more: int) -> None:
        self._weight += more
        if self._weight < MAX_UNSETTLED_BYTES:
            self._has_room.set()
        else:
            self._has_room.clear()

    async def receive(self) -> list[Arrival]:
        return [self._arrival(delivery) for delivery in await self._deliveries.some()]

    def _arrival(self, delivery: Delivery) -> Arrival:
        read: Incoming | BadRequest
        try:
            if delivery.fault is not None:
                raise BadRequest(f"It can't be read: {delivery.fault}.")
            read = self.read(delivery)
        except BadRequest as exc:
            read = exc
        topic, id = self.topic_of(delivery.queue), delivery.message_id or ""
        return Arrival(delivery.queue, delivery.body, topic, id, read, delivery.tag)

    async def acknowledge(self, settled: Sequence[Arrival]) -> None:
        assert self._reader is not None
        tags = sorted(arrival.receipt for arrival in settled)
        self._weigh(-sum(self._unsettled.pop(tag) for tag in tags))
        try:
            await self._reader.acknowledge(tags, next(iter(self._unsettled), None))
        except TROUBLE as exc:
            raise SourceLost(reason(exc)) from None


class OneQueue(RabbitSource):
    """Any JSON, into one topic or inbox."""

    def __init__(self, given: RabbitIn, url: str, settings: Settings) -> None:
        super().__init__(given.name, url, given.prefetch)
        self._given = given
        self._settings = settings

    def topic_of(self, queue: str) -> str:
        return self._given.topic

    def read(self, delivery: Delivery) -> Incoming:
        return read_content(delivery, self._given.sender, self._settings)

    async def begin(self, line: AmqpConnection, reader: Reader) -> None:
        await line.declare(self._given.queue)
        await reader.consume(self._given.queue, self.take)

    async def watch(self, line: AmqpConnection, reader: Reader) -> None:
        raise ConnectionError(f"the queue {await reader.deleted.get()} was deleted")


class Inboxes(RabbitSource):
    """The queue of every known user, as ProntoGram had one, into the user's inbox: one channel for all.

    It is called as other systems call the person.
    """

    def __init__(self, url: str, store: Store, settings: Settings, is_ours: Callable[[str], bool]) -> None:
        """``is_ours``: whether a user's queue is to be read; not where a bridge out fills it."""
        super().__init__(INBOXES, url, PREFETCH)
        self._store = store
        self._settings = settings
        self._is_ours = is_ours
        self._left_out: set[str] = set()
        self._consumed: set[str] = set()

    def topic_of(self, queue: str) -> str:
        return inbox_of(person_name(queue))

    def read(self, delivery: Delivery) -> Incoming:
        return read_offer(delivery, self._settings)

    async def begin(self, line: AmqpConnection, reader: Reader) -> None:
        self._consumed.clear()

    async def watch(self, line: AmqpConnection, reader: Reader) -> None:
        while True:
            after = ""
            while names := await self._names(after):
                for name in map(original_name, names):
                    if name not in self._consumed and self._may_read(name):
                        await self._has_room.wait()  # else the server's answer would wait, unread
                        await self._consume(line, reader, name)
                after = names[-1]
                await asyncio.sleep(BREATH)
            await asyncio.sleep(LOOK_EVERY)
            while not reader.deleted.empty():  # it is made again, as its user is still known
                self._consumed.discard(reader.deleted.get_nowait())

    async def _names(self, after: str) -> list[str]:
        try:
            return [name for _, name in await self._store.users_page(after, MAX_ASKED_USERS)]
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

    async def _consume(self, line: AmqpConnection, reader: Reader, name: str) -> None:
        try:
            await line.declare(name)
            await reader.consume(name, self.take)
        except REFUSALS as exc:  # the others go on, on another channel if need be
            self._leave_out(name, reason(exc))
            if reader.is_closed:
                raise
        else:
            self._consumed.add(name)

    def _leave_out(self, name: str, why: str) -> None:
        self._left_out.add(name)
        log.warning("bridge %s leaves out the queue of %s until its next start: %s", self.name, name, why)
