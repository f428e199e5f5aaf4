"""Attacks by who may connect: bursts, requests that are dear to read, a worker that stands still."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

from hostile.bystander import Bystander
from hostile.measuring import Row, every
from hostile.rig import Server
from support.raw_ws import PING, PONG, TEXT, RawClient, close, frame, raw_client, text

DIGITS = 12_000
COLLIDING = 8_000
PRIME = 2**61 - 1  # Python's hash of an integer is its remainder by this
NO_MESSAGES = 2**20  # bytes in one piece
LARGE = 60_000  # bytes
SESSIONS = 48
SILENT = 12  # seconds after which a stopped worker must have been replaced
CONNECTS = 20
CONNECT_TIME = 2.0

EVENT = {
    "session_id": "8f14e45f-ceea-467f-a8e0-9a1b2c3d4e5f", "shop_id": "3c6e0b8a-9c15-424a-8d1e-1f2a3b4c5d6e",
    "shopper_id": "0cc175b9-c0f1-46b6-831c-399e26977266", "action_id": 1, "create_time": "2023-12-18T10:30:00Z",
    "action": "add", "product_name": "Caffè", "product_id": 2, "product_price": "1" * DIGITS + "x", "UPC": "012",
    "category_id": "c", "basket_total": 12.5,
}  # fmt: skip


@asynccontextmanager
async def one_command(row: Row, **environ: Any) -> AsyncIterator[tuple[Server, Bystander]]:
    """`python -m recado` on a database of its own, and a bystander of it."""
    await row.rig.database()
    server = await row.rig.start("recado", **environ)
    async with row.bystander(server) as bystander:
        yield server, bystander


async def bursts(row: Row) -> None:
    """Requests and a close frame in one piece, and gone: 20 times a second, as several users."""
    async with one_command(row) as (server, bystander):
        for number in range(8):
            await row.rig.node.actions.know(f"u{number}")

        async def burst(number: int) -> None:
            user = f"u{number % 8}"
            wishes = (
                [text(action="topics")] * 64
                if number % 2
                else [text(action="message", topic_name=f"@{user}", content=n) for n in range(300)]
            )
            with suppress(OSError, asyncio.IncompleteReadError, AssertionError):
                async with raw_client(server.url, f"/{row.rig.token(user)}") as client:
                    await client.greeted()
                    client.write(*wishes, close())
                    client.writer.close()
                    await client.writer.wait_closed()

        await row.measure(lambda: every(0.05, burst), bystander)


async def digits(row: Row) -> None:
    """One after the other, with any user's token."""
    async with one_command(row) as (server, bystander):
        url = f"{server.api}/publish/{EVENT['shop_id']}"
        token = await _of_mallory(row)
        await row.measure(lambda: _one_after_the_other("POST", url, token, EVENT), bystander)


async def colliding_numbers(row: Row) -> None:
    async with one_command(row) as (server, bystander):
        token = await _of_mallory(row)
        numbers = [{"topic_name": "plaza", "content": 1 + n * PRIME} for n in range(COLLIDING)]
        body = {"user": "mallory", "messages": numbers}
        await row.measure(lambda: _one_after_the_other("PUT", f"{server.api}/api/v1/messages", token, body), bystander)


async def _of_mallory(row: Row) -> str:
    await row.rig.node.actions.know("mallory")
    return row.rig.token("mallory")


async def _one_after_the_other(method: str, url: str, token: str, body: Any) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers) as http:
        while True:
            with suppress(aiohttp.ClientError):
                async with http.request(method, url, json=body) as answer:
                    await answer.read()
            await asyncio.sleep(0.25)


async def no_messages(row: Row) -> None:
    """Pings, pongs and empty fragments, as much as is taken, by three sessions that come back when they are closed."""
    async with one_command(row) as (server, bystander):
        token = await _of_mallory(row)
        floods = (frame(PING), frame(PONG), bytes([TEXT, 0x80, 0, 0, 0, 0]) + bytes([0, 0x80, 0, 0, 0, 0]) * 1000)

        async def attack() -> None:
            async with asyncio.TaskGroup() as tasks:
                for flood in floods:
                    tasks.create_task(_flood(server, token, flood * (NO_MESSAGES // len(flood))))

        await row.measure(attack, bystander)


async def large_messages(row: Row) -> None:
    """As many as are taken, of many sessions of one user, to somebody who is not there."""
    async with one_command(row) as (server, bystander):
        token = await _of_mallory(row)
        await row.rig.node.actions.know("ana")
        flood = text(action="message", topic_name="@ana", content="y" * LARGE)

        async def attack() -> None:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(SESSIONS):
                    tasks.create_task(_flood(server, token, flood))

        await row.measure(attack, bystander)


async def _flood(server: Server, token: str, flood: bytes) -> None:
    """Send it again and again, and read without looking; when closed, come back. At the end, vanish."""
    while True:
        with suppress(OSError, asyncio.IncompleteReadError, AssertionError):
            async with raw_client(server.url, f"/{token}") as client, asyncio.TaskGroup() as tasks:
                await client.greeted()
                reading = tasks.create_task(_read_away(client))
                try:
                    while not reading.done():
                        client.write(flood)
                        await client.writer.drain()
                finally:
                    client.reset()  # else what the kernel holds is sent on, and read no faster than it may be
        await asyncio.sleep(0.1)


async def _read_away(client: RawClient) -> None:
    while await client.reader.read(2**16):
        pass


async def stopped_worker(row: Row) -> None:
    """The one to which the bystander is not connected. Who connects must not meet it for long."""
    await row.rig.database()
    server = await row.rig.start("ws_server", WORKERS="2")
    url, path = server.url, f"/{row.rig.token('ana')}"
    in_vain = 0

    async with row.bystander(server) as bystander:
        await row.rig.node.actions.know("ana")
        workers = [pid for pid in server.pids()[1:] if b"workers.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        [busy] = _holders(workers, int(server.url.rpartition(":")[2]), bystander.local_port)
        [stopped] = [pid for pid in workers if pid != busy]

        # So many at once let pools grow: what the attack leaves behind is counted from there.
        row.found.check(not await _in_vain(url, path), "all connect before it")

        async def stop() -> None:
            nonlocal in_vain
            said = len(server.log)
            os.kill(stopped, signal.SIGSTOP)
            try:
                await asyncio.sleep(SILENT)
                in_vain = await _in_vain(url, path)
                row.found.check(len(server.log) > said, "something is said of it")
                row.found.check(_is_gone(stopped), "it was ended")
            finally:
                with suppress(ProcessLookupError):
                    os.kill(stopped, signal.SIGCONT)

        await row.measure(stop, bystander, least=SILENT + CONNECT_TIME + 1)
        row.found.check(not in_vain, f"{in_vain} of {CONNECTS} connects in vain after {SILENT} s")


async def _in_vain(url: str, path: str) -> int:
    """How many of so many connects at once were not greeted in time."""

    async def greeted() -> bool:
        try:
            async with asyncio.timeout(CONNECT_TIME), raw_client(url, path) as client:
                await client.greeted()
                return True
        except (OSError, asyncio.IncompleteReadError, AssertionError, TimeoutError):
            return False

    return (await asyncio.gather(*(greeted() for _ in range(CONNECTS)))).count(False)


def _is_gone(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def _holders(pids: list[int], port: int, peer: int) -> list[int]:
    """Which of these processes have the connection from ``peer`` to ``port``."""
    ends = f":{port:04X}", f":{peer:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {f"socket:[{line[9]}]" for line in lines if line[1].endswith(ends[0]) and line[2].endswith(ends[1])}
    return [pid for pid in pids if any(str(fd.readlink()) in inodes for fd in Path(f"/proc/{pid}/fd").iterdir())]
