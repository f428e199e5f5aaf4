"""From NATS into topics: by a durable consumer where a stream holds the subject, by a plain subscription elsewhere.

From a stream: each once, in order, as what comes again is recognised by the stream's own number. From core NATS: at
most once until it is stored, as nobody keeps what we were not there to hear.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error

from bridges.config import NatsIn
from bridges.deliveries import Deliveries
from bridges.nats.connection import NoJetStream
from bridges.nats.consumer import HEARTBEAT, Stream, find_stream, stand_ready
from bridges.nats.outlet import ORIGIN
from messaging.bridge.arrivals import Arrival, Incoming
from messaging.bridge.inlet import SourceLost
from messaging.bus.nats_connection import TROUBLE, connect, fault_of, let_go, words
from messaging.errors import BadRequest, Unavailable
from messaging.log.content import check_content
from messaging.model import is_topic_name
from messaging.settings.settings import Settings

log = logging.getLogger(__name__)

ASK_AGAIN = 5.0  # seconds after which a subject without a stream may have got one
MAX_HELD_BYTES = 16 * 1024 * 1024  # bytes that core NATS may be ahead of us


class NatsSource:
    """See `Source`."""

    def __init__(
        self, bridge: NatsIn, servers: Sequence[str], origin: Callable[[], Awaitable[str]], settings: Settings,
        overrun: Callable[[], None],
    ) -> None:  # fmt: skip
        """``origin``: see `NatsOutlet`; ``overrun``: called where there was no room."""
        self._bridge = bridge
        self._servers = servers
        self._origin = origin
        self._settings = settings
        self._count_overrun = overrun
        self._client: Client | None = None
        self._deliveries: Deliveries[Msg] = Deliveries()
        self._ours = ""
        self._stream: Stream | None = None  # that is read, or was read last
        self._is_core = True
        self._unsettled: set[int] = set()  # seqs of the stream
        self._last: int | None = None  # of the stream: all up to it is settled
        self._asked = 0.0
        self._partial = False

    @property
    def keeps(self) -> bool:
        return not self._is_core

    async def open(self) -> None:
        self._ours = await self._origin()
        deliveries = self._deliveries = Deliveries()
        try:
            client = self._client = await connect(
                self._servers, self._bridge.name, overrun=self._overrun,
                closed=lambda: deliveries.end(SourceLost("the line to NATS has broken")),
            )  # fmt: skip
        except Unavailable as exc:
            raise SourceLost(str(exc)) from None
        try:
            stream = await self._find(client)
            self._is_core = stream is None
            await (self._read_core(client) if stream is None else self._read(client, stream))
        except TROUBLE as exc:
            raise SourceLost(f"NATS: {words(exc)}") from None

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await let_go(client)

    def _overrun(self) -> None:
        """There was no room for a message: of core NATS it is lost; of a stream it comes again by another line."""
        self._count_overrun()
        if not self._is_core:
            self._deliveries.end(SourceLost("more came than there is room for"))

    async def _find(self, client: Client) -> Stream | None:
        self._asked = time.monotonic()
        try:
            stream, some = await find_stream(client, self._bridge.subject)
        except NoJetStream:
            if self._stream is not None:
                raise SourceLost(f"JetStream does not answer, and stream {self._stream.name} was read") from None
            return None
        if stream is None and some and not self._partial:
            self._partial = True
            names = ", ".join(some)
            log.warning(
                "bridge %s: %s hold only some of %s, so it is read by core NATS, at most once;"
                " give each stream a bridge of its own", self._bridge.name, names, self._bridge.subject,
            )  # fmt: skip
        return stream

    async def _read(self, client: Client, stream: Stream) -> None:
        if self._stream is None or self._stream.identity != stream.identity:
            self._last = None if self._stream is None else 0  # of one that was made again, nothing was read
            self._stream = stream
            self._unsettled.clear()
        durable = f"recado-{self._ours}-{self._bridge.name.replace('.', '_')}"
        subject, floor = await stand_ready(client, stream, self._bridge, durable, self._last)
        self._unsettled = {number for number in self._unsettled if number > floor}  # it may come late: see `_set_back`
        self._last = max(self._last or 0, floor)
        await client.subscribe(subject, cb=self._take)
        log.info("bridge %s: reads %s from stream %s", self._bridge.name, self._bridge.subject, stream.name)

    async def _read_core(self, client: Client) -> None:
        await client.subscribe(self._bridge.subject, cb=self._take, pending_bytes_limit=MAX_HELD_BYTES)
        log.info("bridge %s: reads %s from core NATS", self._bridge.name, self._bridge.subject)

    async def _take(self, message: Msg) -> None:
        await self._deliveries.put_in_time(message, len(message.data))

    async def receive(self) -> list[Arrival]:
        if not self._is_core:
            messages = await self._deliveries.some(3 * HEARTBEAT)
            if not messages:
                raise SourceLost("the consumer is silent: it or its stream has gone, or the server hangs")
            return [arrival for message in messages if (arrival := self._numbered(message)) is not None]
        await self._look_for_stream()
        return [self._unnumbered(message) for message in await self._deliveries.some(ASK_AGAIN)]

    async def _look_for_stream(self) -> None:
        if self._client is None or time.monotonic() - self._asked < ASK_AGAIN:
            return
        try:
            stream = await self._find(self._client)
        except TROUBLE as exc:
            raise SourceLost(f"NATS: {words(exc)}") from None
        if stream is not None:
            self._deliveries.end(SourceLost(f"stream {stream.name} holds it now, and is read instead"))

    async def acknowledge(self, settled: Sequence[Arrival]) -> None:
        try:
            for arrival in settled:
                if arrival.receipt is not None:
                    number, message = arrival.receipt
                    await message.ack()
                    self._unsettled.discard(number)
                    self._last = min(self._unsettled, default=max(self._last or 0, number) + 1) - 1
        except TROUBLE as exc:
            raise SourceLost(f"NATS: {words(exc)}") from None

    def _numbered(self, message: Msg) -> Arrival | None:
        """None: it is a heartbeat, or somebody else's."""
        assert self._stream is not None
        try:
            number = message.metadata.sequence.stream
        except (Error, ValueError, OverflowError):
            return None
        self._unsettled.add(number)
        return self._arrival(message, f"nats.{self._stream.identity}.{number}", (number, message))

    def _unnumbered(self, message: Msg) -> Arrival:
        """It may have a reply subject too, which is not for us."""
        given = (message.headers or {}).get("Nats-Msg-Id")
        return self._arrival(message, None if given is None else f"nats.{_digest(given)}", None)

    def _arrival(self, message: Msg, key: str | None, receipt: tuple[int, Msg] | None) -> Arrival:
        topic = self._bridge.topic.replace("{subject}", message.subject)
        return Arrival(message.subject, message.data, topic, key or "", self._content(message, topic, key), receipt)

    def _content(self, message: Msg, topic: str, key: str | None) -> Incoming | BadRequest | None:
        if (fault := fault_of(message)) is not None:
            return BadRequest(f"It can't be read: {fault}.")
        if (message.headers or {}).get(ORIGIN) == self._ours:
            return None
        if not is_topic_name(topic):
            return BadRequest(f"{topic!r} is not a name that a topic may have.")
        try:
            return Incoming(self._bridge.sender, check_content(message.data, self._settings), key)
        except BadRequest as exc:
            return exc


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()
