"""SIGTERM ends every program in time, whatever its clients and its database do."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from peer import CLOSE, UPGRADE, Peers, stays

from messaging.auth.tokens import Tokens
from messaging.settings.settings import Settings
from support.log import connected, waits_for_lock
from support.raw_ws import text
from support.ws import SECRET
from ws_server.workers.supervisor import Workers

ROOT = Path(__file__).resolve().parents[2]
STOP_SECONDS = 3
LIMIT = 20  # seconds that a test waits: far less than anything that hangs, far more than a busy machine needs


@asynccontextmanager
async def program(*command: str, **environ: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program, ready."""
    settings = {"JWT_SECRET": SECRET, "WS_PORT": "0", "API_PORT": "0", "STOP_SECONDS": str(STOP_SECONDS)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *command, cwd=ROOT, env={"PATH": os.environ["PATH"], **settings, **environ},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            while (line := await process.stdout.readline()) != b"ready\n":
                assert line, (await process.stderr.read()).decode()  # type: ignore[union-attr]
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def stopped(process: asyncio.subprocess.Process) -> str:
    """Ask it to stop; what it said, once it has ended."""
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(LIMIT):
        _, errors = await process.communicate()
    return errors.decode()


def ports(pid: int) -> list[int]:
    """Where a process listens, in the order of its descriptors."""
    mine = {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in mine]


# --- peers that hold on ----------------------------------------------------------------------------

REQUEST = "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{more}\r\n"


async def connects(peers: Peers, path: str, token: str) -> None:
    await peers.connect()


async def half_a_handshake(peers: Peers, path: str, token: str) -> None:
    await (await peers.connect()).say(UPGRADE[:40].encode())


async def is_open(peers: Peers, path: str, token: str) -> None:
    await peers.websocket(token)


async def bursts_and_closes(peers: Peers, path: str, token: str) -> None:
    peer = await peers.websocket(token)
    await peer.say(64 * text(action="topics") + CLOSE)
    await stays(peer)


async def bursts_of_publishes(peers: Peers, path: str, token: str) -> None:
    peer = await peers.websocket(token)
    await peer.say(300 * text(action="message", topic_name="@diego", content=1) + CLOSE)
    await peer.ended()
    peer.sock.close()


async def takes_no_replies(peers: Peers, path: str, token: str) -> None:
    peer = await peers.websocket(token, small=True)
    await peer.say(text(action="message", topic_name="@diego", content="y" * 60_000, id="1"))
    await peer.hear(b'"id":"1"')
    await peer.say(60 * text(action="history", topic_name="@diego"))


PeerKind = Callable[[Peers, str, str], Awaitable[None]]
WS_PEERS: list[PeerKind] = [
    connects,
    half_a_handshake,
    is_open,
    bursts_and_closes,
    bursts_of_publishes,
    takes_no_replies,
]


async def half_a_request(peers: Peers, path: str, token: str) -> None:
    await (await peers.connect()).say(b"GET /healthz HTTP/1.1\r\nHost:")


async def half_a_body(peers: Peers, path: str, token: str) -> None:
    more = "Content-Type: application/json\r\nContent-Length: 100\r\n"
    await (await peers.connect()).say(REQUEST.format(method="PUT", path="/api/v1/topics/noticias", more=more).encode())


async def kept_alive(peers: Peers, path: str, token: str) -> None:
    peer = await peers.connect()
    await peer.say(REQUEST.format(method="GET", path="/healthz", more="").encode())
    await peer.hear(b"200 OK")


async def takes_no_answers(peers: Peers, path: str, token: str) -> None:
    peer = await peers.connect(small=True)
    await peer.say(200 * REQUEST.format(method="GET", path="/openapi.json", more="").encode())
    await peer.hear(b"200 OK")


async def streams(peers: Peers, path: str, token: str) -> None:
    peer = await peers.connect(small=True)
    more = f"Authorization: Bearer {token}\r\n"
    await peer.say(REQUEST.format(method="GET", path="/api/v1/topics/@diego/stream?after=0", more=more).encode())
    await peer.hear(b"event-stream")


HTTP_PEERS: list[PeerKind] = [connects, half_a_request, half_a_body, kept_alive, takes_no_answers, streams]
PROGRAMS = {"ws_server": WS_PEERS, "api": HTTP_PEERS}


async def token(database: str) -> str:
    async with connected(database) as db:
        await db.fetchval("SELECT 1")
    return Tokens(SECRET, ()).issue("diego")[0]


@pytest.mark.parametrize("name", PROGRAMS)
async def test_a_stop_ends_though_peers_hold_on(database: str, name: str) -> None:
    """All of them at once; nothing was in flight, so it ends with 0."""
    diego = await token(database)
    async with program(name, DATABASE_URL=database, AUTH_MODE="open") as process:
        peers = Peers(ports(process.pid)[0])
        try:
            for hold in PROGRAMS[name]:
                await hold(peers, "", diego)
            errors = await stopped(process)
        finally:
            for peer in peers.all:
                peer.sock.close()
    assert process.returncode == 0, errors
    assert "STOP_SECONDS" not in errors


async def test_a_stop_ends_though_the_database_holds_what_was_sent(database: str) -> None:
    """Its sender has no answer: that is said, and the exit code is 1."""
    diego = await token(database)
    async with program("ws_server", DATABASE_URL=database) as process, connected(database) as db:
        peers = Peers(ports(process.pid)[0])
        peer = await peers.websocket(diego)
        async with db.transaction():
            await db.execute("LOCK TABLE recado.messages")
            await peer.say(text(action="message", topic_name="@diego", content=1))
            await waits_for_lock(database, "")
            errors = await stopped(process)
        peer.sock.close()
    assert process.returncode == 1
    assert "its senders have had no answer" in errors or "without an answer" in errors


# --- workers that come while their door goes -------------------------------------------------------


@asynccontextmanager
async def one_killed(
    database: str, monkeypatch: pytest.MonkeyPatch, held: asyncio.Event
) -> AsyncIterator[tuple[Workers, asyncio.Task[None]]]:
    """Two workers of which one was killed; the process of another is there, and is told of once ``held`` is set."""
    given = {"DATABASE_URL": database, "JWT_SECRET": SECRET, "PYTHONPATH": str(ROOT)}
    workers = Workers(Settings(ws_port=0, workers=2, stop_seconds=STOP_SECONDS), given)
    start, processes, third = asyncio.create_subprocess_exec, [], asyncio.Event()

    async def starts(*command: Any, **options: Any) -> asyncio.subprocess.Process:
        process = await start(*command, **options)
        processes.append(process)
        if len(processes) == 3:
            third.set()
            await held.wait()
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", starts)
    running = asyncio.create_task(workers.run())
    try:
        async with asyncio.timeout(60):
            await workers.listening()
            processes[0].kill()
            await third.wait()
        yield workers, running
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_a_worker_that_comes_while_the_door_drains_ends_with_it(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = asyncio.Event()
    async with one_killed(database, monkeypatch, held) as (workers, running), asyncio.timeout(LIMIT):
        drained = asyncio.create_task(workers.drain())
        await asyncio.sleep(0)  # it has asked those that it knows
        held.set()
        assert await drained
        await running


async def test_a_worker_that_was_still_loaded_leaves_nobody_without_an_answer(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = asyncio.Event()
    held.set()
    async with one_killed(database, monkeypatch, held) as (workers, running), asyncio.timeout(LIMIT):
        await asyncio.sleep(0)  # it is known
        assert await workers.drain()
        await running


# --- the limit itself ------------------------------------------------------------------------------

STUBBORN = """
import asyncio, os
from messaging.runtime.process import run_process
from messaging.settings.settings import Settings

async def work(settings, stop):
    stop.ready()
    stop.settle({settled})
    {then}

async def never_ends():
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass

run_process("stubborn", work, Settings.from_environ)
"""
JSON_LOG = """
import asyncio, logging
from messaging.runtime.process import run_process
from messaging.settings.settings import Settings

async def work(settings, stop):
    stop.ready()
    await stop.wait()
    try:
        raise ValueError("one\\ntwo")
    except ValueError:
        logging.getLogger("a").exception("…%s", "\\u2028")

run_process("talkative", work, Settings.from_environ)
"""
STANDSTILLS = {
    "a task that swallows its cancellation": ("await never_ends()", "work > never_ends > sleep"),
    "a task that is left behind": ("asyncio.ensure_future(never_ends()); await asyncio.sleep(0)", "never_ends > sleep"),
    "a loop that stands": ("while True: pass", "run."),
    "a loop that stood before": (None, "run."),
}


async def test_a_log_in_json_is_one_object_a_line(tmp_path: Path) -> None:
    (tmp_path / "talkative.py").write_text(JSON_LOG)
    async with program("talkative", PYTHONPATH=f"{tmp_path}:{ROOT}", LOG_FORMAT="json") as process:
        [line] = (await stopped(process)).splitlines()
    said = json.loads(line)
    assert ("ERROR", "a", "…\u2028") == (said["level"], said["logger"], said["message"])
    assert said["exception"].endswith("ValueError: one\ntwo") and datetime.fromisoformat(said["time"]).tzinfo


@pytest.mark.parametrize("settled", [True, False])
@pytest.mark.parametrize(("then", "said"), STANDSTILLS.values(), ids=STANDSTILLS)
async def test_the_limit_of_a_stop_holds_and_says_what_was_under_way(
    tmp_path: Path, then: str | None, said: str, settled: bool
) -> None:
    script = tmp_path / "stubborn.py"
    work = f"await stop.wait()\n    {then}" if then else "while True: pass"
    script.write_text(STUBBORN.format(settled=settled, then=work))
    async with program("stubborn", PYTHONPATH=f"{tmp_path}:{ROOT}", STOP_SECONDS="1") as process:
        errors = await stopped(process)
    assert process.returncode == (0 if settled else 1)
    line = errors.splitlines()[-1]
    assert "STOP_SECONDS" in line and said in line
