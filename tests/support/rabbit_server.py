"""A RabbitMQ of this session's own: started by hand on free ports, killed, frozen and started again at will.

A fixture for all: see `pytest_plugins` in conftest.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aiormq.abc import ChannelFrame
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from bridges.rabbitmq.connection import CLOSE_TIME, TROUBLE
from conftest import needs
from support.places import folder, free_port
from support.waiting import until

START_TIME = 90  # seconds; on a free machine it takes 7
TIME = 20

_numbers = itertools.count(1)


@asynccontextmanager
async def rabbit_server(folder: Path) -> AsyncIterator[Rabbit]:
    server = Rabbit(folder)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()


@pytest.fixture(scope="session")
async def rabbit() -> AsyncIterator[Rabbit]:
    """One server for all tests of a session; names come from `fresh`, as queues outlive a test."""
    with folder() as made:
        async with rabbit_server(made) as server:
            yield server


def fresh(name: str) -> str:
    """A name that no other test has."""
    return f"{name}{next(_numbers)}"


def program() -> str:
    """The server's own script: the one in PATH changes the user and writes to /var."""
    scripts = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"))
    return str(scripts[-1]) if scripts else needs("rabbitmq-server")


class RawHeader(ContentHeader):
    """Properties as bytes: their flags, and what follows, whatever that is."""

    def __init__(self, properties: bytes, body_size: int) -> None:
        super().__init__(body_size=body_size)
        self._properties = properties

    def marshal(self) -> bytes:
        return struct.pack(">HHQ", 60, 0, self.body_size) + self._properties


async def _publish(channel: AbstractChannel, queue: str, body: bytes, header: ContentHeader) -> asyncio.Future[object]:
    """Without the id that this library gives to a message that has none, as others do not. Done once confirmed."""
    publish = Basic.Publish(exchange="", routing_key=queue)
    frames: list[Any] = [publish, header, *([ContentBody(body)] if body else [])]
    underlay: Any = await channel.get_underlay_channel()
    underlay.delivery_tag += 1
    confirmed: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    underlay.confirmations[underlay.delivery_tag] = confirmed
    await underlay.write_queue.put(ChannelFrame.marshall(channel_number=underlay.number, frames=frames))
    return confirmed


def _has_committed(records: bytes, queue: bytes) -> bool:
    """Whether a file of mnesia has a queue, and not just what an undecided transaction would write of it."""
    at = records.rfind(queue)
    transaction, presumed = records.rfind(b"tid", 0, at), records.rfind(b"d\0\x0dpresume_abort", 0, at)
    return at >= 0 and (presumed < 0 or records[transaction:presumed] + b"d\0\x09committed" in records[at:])


class Rabbit:
    """The server and its epmd, both children of ours: an epmd that the server starts itself would stay behind."""

    def __init__(self, folder: Path, config: Path | None = None) -> None:
        """``config``: its rabbitmq.conf."""
        self._folder = folder
        self._config = config or folder / "none"
        self._ports = [free_port() for _ in range(3)]
        self._server: asyncio.subprocess.Process | None = None
        self._epmd: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self._ports[0]}/"

    @property
    def is_running(self) -> bool:
        return self._server is not None and self._server.returncode is None

    def _environ(self) -> dict[str, str]:
        port, distribution, epmd = map(str, self._ports)
        plugins = self._folder / "enabled_plugins"
        plugins.write_text("[].")
        return {
            "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "HOME": str(self._folder), "LANG": "C.UTF-8",
            "ERL_EPMD_ADDRESS": "127.0.0.1", "ERL_EPMD_PORT": epmd,
            "RABBITMQ_NODENAME": f"recado{port}@localhost", "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": port, "RABBITMQ_DIST_PORT": distribution,
            "RABBITMQ_MNESIA_BASE": str(self._folder / "data"), "RABBITMQ_LOG_BASE": str(self._folder / "log"),
            "RABBITMQ_PID_FILE": str(self._folder / "pid"), "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
            "RABBITMQ_CONF_ENV_FILE": os.devnull, "RABBITMQ_CONFIG_FILE": str(self._config),
        }  # fmt: skip

    async def start(self) -> None:
        """Returns once it accepts connections."""
        environ = self._environ()
        if self._epmd is None:
            self._epmd = await asyncio.create_subprocess_exec(needs("epmd"), "-relaxed_command_check", env=environ)
        output = self._folder / "output"
        with output.open("wb") as file:  # no pipe: a helper of the server's may outlive it for a while and hold its end
            self._server = await asyncio.create_subprocess_exec(
                program(), env=environ, cwd=self._folder, start_new_session=True, stdin=asyncio.subprocess.DEVNULL,
                stdout=file, stderr=file,
            )  # fmt: skip
        async with asyncio.timeout(START_TIME):
            while b"completed with" not in (said := output.read_bytes()):
                assert self.is_running, said.decode()
                await asyncio.sleep(0.05)

    def _signal(self, number: int) -> None:
        """To the server's whole group: its script waits for the virtual machine."""
        assert self._server is not None
        with suppress(ProcessLookupError):
            os.killpg(self._server.pid, number)

    async def kill(self) -> None:
        """As a power cut would."""
        assert self._server is not None
        self._signal(signal.SIGKILL)
        await self._server.wait()

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    async def restart(self) -> None:
        await self.kill()
        await self.start()

    async def keeps(self, queue: str) -> None:
        """Wait until a queue is on disk: a young one may not survive a kill, confirms or not."""
        await until(lambda: any(_has_committed(path.read_bytes(), queue.encode()) for path in self._records()))

    def _records(self) -> list[Path]:
        """The files in which the server writes down what queues there are."""
        return [path for end in ("LOG", "DCD", "DCL") for path in self._folder.glob(f"data/*/*.{end}")]

    async def stop(self) -> None:
        if self.is_running:
            await self.kill()
        if self._epmd is not None:
            self._epmd.kill()
            await self._epmd.wait()

    @asynccontextmanager
    async def channel(self) -> AsyncIterator[AbstractChannel]:
        """As some other program would have one."""
        connection = await aio_pika.connect(self.url, timeout=TIME)
        try:
            yield await connection.channel()
        finally:
            with suppress(*TROUBLE):  # it waits for no frozen or dead server
                async with asyncio.timeout(CLOSE_TIME):
                    await connection.close()

    async def put(self, queue: str, *bodies: bytes, message_ids: list[str] | None = None, **more: object) -> None:
        """Publish as a legacy producer does: the queue is declared, durable, with no arguments."""
        ids: list[str | None] = [*message_ids] if message_ids else [None] * len(bodies)
        async with self.channel() as channel, asyncio.timeout(TIME):
            await channel.declare_queue(queue, durable=True)
            confirmed = []
            for body, message_id in zip(bodies, ids, strict=True):
                message = aio_pika.Message(body, message_id=message_id, delivery_mode=2, **more)  # type: ignore[arg-type]
                header = ContentHeader(properties=message.properties, body_size=len(body))
                confirmed.append(await _publish(channel, queue, body, header))
            await asyncio.gather(*confirmed)

    async def put_raw(self, queue: str, body: bytes, properties: bytes) -> None:
        """With properties that no library would write, see `RawHeader`."""
        async with self.channel() as channel, asyncio.timeout(TIME):
            await channel.declare_queue(queue, durable=True)
            await (await _publish(channel, queue, body, RawHeader(properties, len(body))))

    async def take(self, queue: str, count: int) -> list[AbstractIncomingMessage]:
        """The next messages of a queue, acknowledged, as soon as they are there."""
        got: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        async with self.channel() as channel, asyncio.timeout(TIME):
            declared = await channel.declare_queue(queue, durable=True, passive=True)
            await channel.set_qos(prefetch_count=count)
            await declared.consume(got.put)
            taken = [await got.get() for _ in range(count)]
            for message in taken:
                await message.ack()
            return taken

    async def look(self, queue: str) -> list[bytes]:
        """All bodies of a queue, in order; they stay in it."""
        async with self.channel() as channel:
            declared = await channel.declare_queue(queue, passive=True)
            count = declared.declaration_result.message_count or 0
            return [(await declared.get()).body for _ in range(count)]  # given back when the channel ends

    async def waiting(self, queue: str) -> int:
        """How many messages of a queue are with no consumer. Raises where there is no such queue."""
        async with self.channel() as channel:
            declared = await channel.declare_queue(queue, passive=True)
            return declared.declaration_result.message_count or 0
