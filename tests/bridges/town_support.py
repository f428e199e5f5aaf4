"""A node whose lanes are at work, platforms that all sit in one room, and what each was told there."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from push_support import LOOPBACK, SHORT, Receiver

from bridges.webhooks.client import Patience, PlatformHttpClient
from bridges.webhooks.platforms import PlatformLanes
from messaging.bridge.schedule import Schedule
from messaging.integrator.events import Platform, Style
from messaging.integrator.incoming import IncomingMessage
from messaging.node import Node
from messaging.settings.settings import Settings
from support.lanes import QUICK, working
from support.tasks import at_work
from support.waiting import until

STOPPING = str(Path(__file__).with_name("stopping_platform.py"))


@dataclass
class Town:
    """A node, its lanes at work, and a platform that speaks: all others are in its room."""

    node: Node
    speaker: Platform
    running: asyncio.Task[None]

    async def add(self, name: str, url: str | None, style: Style = "webhook", **more: Any) -> Platform:
        registered = await self.node.registry.register(name, style, url, **more)
        return registered.platform

    async def settle(self, *names: str) -> None:
        """Everybody in one room, which is told before the first message."""
        users = [{"speaker": [1]}, *({name: [1]} for name in names)]
        await self.node.integrator.take_room(self.speaker, 1, "all", "public", users)

    async def say(self, *texts: str) -> None:
        for text in texts:
            await self.node.integrator.take_message(
                self.speaker, IncomingMessage(room_platform=None, room=1, sender=1, text=text)
            )

    async def state(self, name: str, good: Callable[[Any], bool]) -> Any:
        """The report of a platform's bridge, once it is as it should be."""
        return (await until(lambda: self.node.bridge_store.reports(name), lambda found: good(found[0])))[0]


@contextlib.asynccontextmanager
async def town(
    dsn: str, schedule: Schedule = QUICK, patience: Patience = SHORT, nets: Any = LOOPBACK
) -> AsyncIterator[Town]:
    async with working(dsn) as node:
        speaker = (await node.registry.register("speaker", "pull", None)).platform
        lanes = PlatformLanes(
            node, Settings(), schedule=schedule, client=lambda: PlatformHttpClient(nets, patience), look_every=0.02
        )
        async with at_work(lanes.run()) as running:
            yield Town(node, speaker, running)


def texts(receiver: Receiver) -> list[str]:
    """What was said in the room, in the order in which it was pushed; repetitions are dropped, as by any receiver."""
    found: dict[str, str] = {}
    for request in receiver.pushed:
        said = request.said
        data = said.get("data", said)
        if "text" in data:
            found.setdefault(request.id, data["text"])
    return list(found.values())


async def heard(receiver: Receiver, count: int) -> list[str]:
    async with asyncio.timeout(15):
        while len(texts(receiver)) < count:
            await receiver.has(len(receiver.pushed) + 1)
    return texts(receiver)


class Process:
    """A platform that can be stopped, killed and started anew on its port."""

    def __init__(self) -> None:
        self.port = 0
        self.got: dict[str, str] = {}
        self.repeated = 0
        self._more = asyncio.Event()

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, STOPPING, str(self.port), stdout=asyncio.subprocess.PIPE
        )
        assert self._process.stdout is not None
        self.port = int(await self._process.stdout.readline())
        self._reading = asyncio.ensure_future(self._read(self._process.stdout))

    async def _read(self, lines: asyncio.StreamReader) -> None:
        while line := await lines.readline():
            push = json.loads(line)
            self.repeated += push["id"] in self.got
            self.got.setdefault(push["id"], push["body"])
            self._more.set()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    async def kill(self) -> None:
        self._process.kill()
        await self._process.wait()
        await self._reading

    async def texts(self, count: int) -> list[str]:
        async with asyncio.timeout(30):
            while len(found := self._said()) < count:
                self._more.clear()
                await self._more.wait()
        return found

    def _said(self) -> list[str]:
        bodies = map(json.loads, self.got.values())
        return [body["data"]["text"] for body in bodies if body["type"] == "message.created"]


@contextlib.asynccontextmanager
async def process() -> AsyncIterator[Process]:
    made = Process()
    await made.start()
    try:
        yield made
    finally:
        await made.kill()
