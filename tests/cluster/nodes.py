"""Several nodes of several workers each, as programs, on one database and one bus."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from messaging.auth.tokens import Tokens
from messaging.bus.contract import LocalBus
from messaging.node import Node
from messaging.permissions import BACKEND
from messaging.settings.settings import Settings
from recado.client import Client, Message
from support.places import free_port
from support.programs import Program

SECRET = "a-secret-that-is-only-for-these-tests-32+"
START_TIME = 60
SETTLE = 60  # seconds for everything to arrive on a busy machine


@dataclass
class Cluster:
    """Programs `python -m ws_server`, by port."""

    dsn: str
    bus_url: str
    workers: int
    running: dict[int, Program] = field(default_factory=dict)
    tokens: Tokens = field(default_factory=lambda: Tokens(SECRET))

    async def start(self, port: int) -> None:
        program = await Program.start(
            sys.executable, "-m", "ws_server", DATABASE_URL=self.dsn, JWT_SECRET=SECRET, WS_PORT=str(port),
            WORKERS=str(self.workers), BUS_URL=self.bus_url, RATE_LIMIT="0",
        )  # fmt: skip
        await program.line("^ready$", START_TIME)
        self.running[port] = program

    async def end(self, port: int, number: int = signal.SIGTERM) -> None:
        await self.running.pop(port).end(number)

    @property
    def urls(self) -> list[str]:
        return [f"ws://127.0.0.1:{port}" for port in self.running]

    def client(self, user: str, url: str, device: str = "") -> Client:
        return Client(url, self.tokens.issue(user)[0], device=device)


@asynccontextmanager
async def cluster(dsn: str, bus_url: str, nodes: int = 2, workers: int = 2) -> AsyncIterator[Cluster]:
    made = Cluster(dsn, bus_url, workers)
    try:
        for _ in range(nodes):
            await made.start(free_port())
        yield made
    finally:
        for port in list(made.running):
            await made.end(port)


@asynccontextmanager
async def backend(dsn: str) -> AsyncIterator[Node]:
    """A node without a door, for what a backend does. Its bus reaches nobody: every notice of it is lost."""
    node = Node(Settings(jwt_secret=SECRET), dsn, LocalBus())
    await node.open()
    try:
        yield node
    finally:
        await node.close()


async def make_topic(node: Node, name: str, *members: str) -> None:
    await node.actions.create_topic(BACKEND, name, await node.actions.know("omar"), "public")
    for member in members:
        await node.actions.know(member)
        await node.actions.invite(BACKEND, name, member)


class Crowd:
    """Members that read, wherever they are connected, and what each has got."""

    def __init__(self) -> None:
        self.got: dict[str, list[int]] = {}
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._stack = AsyncExitStack()

    async def join(self, name: str, client: Client) -> None:
        await self._stack.enter_async_context(client)
        await client.topics()  # it is connected
        self.got[name] = []
        self._tasks.append(asyncio.create_task(self._read(name, client)))

    async def _read(self, name: str, client: Client) -> None:
        async for message in client:
            if isinstance(message, Message) and message.topic == "noticias":
                self.got[name].append(message.seq)
                self._news.set()

    async def until_all_have(self, last: int, seconds: float = SETTLE) -> None:
        """Wait until everybody has got up to ``last``."""
        try:
            async with asyncio.timeout(seconds):
                while not all(seqs and seqs[-1] >= last for seqs in self.got.values()):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            ends = {name: seqs[-1:] for name, seqs in self.got.items()}
            raise AssertionError(f"not everybody has got {last} after {seconds} s: {ends}") from None

    async def leave(self) -> None:
        await self._stack.aclose()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def crowd() -> AsyncIterator[Crowd]:
    people = Crowd()
    try:
        yield people
    finally:
        await people.leave()


class Talker:
    """Publishes until told to stop; every publish waits for its receipt, several at once."""

    def __init__(self, client: Client, rate: float) -> None:
        self.client = client
        self.acknowledged: list[int] = []
        self._pause = 1 / rate
        self._stopping = False
        self._said = asyncio.Event()
        self._task = asyncio.create_task(self._talk())

    async def _talk(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        async with asyncio.TaskGroup() as tasks:
            number = 0
            while not self._stopping:
                number += 1
                tasks.create_task(self._say(number))
                due += self._pause
                await asyncio.sleep(max(0, due - loop.time()))

    async def _say(self, number: int) -> None:
        self.acknowledged.append(await self.client.publish("noticias", number))
        self._said.set()

    async def has_said(self, count: int) -> None:
        async with asyncio.timeout(SETTLE):
            while len(self.acknowledged) < count:
                self._said.clear()
                await self._said.wait()

    async def stop(self) -> int:
        """Stop, wait for every receipt; the highest seq."""
        self._stopping = True
        async with asyncio.timeout(SETTLE):
            await self._task
        return max(self.acknowledged)
