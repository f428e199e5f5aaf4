"""Every inlet keeps what inlets keep: of NATS by a stream and by core, of RabbitMQ by a queue and by users' queues."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from inlet_conformance import TIME, Feed, InConformance
from nats.errors import Error

from bridges.config import NatsIn, RabbitIn
from bridges.deliveries import Deliveries
from bridges.nats import consumer as nats_consumer
from bridges.nats import inlet as nats_in
from bridges.nats.inlet import NatsSource
from bridges.rabbitmq.inlet import PREFETCH, Inboxes, OneQueue
from messaging.bridge.arrivals import Arrival, Incoming
from messaging.bridge.inlet import Source, SourceLost
from messaging.errors import BadRequest
from messaging.model import Content
from messaging.node import Node
from messaging.settings.settings import Settings
from messaging.store.store import Store
from support.nats_server import Nats, nats_server
from support.rabbit_readers import offers
from support.rabbit_server import Rabbit, fresh
from support.waiting import until

LIMIT = 2048
LIMITED = Settings(max_frame=LIMIT)


# --- in this process ---------------------------------------------------------------------------------


class Paper:
    """A broker that is a list."""

    keeps, topic, window, port = True, "orders", 50, 0

    def __init__(self) -> None:
        self.kept: dict[int, tuple[str, Incoming | BadRequest]] = {}
        self.out: set[int] = set()
        self.count = 0
        self.line: Deliveries[Arrival] | None = None

    async def prepare(self, node: Node) -> None:
        return

    def source(self, port: int) -> Source:
        return PaperSource(self)

    async def put(self, *texts: str, ids: bool = True) -> None:
        for text in texts:
            self._keep(text, Incoming("ana", Content(json.dumps(text)), f"paper.{self.count}"))

    async def put_bad(self) -> None:
        self._keep("bad", BadRequest("It is bad."))

    async def put_poison(self) -> None:
        self._keep("\ud800\0", BadRequest("It can't be read: \udcff."))

    def _keep(self, text: str, read: Incoming | BadRequest) -> None:
        self.count += 1
        self.kept[self.count] = (text, read)
        self.deliver()

    def deliver(self) -> None:
        for number, (text, read) in self.kept.items():
            if self.line is not None and number not in self.out and len(self.out) < self.window:
                self.out.add(number)
                raw = text.encode(errors="surrogatepass")
                self.line.put(Arrival("paper\udcff", raw, self.topic, str(number), read, number))

    def end(self) -> None:
        self.out.clear()
        if self.line is not None:
            self.line.end(SourceLost("the line has ended"))
            self.line = None

    async def until_read(self) -> None:
        await until(lambda: self.line is not None)

    async def ready(self) -> int:
        return len(self.kept) - len(self.out)

    async def kill(self) -> None:
        self.end()

    async def start(self) -> None:
        return


class PaperSource:
    keeps = True

    def __init__(self, paper: Paper) -> None:
        self._paper = paper
        self._line: Deliveries[Arrival] = Deliveries()

    async def open(self) -> None:
        await asyncio.sleep(0)
        self._paper.line = self._line = Deliveries()
        self._paper.deliver()

    async def receive(self) -> Sequence[Arrival]:
        return await self._line.some()

    async def acknowledge(self, settled: Sequence[Arrival]) -> None:
        if self._paper.line is not self._line:
            raise SourceLost("the line has ended")
        for arrival in settled:
            self._paper.out.discard(arrival.receipt)
            del self._paper.kept[arrival.receipt]
        self._paper.deliver()

    async def close(self) -> None:
        if self._paper.line is self._line:
            self._paper.end()


class TestPaper(InConformance):
    @pytest.fixture
    def feed(self) -> Feed:
        return Paper()

    test_the_line_cut_again_and_again = None  # type: ignore[assignment]  # there is no line


# --- NATS --------------------------------------------------------------------------------------------


async def origin() -> str:
    return "here"


class NatsFeed:
    """One subject."""

    topic = "orders.rome"

    def __init__(self, server: Nats, *, keeps: bool) -> None:
        self._server = server
        self.keeps = keeps
        self.window = nats_consumer.MAX_UNSETTLED if keeps else 50
        self.port = urlsplit(server.url).port or 0
        self._put = 0

    async def prepare(self, node: Node) -> None:
        return

    def source(self, port: int) -> Source:
        url = f"nats://127.0.0.1:{port}"
        return NatsSource(NatsIn("in", "orders.>"), [url], origin, LIMITED, lambda: None)

    async def put(self, *texts: str, ids: bool = True) -> None:
        async with self._server.client() as client:
            for text in texts:
                self._put += 1
                headers = {"Nats-Msg-Id": str(self._put)}
                await client.publish(self.topic, json.dumps(text).encode(), headers=headers)
            await client.flush()

    async def put_bad(self) -> None:
        async with self._server.client() as client:
            await client.publish(self.topic, b"no JSON")
            await client.flush()

    async def put_poison(self) -> None:
        """A subject that is no UTF-8."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b'CONNECT {"verbose":false}\r\nPUB orders.\xff 3\r\n"1"\r\nPING\r\n')
        async with asyncio.timeout(TIME):
            await reader.readuntil(b"PONG\r\n")
        writer.close()

    async def until_read(self) -> None:
        async with self._server.client() as client, asyncio.timeout(TIME):
            while True:
                if self.keeps:
                    infos = await client.jetstream().consumers_info("ORDERS")
                    if any(info.push_bound for info in infos):
                        return
                else:
                    try:
                        await client.request("orders.probe", b'"1"', timeout=0.05)
                    except TimeoutError:
                        return
                    except Error:  # nobody yet
                        pass
                await asyncio.sleep(0.01)

    async def ready(self) -> int:
        """What the server has given out, it gives again; but not the acknowledged."""
        async with self._server.client() as client:
            infos = await client.jetstream().consumers_info("ORDERS")
            return sum((info.num_pending or 0) + self._in_hands(info) for info in infos)

    def _in_hands(self, info: Any) -> int:
        return 0 if info.push_bound else info.num_ack_pending or 0

    async def kill(self) -> None:
        await self._server.kill()

    async def start(self) -> None:
        await self._server.start()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nats_in, "HEARTBEAT", 0.5)
    monkeypatch.setattr(nats_consumer, "HEARTBEAT", 0.5)


class TestJetStream(InConformance):
    @pytest.fixture
    async def feed(self, tmp_path: Path) -> AsyncIterator[Feed]:
        async with nats_server(folder=tmp_path) as server:
            await server.make_stream("ORDERS", "orders.>")
            yield NatsFeed(server, keeps=True)


class TestCoreNats(InConformance):
    @pytest.fixture
    async def feed(self) -> AsyncIterator[Feed]:
        async with nats_server() as server:
            yield NatsFeed(server, keeps=False)

    # There is nothing to acknowledge, and nothing comes again.
    test_stored_and_not_acknowledged_it_is_there_once = None  # type: ignore[assignment]


# --- RabbitMQ ----------------------------------------------------------------------------------------

MICROSECONDS = (1 << 6).to_bytes(2, "big") + (1_764_000_000_000_000).to_bytes(8, "big")  # a timestamp, and nothing else


class QueueFeed:
    """A queue that its operator named."""

    keeps, topic, window = True, "orders", 50

    def __init__(self, rabbit: Rabbit, queue: str) -> None:
        self._rabbit = rabbit
        self._queue = queue
        self.port = urlsplit(rabbit.url).port or 0

    async def prepare(self, node: Node) -> None:
        await self.put()

    def source(self, port: int) -> Source:
        return OneQueue(RabbitIn("in", self._queue, self.topic), self._url(port), LIMITED)

    def _url(self, port: int) -> str:
        return self._rabbit.url.replace(str(self.port), str(port))

    async def put(self, *texts: str, ids: bool = True) -> None:
        await self._rabbit.put(self._queue, *self.bodies(texts), message_ids=[f"id-{text}" for text in texts])

    def bodies(self, texts: Sequence[str]) -> list[bytes]:
        return [json.dumps(text).encode() for text in texts]

    async def put_bad(self) -> None:
        await self._rabbit.put(self._queue, b"no JSON")

    async def put_poison(self) -> None:
        await self._rabbit.put_raw(self._queue, self.bodies(["x"])[0], MICROSECONDS)

    async def until_read(self) -> None:
        async def is_read() -> bool:
            async with self._rabbit.channel() as channel:
                declared = await channel.declare_queue(self._queue, durable=True)
                return bool(declared.declaration_result.consumer_count)

        await until(is_read, within=TIME)

    async def ready(self) -> int:
        return await self._rabbit.waiting(self._queue)

    async def kill(self) -> None:
        await self._rabbit.keeps(self._queue)
        await self._rabbit.kill()

    async def start(self) -> None:
        await self._rabbit.start()


class InboxFeed(QueueFeed):
    """The queue of one user."""

    window = PREFETCH

    def __init__(self, rabbit: Rabbit, user: str) -> None:
        super().__init__(rabbit, user)
        self.topic = f"@{user}"
        self._store: Store | None = None

    async def prepare(self, node: Node) -> None:
        await self.put()
        await node.actions.know(self._queue)
        self._store = node.store

    def source(self, port: int) -> Source:
        assert self._store is not None
        return Inboxes(self._url(port), self._store, LIMITED, lambda user: user == self._queue)

    def bodies(self, texts: Sequence[str]) -> list[bytes]:
        return offers(texts)


class TestQueue(InConformance):
    @pytest.fixture
    async def feed(self, rabbit: Rabbit) -> Feed:
        return QueueFeed(rabbit, fresh("orders"))


class TestInboxes(InConformance):
    @pytest.fixture
    async def feed(self, rabbit: Rabbit) -> Feed:
        return InboxFeed(rabbit, fresh("ana"))
