"""What the terminal's tests share: a line that can be cut, states that can be waited for, commands as processes.

A plugin for modules that name it in `pytest_plugins`; imported before that, hence PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar
from unittest.mock import patch

import pytest

from recado.client import Client, Message, State
from recado.terminal.commands import make_parser, outcome
from support.places import data_dir, free_port

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]


class States:
    """Hears of a client's states, and waits for one."""

    def __init__(self) -> None:
        self.seen: list[State] = []
        self._changed = asyncio.Event()

    def __call__(self, state: State) -> None:
        self.seen.append(state)
        self._changed.set()

    async def until(self, name: str, count: int = 1) -> State:
        """Wait until a state of this name was there ``count`` times. The last one."""
        async with asyncio.timeout(15):
            while len(found := [state for state in self.seen if state.name == name]) < count:
                self._changed.clear()
                await self._changed.wait()
        return found[-1]


async def soon(awaitable: Awaitable[T]) -> T:
    """What it gives, within 15 s."""
    async with asyncio.timeout(15):
        return await awaitable


async def take(client: Client, count: int) -> list[Message]:
    """The next messages."""
    async with asyncio.timeout(15):
        return [await anext(client) for _ in range(count)]


# --- processes -------------------------------------------------------------------------------------


def environment(**more: str) -> dict[str, str]:
    """This process's, without what would turn a command elsewhere."""
    ours = ("RECADO_", "JWT_", "DATABASE_URL", "DATA_DIR", "WS_", "API_", "BUS_URL", "NO_COLOR", "PUBLIC_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | more


class Server:
    """`python -m recado` on a directory and ports of its own; it can be killed and started again."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.ports = {"WS_PORT": str(free_port()), "API_PORT": str(free_port())}
        self.environ = environment(DATA_DIR=str(data_dir), **self.ports)
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        process = self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "recado", cwd=ROOT, env=self.environ, start_new_session=True,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        assert process.stdout is not None
        async with asyncio.timeout(30):
            while (line := await process.stdout.readline()) != b"ready\n":
                assert line, "the server did not start"

    async def stop(self, number: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            await self._process.communicate()
            self._process = None

    async def run(self, *arguments: str, **environ: str) -> tuple[int, str, str]:
        """A subcommand to its end, in this process: its exit code, what it printed, what it said on stderr."""
        out, error = io.StringIO(), io.StringIO()
        with (
            patch.dict(os.environ, self.environ | environ, clear=True),
            contextlib.redirect_stdout(out), contextlib.redirect_stderr(error),
        ):  # fmt: skip
            code = await soon(outcome(make_parser().parse_args(arguments)))
        return code, out.getvalue(), error.getvalue()

    async def open(self, *arguments: str, **environ: str) -> asyncio.subprocess.Process:
        """A subcommand as a process."""
        return await command("-m", "recado", *arguments, environ=self.environ | environ)


async def command(*arguments: str, environ: dict[str, str]) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=ROOT, env=environ, stdin=pipe, stdout=pipe, stderr=pipe
    )


@asynccontextmanager
async def serving(**environ: str) -> AsyncIterator[Server]:
    with data_dir() as data:
        server = Server(data)
        server.environ |= environ
        try:
            await server.start()
            yield server
        finally:
            await server.stop()


@pytest.fixture(scope="session")
async def server() -> AsyncIterator[Server]:
    """One server for all commands; a test that stops it starts it again."""
    async with serving() as server:
        yield server
