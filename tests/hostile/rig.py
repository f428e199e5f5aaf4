"""What every attack needs: a database, Recado's processes, users; and their end, whatever happens."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import asyncpg

from conftest import ROOT
from hostile.namespaces import Network, Place, PlacedPostgres, missing, network
from messaging.auth.tokens import Tokens
from messaging.bus.contract import LocalBus
from messaging.errors import Conflict
from messaging.node import Node
from messaging.permissions import BACKEND
from messaging.settings.settings import Settings
from standalone.postgres import EmbeddedPostgres
from support.places import folder, free_port
from support.waiting import until

SECRET = "a-secret-that-is-only-for-these-attacks-32+"
START_SECONDS = 60.0
STOP_SECONDS = 30.0  # that a process may take to its end


class Unable(Exception):
    """The row can't run here; the text says why."""


class Server:
    """A process of Recado, and those that it starts."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path, address: str, environ: dict[str, str]) -> None:
        self.process = process
        self.pid = process.pid
        self.url = f"ws://{address}:{environ['WS_PORT']}"
        self.api = f"http://{address}:{environ['API_PORT']}"
        self._log = log
        self._asked = False

    def says(self, pattern: str, count: int = 1) -> bool:
        """Whether so many lines of its output have this."""
        return len(re.findall(pattern, self._log.read_text(errors="replace"), re.MULTILINE)) >= count

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def has_ended(self) -> bool:
        return self.process.returncode is not None

    def pids(self) -> list[int]:
        """This process and all below it."""
        found = [self.pid]
        for pid in found:
            with suppress(OSError):
                found += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return found

    def memory(self) -> float:
        """MiB."""
        lines = [line for pid in self.pids() for line in _lines(f"/proc/{pid}/status") if line.startswith("VmRSS")]
        return sum(int(line.split()[1]) for line in lines) / 1024

    def descriptors(self) -> int:
        count = 0
        for pid in self.pids():
            with suppress(OSError):
                count += len(list(Path(f"/proc/{pid}/fd").iterdir()))
        return count

    def terminate(self) -> None:
        """SIGTERM, once."""
        if not self._asked and not self.has_ended:
            self.process.terminate()
        self._asked = True

    async def end(self, seconds: float = STOP_SECONDS) -> bool:
        """SIGTERM; killed if it has not ended in time. Whether it has ended by itself."""
        pids = self.pids()
        self.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.process.wait()
                return True
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await self.process.wait()
        return False


class Rig:
    """The surroundings of one row. With a network, the database and processes may be at places of their own."""

    def __init__(self, stack: AsyncExitStack, folder: Path) -> None:
        self.stack = stack
        self.folder = folder
        self.servers: list[Server] = []
        self.tokens = Tokens(SECRET)
        self.network: Network | None = None
        self.dsn = ""
        self.near = ""  # the database's address by its socket, which no silence reaches
        self.sql: asyncpg.Pool

    async def database(self, *, placed: bool = False) -> None:
        """Start PostgreSQL, at a place of its own if ``placed``: whoever measures stands at the router then."""
        data = self.folder / "data"
        if not placed:
            postgres = EmbeddedPostgres(data)
            self.stack.push_async_callback(postgres.stop)
            near = self.dsn = await postgres.start()
        else:
            if why := missing():
                raise Unable(why)
            self.network = self.stack.enter_context(network())
            self.stack.enter_context(self.network.inside())
            postgres = PlacedPostgres(data, self.network.place())
            self.stack.push_async_callback(postgres.stop)
            near = await postgres.start()
            self.dsn = postgres.dsn
        self.node = Node(Settings(jwt_secret=SECRET, auth_mode="open"), near, LocalBus())
        self.stack.push_async_callback(self.node.close)
        await self.node.open()
        self.near = near
        self.sql = await self.stack.enter_async_context(asyncpg.create_pool(near, min_size=1, max_size=4))

    async def topic(self, name: str, *members: str) -> None:
        """A public topic with these members, made if need be."""
        users = [await self.node.actions.know(member) for member in members]
        with suppress(Conflict):
            await self.node.actions.create_topic(BACKEND, name, users[0], "public")
        for member in members:
            await self.node.actions.invite(BACKEND, name, member)

    def token(self, user: str) -> str:
        return self.tokens.issue(user)[0]

    async def start(
        self, module: str, place: Place | None = None, *, ready: bool = True, descriptors: int = 0, **more: str
    ) -> Server:
        """Start `python -m MODULE`, and wait until it is ready. ``descriptors``: that it may have, where it is few."""
        address = "127.0.0.1" if place is None else place.address
        environ = {
            "DATABASE_URL": self.dsn, "JWT_SECRET": SECRET, "WS_HOST": address, "WS_PORT": str(free_port()),
            "API_PORT": str(free_port()), "AUTH_MODE": "key", "API_KEY": SECRET, **more,
        }  # fmt: skip
        log = self.folder / f"log{len(self.servers)}"
        command: tuple[str, ...] = (sys.executable, "-m", module)
        if descriptors:
            command = ("prlimit", f"--nofile={descriptors}", *command)
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *(command if place is None else place.command(*command)), cwd=ROOT, env={**os.environ, **environ},
                start_new_session=True, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        server = Server(process, log, address, environ)
        self.servers.append(server)
        self.stack.push_async_callback(server.end, 1.0)
        if ready:
            await until(lambda: server.has_ended or server.says("^ready$"), within=START_SECONDS)
            if server.has_ended:
                raise Unable(f"{module} ended at its start:\n{server.log[-2000:]}")
        return server

    async def stored(self, topic: str) -> int:
        """How many messages a topic has."""
        query = "SELECT count(*) FROM recado.messages JOIN recado.topics ON id = topic_id WHERE name = $1"
        return int(await self.sql.fetchval(query, topic))

    async def has(self, topic: str, count: int) -> None:
        """Wait until a topic has so many messages."""
        await until(lambda: self.stored(topic), lambda stored: stored >= count)

    def file(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)


@asynccontextmanager
async def rig() -> AsyncIterator[Rig]:
    with folder() as made:
        async with AsyncExitStack() as stack:
            yield Rig(stack, made)


def _lines(path: str) -> list[str]:
    with suppress(OSError):
        return Path(path).read_text().splitlines()
    return []
