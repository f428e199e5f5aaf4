"""A NATS server of the test's own, with its files in a folder; killed, frozen and started again at will."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import StreamConfig
from nats.js.errors import NotFoundError

from bridges.config import NatsOut
from bridges.nats.outlet import ASK_AGAIN, NatsOutlet
from conftest import needs
from support.places import free_port

TIME = 30  # seconds


class Nats:
    """The server; with JetStream where it has a folder."""

    def __init__(self, *options: str, folder: Path | None = None) -> None:
        self._folder = folder
        self._options = options
        self.port = free_port()
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Returns once it answers."""
        jetstream = () if self._folder is None else ("-js", "-sd", str(self._folder))
        self._process = await asyncio.create_subprocess_exec(
            needs("nats-server"), "-a", "127.0.0.1", "-p", str(self.port), *jetstream, *self._options,
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        await asyncio.wait_for(self._answers(), TIME)

    async def _answers(self) -> None:
        """Beware of this port's connection to itself, which a dead server's port may give: it never says INFO."""
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                info = await asyncio.wait_for(reader.read(4), 1)
                writer.close()
                if info == b"INFO":
                    return
            except (OSError, TimeoutError):
                pass
            await asyncio.sleep(0.02)

    async def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            await self._process.wait()
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """A client as anyone has it, which comes back by itself."""
        client = await nats.connect(self.url, reconnect_time_wait=0.05, max_reconnect_attempts=-1, error_cb=_noted)
        try:
            yield client
        finally:
            await client.close()

    async def make_stream(self, name: str, *subjects: str) -> None:
        async with self.client() as client:
            await client.jetstream().add_stream(StreamConfig(name=name, subjects=list(subjects)))

    async def stored(self, stream: str, subject: str, count: int) -> list[Msg]:
        """All that a stream holds of a subject, in order, once there are so many."""
        async with self.client() as client:
            while True:
                context = client.jetstream()
                try:
                    info = await context.stream_info(stream, subjects_filter=subject)
                    have = sum((info.state.subjects or {}).values())
                except (NotFoundError, TimeoutError):
                    have = 0
                if have >= count:
                    subscription = await context.subscribe(subject, stream=stream, ordered_consumer=True)
                    return [await subscription.next_msg(TIME) for _ in range(have)]
                await asyncio.sleep(0.05)


async def _noted(exc: Exception) -> None:
    logging.getLogger(__name__).debug("nats: %s", exc)


@asynccontextmanager
async def nats_server(*options: str, folder: Path | None = None) -> AsyncIterator[Nats]:
    server = Nats(*options, folder=folder)
    await server.start()
    try:
        yield server
    finally:
        await server.kill()


def outlet_to(url: str, *, ask_again: float = ASK_AGAIN, **values: str) -> NatsOutlet:
    """An outlet that no bridge in is beside."""

    async def origin() -> str:
        return "here"

    bridge = NatsOut(**{"name": "out", "topics": "*", "url": url, **values})  # type: ignore[arg-type]
    return NatsOutlet(bridge, [url], origin, lambda subject: False, lambda: None, ask_again)
