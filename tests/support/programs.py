"""Recado and wscat as a person starts them: programs, talked to through their terminals."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from conftest import ROOT, needs
from support import made_cluster
from support.places import data_dir, free_port

START_TIME = 60  # seconds; a first start makes the database
TIME = 20


class Program:
    """A child process whose output is read line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.seen: list[str] = []

    @classmethod
    async def start(cls, *command: str, **environ: str) -> Program:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env={**os.environ, **environ}, start_new_session=True, limit=1 << 20,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        return cls(process)

    async def line(self, pattern: str, timeout: float = TIME) -> re.Match[str]:
        """The next line in which ``pattern`` is found."""
        assert self.process.stdout is not None
        try:
            async with asyncio.timeout(timeout):
                while raw := await self.process.stdout.readline():
                    text = raw.decode(errors="replace").rstrip()
                    self.seen.append(text)
                    if match := re.search(pattern, text):
                        return match
        except TimeoutError:
            pass
        raise AssertionError(f"no line with {pattern!r} in:\n" + "\n".join(self.seen[-40:]))

    async def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end. The exit code."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(TIME):
            code = await self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()
        transport = self.process._transport  # type: ignore[attr-defined]
        transport.close()
        await asyncio.sleep(0)
        return code


class Recado(Program):
    """`python -m recado` on free ports, in a folder of its own."""

    data: Path
    environ: dict[str, str]

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.environ['API_PORT']}"

    def url_of(self, user: str) -> str:
        """The address of a user's session, in open mode."""
        with urllib.request.urlopen(f"{self.api}/api/v1/gen_token?user={user}", timeout=TIME) as answer:
            token = json.load(answer)["token"]
        return f"ws://127.0.0.1:{self.environ['WS_PORT']}/{token}"

    async def ready(self) -> None:
        await self.line("^ready$", START_TIME)

    async def again(self) -> Recado:
        """Another one in the place of one that has ended."""
        other = await Recado.start(sys.executable, "-m", "recado", **self.environ)
        assert isinstance(other, Recado)
        other.data, other.environ = self.data, self.environ
        await other.ready()
        return other


@asynccontextmanager
async def recado(**environ: str) -> AsyncIterator[Recado]:
    """A running Recado, whose database has been made already; ended at the end, if the test has not done it."""
    with data_dir() as data:
        await made_cluster.copy_to(data)
        ports = {"WS_PORT": str(free_port()), "API_PORT": str(free_port())}
        given = {"DATA_DIR": str(data), **ports, **environ}
        program = await Recado.start(sys.executable, "-m", "recado", **given)
        assert isinstance(program, Recado)
        program.data, program.environ = data, given
        try:
            await program.ready()
            yield program
        finally:
            await program.end()


def kill_everything(server: Recado) -> None:
    """kill -9 of the process and of every process that it started."""
    pids = [server.process.pid]
    for pid in pids:
        with suppress(FileNotFoundError):
            pids += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def post(url: str, body: Mapping[str, object]) -> int:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return int(answer.status)


class Wscat(Program):
    """The real wscat from npm. Its standard input stays open, else it prints nothing; what it reads before it is
    connected it drops, so the greeting is waited for."""

    greeting: dict[str, Any]

    async def frame(self, **wanted: Any) -> dict[str, Any]:
        """The next frame that has these fields."""
        while True:
            match = await self.line(r"(\{.*\})")
            frame: dict[str, Any] = json.loads(match[1])
            if wanted.items() <= frame.items():
                return frame

    async def say(self, **frame: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(frame).encode() + b"\n")
        await self.process.stdin.drain()


@asynccontextmanager
async def wscat(url: str) -> AsyncIterator[Wscat]:
    program = await Wscat.start(needs("wscat"), "-c", url)
    assert isinstance(program, Wscat)
    try:
        program.greeting = await program.frame(action="connected")
        yield program
    finally:
        await program.end(signal.SIGKILL)
