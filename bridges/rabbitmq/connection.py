"""The one place that tames aio-pika and aiormq: connections to RabbitMQ, from connecting to their end.

Not `connect_robust`: it restores queues and consumers behind our back and hides that a line broke. A lane, and the
reader of an inlet, want to know: they try again by themselves, and say so.

What is put right here: the library's reader gives up at properties that producers may send, for the whole line; its
calls raise RuntimeError, Exception and a CancelledError that nobody asked for, where the line has ended;
`asyncio.wait_for` swallows cancellations; its end waits for peers that are frozen.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import aio_pika
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import AMQPError, ChannelPreconditionFailed
from aiormq.abc import AbstractChannel as Underlay
from aiormq.abc import DeliveredMessage
from aiormq.connection import TCPTransportFactory, TLSTransportFactory
from pamqp.exceptions import PAMQPException

from bridges.rabbitmq.frames import HEARTBEAT_FRAME, Delivery, delivery_of, frame_head, harmless
from messaging.bus.library_calls import normalized_errors

log = logging.getLogger(__name__)

ANSWER_TIME = 10.0  # seconds that the server has for anything; a frozen one is then unreachable
CLOSE_TIME = 3.0
HEARTBEAT = 10  # seconds; a line that is silent for three of them is dead

TROUBLE = (AMQPError, PAMQPException, OSError, TimeoutError)
"""All that a line raises. A RuntimeError is a defect of ours: the library's own are made into these."""

Consumer = Callable[[Delivery], None]


def reason(exc: BaseException) -> str:
    if isinstance(exc, TimeoutError):
        return f"RabbitMQ did not answer within {ANSWER_TIME:g} s"
    return f"RabbitMQ: {exc or type(exc).__name__}"


class AmqpConnection:
    """A connection with one channel, made when it is first used, and again after it was lost or dropped.

    Each method raises what is in TROUBLE, and may be cancelled; then `drop` or `close` it.
    """

    def __init__(self, url: str, name: str, has_room: asyncio.Event | None = None) -> None:
        """``name``: shown by the server's own tools. ``has_room``: while it is not set, nothing is read."""
        self._url = url
        self._name = name
        self._has_room = has_room
        self._connection: _Connection | None = None
        self._channel: AbstractChannel | None = None
        self._endings: set[asyncio.Task[None]] = set()

    async def channel(self) -> AbstractChannel:
        """The channel; another one where an error has closed it. It raises what the server could not route."""
        if self._connection is None or self._connection.is_closed:
            self.drop()
            self._connection = _Connection(self._url, self._name, self._has_room)
        with normalized_errors(ConnectionError):
            async with asyncio.timeout(ANSWER_TIME):
                if not self._connection.connected.is_set():
                    await self._connection.connect()
                if self._channel is None or self._channel.is_closed:
                    self._channel = await self._connection.channel(on_return_raises=True)
        return self._channel

    async def reader(self, prefetch: int, lost: Callable[[ConnectionError], None]) -> Reader:
        """A channel of its own that reads, each queue as far ahead of acknowledgements as ``prefetch``."""
        await self.channel()
        assert self._connection is not None
        with normalized_errors(ConnectionError):
            async with asyncio.timeout(ANSWER_TIME):
                channel = await self._connection.channel(publisher_confirms=False)
                await channel.set_qos(prefetch_count=prefetch)
                return Reader(channel, await channel.get_underlay_channel(), lost)

    async def declare(self, queue: str) -> None:
        """Make sure that a queue is there: durable, with no arguments, as old producers and consumers declare it.

        One with other arguments is somebody's choice, and used as it is. (RabbitMQ closes the channel to say so.)
        """
        try:
            channel = await self.channel()
            with normalized_errors(ConnectionError):
                await channel.declare_queue(queue, durable=True, timeout=ANSWER_TIME)
        except ChannelPreconditionFailed as exc:
            log.warning("queue %s was declared otherwise and is used as it is: %s", queue, exc)
            channel = await self.channel()
            with normalized_errors(ConnectionError):
                await channel.declare_queue(queue, passive=True, timeout=ANSWER_TIME)

    async def publish(self, queue: str, message: aio_pika.Message) -> None:
        """Return once the server has confirmed. Raises PublishError where there is no such queue, too."""
        channel = await self.channel()
        with normalized_errors(ConnectionError):
            await channel.default_exchange.publish(message, queue, mandatory=True)

    def drop(self) -> None:
        """Whatever state it is in: the next use makes another one. It is closed meanwhile."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            ending = asyncio.ensure_future(connection.let_go())
            self._endings.add(ending)
            ending.add_done_callback(self._endings.discard)

    async def close(self) -> None:
        self.drop()
        if self._endings:
            await asyncio.wait(self._endings, timeout=2 * CLOSE_TIME)


class Reader:
    """A channel by which queues are read. ``lost`` is called once, when it has ended or a queue was deleted."""

    def __init__(self, channel: AbstractChannel, underlay: Underlay, lost: Callable[[ConnectionError], None]) -> None:
        self._channel = channel
        self._underlay = underlay
        self._lost = lost
        self._acknowledging = asyncio.Lock()
        self.deleted: asyncio.Queue[str] = asyncio.Queue()
        channel.close_callbacks.add(self._closed)
        underlay.on_consumer_cancel_callbacks.add(lambda frame: self.deleted.put_nowait(frame.consumer_tag or ""))
        if channel.is_closed:
            self._closed(None, None)

    @property
    def is_closed(self) -> bool:
        return self._channel.is_closed

    def _closed(self, _: object, exc: BaseException | None) -> None:
        self._lost(ConnectionError(f"the line was lost ({exc})"))

    async def consume(self, queue: str, consumer: Consumer) -> None:
        async def take(message: DeliveredMessage) -> None:
            consumer(delivery_of(queue, message))

        with normalized_errors(ConnectionError):
            await self._underlay.basic_consume(queue, take, consumer_tag=queue, timeout=ANSWER_TIME)

    async def acknowledge(self, tags: list[int], oldest: int | None) -> None:
        """All of these; ``oldest``: the first of the others. What is before that is acknowledged in one word."""
        below = [tag for tag in tags if oldest is None or tag < oldest]
        async with self._acknowledging:  # two words for one tag would end the channel
            with normalized_errors(ConnectionError):
                if below:
                    await self._underlay.basic_ack(below[-1], multiple=True)
                for tag in tags[len(below) :]:
                    await self._underlay.basic_ack(tag)


class _Connection(aio_pika.Connection):
    """A connection whose bytes pass through here: what producers chose is made harmless before it is parsed."""

    def __init__(self, url: str, name: str, has_room: asyncio.Event | None) -> None:
        parts = urlsplit(url)
        query = urlencode({"heartbeat": HEARTBEAT, **dict(parse_qsl(parts.query)), "name": f"recado {name}"})
        logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # it has a page for every try; ours is one line
        super().__init__(aio_pika.connection.make_url(parts._replace(query=query).geturl()))
        self._writer: asyncio.StreamWriter | None = None
        self._has_room = has_room
        self.kwargs["transport_factory"] = self

    async def create(self, url: Any, **options: Any) -> tuple[Any, asyncio.StreamWriter]:
        """What the library calls to connect."""
        factory = TLSTransportFactory() if url.scheme == "amqps" else TCPTransportFactory()
        reader, self._writer = await factory.create(url, **options)
        return _Lenient(reader, self._has_room), self._writer

    async def let_go(self) -> None:
        """Close it, but wait for no answer for long: a frozen server has none. Never raises."""
        try:
            with normalized_errors(ConnectionError), suppress(*TROUBLE):
                async with asyncio.timeout(CLOSE_TIME):
                    await self.close()
        except ConnectionError:
            pass
        finally:
            if self._writer is not None:
                self._writer.transport.abort()


class _Lenient:
    """The part of a StreamReader that the library uses, over whole frames that have been made harmless."""

    def __init__(self, reader: asyncio.StreamReader, has_room: asyncio.Event | None) -> None:
        self._reader = reader
        self._has_room = has_room
        self._left = b""

    def at_eof(self) -> bool:
        return False  # else the library takes an end between two frames for one asked for, and raises Exception

    async def readexactly(self, count: int) -> bytes:
        if not self._left:
            self._left = await self._frame()
        piece, self._left = self._left[:count], self._left[count:]
        return piece

    async def _frame(self) -> bytes:
        if self._has_room is not None and not self._has_room.is_set():
            try:
                async with asyncio.timeout(HEARTBEAT):
                    await self._has_room.wait()
            except TimeoutError:
                return HEARTBEAT_FRAME  # the peer speaks, we don't listen: not a sign that it is dead
        head = await self._reader.readexactly(7)
        kind, size = frame_head(head)
        payload = await self._reader.readexactly(size + 1)
        return harmless(kind, head, payload)
