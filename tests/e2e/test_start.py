"""A start is bounded, says what is wrong in one line, and ends at once when asked to. Each program in its process."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
import websockets

from conftest import ROOT
from messaging.auth.tokens import Tokens
from support.log import connected, run, waits_for_lock
from support.places import data_dir, free_port
from support.waiting import until

SECRET = "s" * 32
SERVICES = [("api", "1"), ("bridges", "1"), ("ws_server", "1"), ("ws_server", "2")]
TIME = 60  # seconds that a test waits at most


class Started:
    """A program whose two streams are kept apart."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.errors = b""

    async def says(self, text: str) -> None:
        """Wait until this stands in its log."""
        assert self.process.stderr is not None
        async with asyncio.timeout(TIME):
            while text.encode() not in self.errors:
                line = await self.process.stderr.readline()
                assert line, f"it ended without saying {text!r}: {self.errors.decode()}"
                self.errors += line

    async def ready(self) -> str:
        """All that it printed until it was ready."""
        assert self.process.stdout is not None
        async with asyncio.timeout(TIME):
            return (await self.process.stdout.readuntil(b"ready\n")).decode()

    async def end(self, number: signal.Signals | None = None) -> int:
        """Its exit code; what it logged until then is in ``errors``."""
        if number is not None:
            self.process.send_signal(number)
        async with asyncio.timeout(TIME):
            _, errors = await self.process.communicate()
        self.errors += errors
        assert self.process.returncode is not None
        return self.process.returncode


@asynccontextmanager
async def started(program: str, *arguments: str, under: tuple[str, ...] = (), **environ: str) -> AsyncIterator[Started]:
    """``under``: a command that becomes the program's."""
    given = {} if program == "recado" else {"JWT_SECRET": SECRET}
    process = await asyncio.create_subprocess_exec(
        *under, sys.executable, "-m", program, *arguments, cwd=ROOT,
        env={"PATH": os.environ["PATH"], "WS_PORT": "0", "API_PORT": "0", **given, **environ},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    found = Started(process)
    try:
        yield found
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


def one_line(errors: bytes) -> str:
    """What a failed start says: no traceback, and one line beside the log's."""
    lines = [line for line in errors.decode().splitlines() if " WARNING " not in line and " INFO " not in line]
    assert len(lines) == 1, errors.decode()
    return lines[0]


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder for sockets, whose paths have at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="r") as name:
        yield Path(name)


def elsewhere(database: str, sockets: Path) -> str:
    """The same database behind another directory of sockets, where none is yet."""
    before = parse_qs(urlsplit(database).query)["host"][0]
    sockets.parent.mkdir(exist_ok=True)
    return database.replace(before.replace("/", "%2F"), str(sockets).replace("/", "%2F"))


@pytest.mark.parametrize(("program", "workers"), [*SERVICES, ("recado", "1")])
async def test_a_database_that_is_away_is_waited_for_and_sigterm_ends_the_wait(
    database: str, short_path: Path, program: str, workers: str
) -> None:
    """And where it comes back in time, the start goes on."""
    there = Path(parse_qs(urlsplit(database).query)["host"][0])
    later = elsewhere(database, short_path / "run")
    async with started(program, DATABASE_URL=later, WORKERS=workers) as node:
        await node.says("the start waits, and tries again: PostgreSQL can't be reached")
        assert await node.end(signal.SIGTERM) == 0
        assert b"Traceback" not in node.errors
    async with started(program, DATABASE_URL=later, WORKERS=workers) as node:
        await node.says("the start waits, and tries again")
        (short_path / "run").symlink_to(there)
        assert (await node.ready()).endswith("ready\n")
        assert await node.end(signal.SIGTERM) == 0


@pytest.mark.faults
async def test_a_database_that_stays_away_ends_the_start_with_one_line(database: str, short_path: Path) -> None:
    async with started("api", DATABASE_URL=elsewhere(database, short_path / "run")) as node:
        assert await node.end() == 1
        assert one_line(node.errors).startswith("api: DATABASE_URL: the start waited for 30 s in vain.")
        assert SECRET.encode() not in node.errors


async def test_a_lock_that_somebody_holds_is_waited_for_and_sigterm_ends_the_wait(database: str) -> None:
    await run(database, "UPDATE recado.migrations SET checksum = '0' WHERE name = 'version'")
    async with connected(database) as other, other.transaction():
        await other.execute("LOCK TABLE recado.migrations IN SHARE ROW EXCLUSIVE MODE")
        async with started("api", DATABASE_URL=database) as node:
            await waits_for_lock(database, "LOCK TABLE recado.migrations")
            assert await node.end(signal.SIGTERM) == 0
            assert b"Traceback" not in node.errors


async def test_sigterm_while_the_database_is_being_made_ends_the_start_and_the_next_one_goes_on() -> None:
    with data_dir() as data:
        async with started("recado", DATA_DIR=str(data)) as node:
            assert node.process.stdout is not None
            await node.process.stdout.readline()
            assert await node.end(signal.SIGTERM) == 0
            assert b"Traceback" not in node.errors
        async with started("recado", DATA_DIR=str(data)) as node:
            await node.ready()
            assert await node.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("program", ["api", "bridges", "ws_server", "recado"])
async def test_sigint_while_a_program_is_loaded_leaves_no_traceback(program: str) -> None:
    async with started(program, DATABASE_URL="postgresql://localhost/none") as node:
        maps = Path(f"/proc/{node.process.pid}/maps")

        async def loading() -> bool:  # its libraries come, and ours follow
            return "_asyncio" in maps.read_text() or "uvloop" in maps.read_text()

        await until(loading)
        assert await node.end(signal.SIGINT) in (-signal.SIGINT, 0)
        assert node.errors == b""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize(("program", "workers"), SERVICES)
async def test_every_signal_to_stop_drains_and_more_of_them_change_nothing(
    database: str, program: str, workers: str, number: signal.Signals
) -> None:
    """However late they come: the end is a clean one."""
    async with started(program, DATABASE_URL=database, WORKERS=workers) as node:
        await node.ready()
        while node.process.returncode is None:
            with suppress(ProcessLookupError):
                node.process.send_signal(number)
            await asyncio.sleep(0.001)
        assert await node.end() == 0
        assert b"Traceback" not in node.errors


async def test_a_stop_drains_though_nobody_reads_any_more_what_is_printed(tmp_path: Path) -> None:
    """As where a terminal is closed, or where Ctrl-C ends the `tee` behind a pipe first."""
    with data_dir() as data:
        fifo = tmp_path / "printed"
        os.mkfifo(fifo)
        to_fifo = ("sh", "-c", f'exec "$@" > {fifo}', "sh")
        port = free_port()
        async with started("recado", under=to_fifo, DATA_DIR=str(data), WS_PORT=str(port)) as node:
            with await asyncio.to_thread(fifo.open) as printed:
                text = await asyncio.to_thread(lambda: "".join(iter(printed.readline, "ready\n")))
            assert "noticias" in text and "wscat -c" not in text, "a journal keeps no tokens"
            secret = (data / "secret").read_text().strip()
            async with websockets.connect(f"ws://127.0.0.1:{port}/{Tokens(secret).issue('omar')[0]}") as client:
                await client.recv()
                assert await node.end(signal.SIGHUP) == 0
                await client.wait_closed()
            assert client.close_code == 4012  # shown out, not cut off
            assert b"Traceback" not in node.errors and b"rror" not in node.errors


async def test_tokens_are_printed_for_a_person_at_a_terminal() -> None:
    leader, follower = os.openpty()
    with data_dir() as data:
        to_terminal = ("sh", "-c", f'exec "$@" > {os.ttyname(follower)}', "sh")
        async with started("recado", under=to_terminal, DATA_DIR=str(data)) as node:
            text = b""
            while b"ready" not in text:
                text += await asyncio.to_thread(os.read, leader, 65536)
            line = re.search(r"wscat -c (\S+) +# omar", text.decode())
            assert line is not None
            async with websockets.connect(line[1]) as omar:
                assert '"omar"' in await omar.recv(decode=True)
            assert await node.end(signal.SIGTERM) == 0
    os.close(leader)
    os.close(follower)


async def test_sighup_stays_ignored_where_it_was(database: str) -> None:
    """As nohup leaves it."""
    port = free_port()
    nohup = ("sh", "-c", 'trap "" HUP; exec "$@"', "sh")
    async with started("api", under=nohup, DATABASE_URL=database, API_PORT=str(port)) as node:
        await node.ready()
        node.process.send_signal(signal.SIGHUP)
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/readyz") as response:
            assert response.status == 200
        assert await node.end(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("program", "workers", "setting"), [("api", "1", "API"), ("ws_server", "1", "WS"), ("ws_server", "2", "WS")]
)
async def test_a_port_or_host_that_is_not_to_be_had_is_told_by_its_setting(
    database: str, program: str, workers: str, setting: str
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        given: dict[str, Any] = {"DATABASE_URL": database, "WORKERS": workers, f"{setting}_PORT": port}
        async with started(program, **given) as node:
            assert await node.end() == 1
            assert one_line(node.errors).startswith(f"{program}: {setting}_PORT: another program has port {port} ")
    for host in ("nowhere.invalid", "192.0.2.1", "a..b"):
        given = {"DATABASE_URL": database, "WORKERS": workers, "API_KEY": "k" * 32, f"{setting}_HOST": host}
        async with started(program, **given) as node:
            assert await node.end() == 1
            begin = f"{program}: {setting}_HOST, {setting}_PORT: can't listen on port 0 of"
            assert one_line(node.errors).startswith(begin)


@pytest.mark.parametrize("encoding", ["iso-8859-1", "ascii"])
async def test_where_the_output_takes_no_utf_8_it_is_plain_text(encoding: str) -> None:
    with data_dir() as data:
        given: dict[str, Any] = {
            "DATA_DIR": str(data),
            "PYTHONIOENCODING": encoding,
            "PGSSLMODE": "verify-full",
            "PGHOST": "nowhere",
        }
        async with started("recado", **given) as node:
            assert f"Starting PostgreSQL in {data} ...\n" in await node.ready()
            assert await node.end(signal.SIGTERM) == 0
        async with started("recado", "doctor", **given) as doctor:
            assert doctor.process.stdout is not None
            assert "       -> " in (await doctor.process.stdout.read()).decode("ascii")
            assert await doctor.end() == 1


@pytest.mark.faults
async def test_a_worker_that_stands_is_killed_and_the_door_is_not_ready_until_another_serves() -> None:
    with data_dir() as data:
        port = free_port()
        async with (
            started("recado", DATA_DIR=str(data), WORKERS="2", API_PORT=str(port)) as node,
            aiohttp.ClientSession() as http,
        ):
            await node.ready()

            async def readiness() -> int:
                async with http.get(f"http://127.0.0.1:{port}/readyz") as response:
                    return response.status

            children = Path(f"/proc/{node.process.pid}/task/{node.process.pid}/children").read_text().split()
            workers = [pid for pid in children if b"workers.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]
            assert len(workers) == 2 and await readiness() == 200
            os.kill(int(workers[0]), signal.SIGSTOP)

            async def turned(status: int) -> bool:
                return await readiness() == status

            try:
                await until(lambda: turned(503))
                await node.says(f"worker {workers[0]} has given no sign of life for 10 s: killing it")
                await until(lambda: turned(200))
                assert await node.end(signal.SIGTERM) == 0
            finally:
                with suppress(ProcessLookupError):
                    os.kill(int(workers[0]), signal.SIGKILL)
