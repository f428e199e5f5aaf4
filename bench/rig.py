"""The processes of the benchmark: the database, the server, the load in C; where they run and what they use."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from messaging.auth.tokens import Tokens
from messaging.store.migrations import migrate
from recado.client import Client, State
from standalone.postgres import EmbeddedPostgres

HERE = Path(__file__).resolve().parent
SECRET = "a-secret-that-is-only-for-the-benchmark"


class Unable(Exception):
    """The benchmark can't run here; the text says why."""


def compile_load(folder: Path) -> Path:
    """The load, compiled. Raises Unable."""
    compiler = next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)
    if compiler is None:
        raise Unable("The benchmark's load is written in C, and there is no C compiler (cc, gcc, clang) here.")
    if sys.platform != "linux":
        raise Unable("The benchmark's load uses epoll, which only Linux has.")
    program = folder / "load"
    subprocess.run([compiler, "-O2", "-o", str(program), str(HERE / "load.c")], check=True)
    return program


def allow_files() -> None:
    """Each connection is a file at both ends."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def pin(pid: int, place: int) -> None:
    """Server and load each on a core of its own (0 and -1); the database goes where there is room."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(pid, {cores[place]})


def memory(pid: int) -> int:
    """What a process holds in memory, in KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def cpu_seconds(pids: Sequence[int]) -> float:
    """What these processes have used, those of them that still live."""
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def flush_time(folder: Path, count: int = 200) -> float:
    """Milliseconds that one flush to the disk below ``folder`` takes: what every commit pays."""
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        file.write(b"x" * 8192)
        start = asyncio.get_running_loop().time()
        for _ in range(count):
            file.seek(0)
            file.write(b"y" * 8192)
            os.fdatasync(file.fileno())
        return (asyncio.get_running_loop().time() - start) / count * 1000


class Database:
    """A PostgreSQL of the benchmark's own, and a connection to it."""

    def __init__(self, dsn: str, connection: asyncpg.Connection) -> None:
        self.dsn = dsn
        self.sql = connection

    async def users(self, prefix: str, count: int) -> list[str]:
        """Make ``count`` users known."""
        names = [f"{prefix}{number}" for number in range(count)]
        await self.sql.execute("SELECT recado.know($1)", names)
        return names

    async def topic(self, name: str, members: Sequence[str]) -> None:
        topic = await self.sql.fetchval("SELECT recado.create_topic($1, 'public', 'bench', NULL, NULL, NULL)", name)
        await self.sql.execute(
            "SELECT recado.join_topic($1, id, 'member', NULL) FROM recado.users WHERE name = ANY ($2)", topic, members
        )

    async def processes(self) -> list[int]:
        return [row[0] for row in await self.sql.fetch("SELECT pid FROM pg_stat_activity WHERE pid IS NOT NULL")]


@asynccontextmanager
async def database(folder: Path) -> AsyncIterator[Database]:
    folder.chmod(0o711)  # as root, PostgreSQL runs as another user, who must get there
    postgres = EmbeddedPostgres(folder / "data")
    dsn = await postgres.start()
    try:
        await migrate(dsn)
        connection = await asyncpg.connect(dsn)
        yield Database(dsn, connection)
        await connection.close()
    finally:
        await postgres.stop()


class Server:
    """A process that was started, and its port."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.pid = process.pid
        self.port = port


@asynccontextmanager
async def server(dsn: str) -> AsyncIterator[Server]:
    """The server that is measured, on the first core."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.server", dsn, SECRET, stdout=asyncio.subprocess.PIPE, cwd=HERE.parent
    )
    try:
        pin(process.pid, 0)
        yield Server(process, int(await _line(process)))
    finally:
        await _end(process)


@asynccontextmanager
async def raw_server(program: Path, clients: int, size: int) -> AsyncIterator[Server]:
    """The yardstick: a send(2) loop in C, on the first core as well."""
    process = await asyncio.create_subprocess_exec(
        program, "raw", str(clients), str(size), stdout=asyncio.subprocess.PIPE
    )
    try:
        pin(process.pid, 0)
        yield Server(process, int(await _line(process)))
    finally:
        await _end(process)


class Load:
    """Clients, all connected."""

    def __init__(self, process: asyncio.subprocess.Process, took: float) -> None:
        self._process = process
        self.took = took  # seconds for all handshakes

    async def do(self, *command: object) -> list[float]:
        """Send a command; the numbers that it answers (see load.c)."""
        assert self._process.stdin is not None
        self._process.stdin.write((" ".join(map(str, command)) + "\n").encode())
        return [float(number) for number in (await _line(self._process)).split()]


@asynccontextmanager
async def load(program: Path, port: int, users: Sequence[str]) -> AsyncIterator[Load]:
    """One client for each of ``users``, on the last core."""
    tokens = Tokens(SECRET)
    process = await asyncio.create_subprocess_exec(
        program, str(port), str(len(users)), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        pin(process.pid, -1)
        assert process.stdin is not None
        process.stdin.write("".join(tokens.issue(user)[0] + "\n" for user in users).encode())
        yield Load(process, float((await _line(process)).split()[1]))
    finally:
        await _end(process)


@asynccontextmanager
async def member(port: int, user: str) -> AsyncIterator[Client]:
    """One member in this process, connected."""
    connected = asyncio.Event()

    def hear(state: State) -> None:
        if state.name == "connected":
            connected.set()

    async with Client(f"ws://127.0.0.1:{port}", Tokens(SECRET).issue(user)[0], on_state=hear) as client:
        await connected.wait()
        yield client


async def _line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        raise Unable(f"A process of the benchmark ended by itself (exit code {await process.wait()}).")
    return line.decode()


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    await process.wait()
