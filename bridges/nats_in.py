"""From NATS into topics: by a durable consumer where a stream holds the subject, by a plain subscription elsewhere.

From a stream: stored, then acknowledged, in order; what comes again is recognised by the stream's own number, so each
is there once. From core NATS: at most once until it is stored, as nobody keeps what we were not there to hear.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from nats.aio.client import Client
from nats.aio.msg import Msg

from bridges.cancelling import heed_cancel
from bridges.config import NatsIn
from bridges.incoming import Incoming, bury, submit
from bridges.nats_arrivals import Arrivals
from bridges.nats_consumer import HEARTBEAT, Stream, find_stream, stand_ready
from bridges.nats_line import NoJetStream, connect
from bridges.nats_out import ORIGIN
from bridges.outlet import Unreachable
from bridges.schedule import Schedule
from messaging.buses.nats_connection import TROUBLE, let_go, words
from messaging.content import check_content
from messaging.errors import BadRequest, Conflict, RecadoError, Unavailable, UnknownTopic
from messaging.model import is_topic_name
from messaging.node import Node
from messaging.retrying import backoff_delays
from messaging.settings import Settings

log = logging.getLogger(__name__)

ASK_AGAIN = 5.0  # seconds after which a subject without a stream may have got one
ROOM = 16 * 1024 * 1024  # bytes that core NATS may be ahead of the database


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message as it is to be stored. ``number`` stands for its seq where it becomes a dead letter.

    ``wants_ack``: a stream waits for it. A message of core NATS may have a reply subject too, which is not for us.
    """

    message: Msg
    topic: str
    key: str | None
    number: int
    wants_ack: bool


class NatsInlet:
    """Keeps a line, and stores what it brings."""

    def __init__(
        self, bridge: NatsIn, servers: Sequence[str], node: Node, settings: Settings,
        origin: Callable[[], Awaitable[str]], schedule: Schedule | None = None,
    ) -> None:  # fmt: skip
        """``origin``: of this installation, see `NatsOutlet`."""
        self._bridge = bridge
        self._servers = servers
        self._node = node
        self._settings = settings
        self._origin = origin
        self._schedule = schedule or Schedule()
        self._attempts = 0  # in vain, since it was open
        self._stream: Stream | None = None  # that was read last
        self._last: int | None = None  # of it, acknowledged
        self._ours = ""
        self._partial = False
        self._why = ""  # the last message could not be stored

    async def run(self) -> None:
        """Until cancelled, which is safe: what is not acknowledged comes again."""
        while True:
            heed_cancel()
            try:
                self._ours = await self._origin()
                await self._serve()
            except Exception as exc:
                if not passes(exc):
                    raise
                self._note(exc)
                await asyncio.sleep(self._schedule.pause(self._attempts, random.random()))

    def _note(self, exc: Exception) -> None:
        self._attempts += 1
        self._node.metrics.bridge_failures.labels(self._bridge.name).inc()
        if self._attempts == 1:
            log.warning("bridge %s waits: %s", self._bridge.name, words(exc))

    async def _serve(self) -> None:
        """One line, to its end. Returns where a stream may be read instead."""
        arrivals = Arrivals()
        client = await connect(self._servers, self._bridge.name, closed=arrivals.end, overrun=self._overrun)
        try:
            stream = await self._find_stream(client)
            await (self._read_core(client, arrivals) if stream is None else self._read(client, stream, arrivals))
        finally:
            await let_go(client)

    def _overrun(self) -> None:
        self._node.metrics.bridge_failures.labels(self._bridge.name).inc()

    async def _find_stream(self, client: Client) -> Stream | None:
        try:
            stream, some = await find_stream(client, self._bridge.subject)
        except NoJetStream:
            if self._stream is not None:
                raise Unreachable(f"JetStream does not answer, and stream {self._stream.name} was read") from None
            return None
        if stream is None and some and not self._partial:
            self._partial = True
            names = ", ".join(some)
            log.warning(
                "bridge %s: %s hold only some of %s, so it is read by core NATS, at most once;"
                " give each stream a bridge of its own", self._bridge.name, names, self._bridge.subject,
            )  # fmt: skip
        return stream

    def _opened(self, how: str) -> None:
        log.info("bridge %s: reads %s from %s", self._bridge.name, self._bridge.subject, how)
        self._attempts = 0

    async def _read(self, client: Client, stream: Stream, arrivals: Arrivals) -> None:
        """Raises Unreachable, or what passes, where it ends."""
        if self._stream is None or self._stream.identity != stream.identity:
            self._stream, self._last = stream, None
        durable = f"recado-{self._ours}-{self._bridge.name.replace('.', '_')}"
        subject = await stand_ready(client, stream, self._bridge, durable, self._last)
        await client.subscribe(subject, cb=arrivals.take)
        self._opened(f"stream {stream.name}")
        while True:
            heed_cancel()
            messages = await arrivals.some(3 * HEARTBEAT)
            if not messages:
                raise Unreachable("the consumer is silent: it or its stream has gone, or the server hangs")
            batch = [self._numbered(stream, message) for message in messages if message.reply]  # others: heartbeats
            if await self._store_all(batch):
                raise Unreachable(self._why)  # what is not acknowledged comes again, on another line
            if batch:
                self._last = batch[-1].number

    def _numbered(self, stream: Stream, message: Msg) -> Arrival:
        number = message.metadata.sequence.stream
        return Arrival(message, self._topic(message), f"nats.{stream.identity}.{number}", number, wants_ack=True)

    async def _read_core(self, client: Client, arrivals: Arrivals) -> None:
        await client.subscribe(self._bridge.subject, cb=arrivals.take, pending_bytes_limit=ROOM)
        self._opened("core NATS")
        asked = time.monotonic()
        while True:
            heed_cancel()
            messages = await arrivals.some(ASK_AGAIN)
            await self._store_patiently([self._unnumbered(message) for message in messages])
            if time.monotonic() - asked >= ASK_AGAIN:
                asked = time.monotonic()
                if await self._find_stream(client) is not None:
                    return

    def _unnumbered(self, message: Msg) -> Arrival:
        given = (message.headers or {}).get("Nats-Msg-Id")
        key = None if given is None else f"nats.{digest(given.encode()).hex()}"
        number = int.from_bytes(digest(message.data)[:6], "big")
        return Arrival(message, self._topic(message), key, number, wants_ack=False)

    def _topic(self, message: Msg) -> str:
        return self._bridge.topic.replace("{subject}", message.subject)

    async def _store_patiently(self, arrivals: list[Arrival]) -> None:
        """Nobody else has them: wait for the database. What it answered to is not stored again."""
        for pause in backoff_delays():
            arrivals = await self._store_all(arrivals)
            if not arrivals:
                return
            await asyncio.sleep(pause)

    async def _store_all(self, arrivals: list[Arrival]) -> list[Arrival]:
        """Topics side by side, each in order. What could not be stored now, and in its topic all that is behind it."""
        topics: dict[str, list[Arrival]] = {}
        for arrival in arrivals:
            topics.setdefault(arrival.topic, []).append(arrival)
        async with asyncio.TaskGroup() as tasks:
            jobs = [tasks.create_task(self._store_in_order(each)) for each in topics.values()]
        return [left for job in jobs for left in job.result()]

    async def _store_in_order(self, arrivals: list[Arrival]) -> list[Arrival]:
        for place, arrival in enumerate(arrivals):
            try:
                await self._settle(arrival)
            except Exception as exc:
                if not passes(exc):
                    raise
                self._why = words(exc)
                return arrivals[place:]
        return []

    async def _settle(self, arrival: Arrival) -> None:
        """Store it, or bury it, then acknowledge."""
        message = arrival.message
        if (message.headers or {}).get(ORIGIN) == self._ours:
            self._node.metrics.bridge_skipped.labels(self._bridge.name).inc()
        else:
            await self._keep(arrival)
        if arrival.wants_ack:
            await message.ack()

    async def _keep(self, arrival: Arrival) -> None:
        try:
            if not is_topic_name(arrival.topic):
                raise BadRequest(f"{arrival.topic!r} is not a name that a topic may have.")
            content = check_content(arrival.message.data, self._settings.max_frame)
            incoming = Incoming(self._bridge.sender, content, arrival.key)
            outcome = await (await submit(self._node, self._settings, arrival.topic, incoming)).outcome
            if isinstance(outcome, RecadoError):
                raise outcome
        except (BadRequest, Conflict) as exc:
            message = arrival.message
            await bury(
                self._node, self._bridge.name, arrival.topic, grave_of(arrival), message.subject, message.data,
                exc.message,
            )  # fmt: skip


def grave_of(arrival: Arrival) -> int:
    """A number that stands for a message that is buried: a stream made anew counts from 1 again, so not its own."""
    return arrival.number if arrival.key is None else int.from_bytes(digest(arrival.key.encode())[:6], "big")


def digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def passes(exc: Exception) -> bool:
    """Whether a failure ends by itself: of NATS, of the database, or a topic that was deleted just now."""
    return isinstance(exc, (*TROUBLE, Unreachable, Unavailable, UnknownTopic))
