"""Fake platforms as processes, the operator's file that names them, and what each was told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from support.places import free_port
from support.programs import Program, Recado

HERE = Path(__file__).parent
TIME = 30.0  # seconds that what must come has

Json = dict[str, Any]


@dataclass(frozen=True)
class Told:
    """One request that a platform got. ``taken``: whether it did something with it; ``again``: its id is known."""

    path: str
    body: Any
    text: str
    taken: bool
    again: bool
    headers: dict[str, str]


@dataclass
class Fake:
    """A fake platform's process; it may be stopped, killed and started again, and keeps what it was told."""

    kind: str
    name: str
    token: str
    users: list[Any]
    folder: Path
    port: int = field(default_factory=free_port)
    told: list[Told] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def listed(self) -> Json:
        """This platform in the operator's file, in the words of the first integrator."""
        endpoint = f"http://127.0.0.1:{self.port}/api/"
        if self.kind == "hook":
            return {"name": self.name, "endpoint": endpoint + "hook", "style": "webhook", "token": self.token}
        audio = {"supportAudio": "False", "supportImage": "True"}
        return {"id": self.port, "name": self.name, "endpoint": endpoint, **audio, "token": self.token}

    async def start(self) -> None:
        users = [json.dumps(user) for user in self.users]
        program = str(HERE / "fake_platform.py")
        command = (sys.executable, program, self.kind, self.name, str(self.port), str(self.folder))
        self._program = await Program.start(*command, *users)
        await self._program.line("^ready$")
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        stream = self._program.process.stdout
        assert stream is not None
        while line := await stream.readline():
            self.told.append(Told(**json.loads(line)))
            self._news.set()

    async def end(self) -> None:
        """Kill it; what it had printed is read to the end."""
        if self._program.process.returncode is None:
            self._program.process.kill()
        await self._reading
        await self._program.end(signal.SIGKILL)

    def signal(self, number: int) -> None:
        self._program.process.send_signal(number)

    def of(self, path: str) -> list[Any]:
        """The bodies that came to one path, in order."""
        return [told.body for told in self.told if told.path == path]

    def texts(self) -> list[str]:
        return [body["text"] for body in self.of("message")]

    async def until(self, wanted: Callable[[], bool], timeout: float = TIME) -> None:
        """Wait until what it was told is such."""
        async with asyncio.timeout(timeout):
            while not wanted():
                self._news.clear()
                await self._news.wait()

    async def heard(self, beyond: int, timeout: float = TIME) -> None:
        """Wait until it was told more than so many things."""
        await self.until(lambda: len(self.told) > beyond, timeout)

    async def message(self, text: str, timeout: float = TIME) -> Json:
        """The message of this text, once it has come."""
        await self.until(lambda: text in self.texts(), timeout)
        return next(body for body in self.of("message") if body["text"] == text)

    # What its users do

    async def say(self, server: Recado, path: str, **body: Any) -> str:
        """Tell Recado something, as this platform. What it answers."""
        async with aiohttp.ClientSession() as http:
            return await said(http, f"{server.api}/{path}", {**body, "token": self.token})


async def said(http: aiohttp.ClientSession, url: str, body: Json) -> str:
    async with http.post(url, json=body) as response:
        text = await response.text()
        assert response.status == 200, f"{url}: {response.status} {text}"
        return text


@asynccontextmanager
async def fakes(folder: Path, *more: Fake) -> AsyncIterator[tuple[dict[str, Fake], Path]]:
    """The three that the first integrator came with, and more; and a PLATFORMS_FILE with them."""
    three = (
        Fake("gwt", "GWT_CHAT", "1111", ["bob", "eve"], folder),
        Fake("net", "net core", "2222", ["7", "8"], folder),
        Fake("buas", "BuasApp", "3333", [1, 2], folder),
        *more,
    )
    file = folder / "platforms.json"
    file.write_text(json.dumps([fake.listed for fake in three]))
    async with contextlib.AsyncExitStack() as stack:
        for fake in three:
            await fake.start()
            stack.push_async_callback(fake.end)
        yield {fake.name: fake for fake in three}, file


async def get(server: Recado, path: str, **headers: str) -> Any:
    async with aiohttp.ClientSession() as http, http.get(server.api + path, headers=headers) as response:
        assert response.status == 200, await response.text()
        return await response.json()
