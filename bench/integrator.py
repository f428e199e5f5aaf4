"""The integrator: how many messages it accepts, and how fast a lane delivers them. Each beside its yardstick.

`python -m bench.integrator` is the other end of a lane: a server that answers 204 to whatever is posted to it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from statistics import median
from typing import Any

import aiohttp
import uvloop

from bench import rig
from bench.measures import SIZE, Numbers, RawInserts, Say, merged
from bridges.lane import Lane
from bridges.webhooks.client import PlatformHttpClient
from bridges.webhooks.outlet import WebhookOutlet
from messaging.bus.contract import LocalBus
from messaging.integrator.events import Platform
from messaging.node import Node, running_node
from messaging.settings.settings import Settings

SENDERS = 16  # connections that post at the same time
SECONDS = 2.0
PASSES = 3
NEWS = 500  # that wait before a lane
LOOPBACK = ipaddress.ip_network("127.0.0.0/8")
TEXT = "x" * SIZE


async def measure(db: rig.Database, say: Say) -> Numbers:
    """Medians over the passes; yardstick and measurement take turns within each."""
    inserts = RawInserts(db)
    await inserts.open()
    async with recado(db.dsn) as api, aiohttp.ClientSession(api, connector=aiohttp.TCPConnector(limit=0)) as http:
        post = await speaker(http)
        accepted = []
        for number in range(1, PASSES + 1):
            say(f"integrator: POST /message, pass {number} of {PASSES}")
            raw = await inserts.rate(0.5)
            accepted.append(await posts(post) | {"raw_inserts_per_s": raw})
    async with receiver() as url:
        delivered = await deliveries(db.dsn, url, say)
    return {"accepted": merged(accepted), "delivered": merged(delivered)}


def lines(found: Numbers) -> list[str]:
    """For the table."""
    accepted, delivered = found["accepted"], found["delivered"]
    return [
        f"POST /message from {SENDERS} connections, to two platforms and a topic: {accepted['per_s']:,.0f}/s,"
        f" p50 {accepted['p50_ms']:.1f} ms ({accepted['raw_inserts_per_s']:,.0f} single INSERTs/s in the same run)",
        f"A lane, signed pushes one after the other, no pace: {delivered['per_s']:,.0f}/s"
        f" ({delivered['raw_posts_per_s']:,.0f}/s for the same POSTs without a log and a signature)",
    ]


# --- accepting -------------------------------------------------------------------------------------


@asynccontextmanager
async def recado(dsn: str, **more: str) -> AsyncIterator[str]:
    """All of Recado as a process, against this database, with more settings. The address of its API."""
    ports = {"WS_PORT": "0", "API_PORT": "0", **more}
    none = {"RATE_LIMIT": "0", "RATE_BYTES": "0"}
    given = {"DATABASE_URL": dsn, "JWT_SECRET": rig.SECRET, "AUTH_MODE": "open", **none, **ports}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "recado", env={**os.environ, **given}, cwd=rig.HERE.parent,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        text = ""
        while not text.endswith("\nready\n"):
            line = await process.stdout.readline()
            if not line:
                raise rig.Unable(f"Recado did not start (exit code {await process.wait()}).")
            text += line.decode()
        found = re.search(r"API +(http://\S+?)/docs", text)
        assert found is not None
        yield found[1]
    finally:
        process.terminate()
        await process.communicate()


async def speaker(http: aiohttp.ClientSession) -> Callable[[], Awaitable[None]]:
    """What posts one message into a room of three platforms that ask for their news."""
    tokens = []
    for name in ("one", "two", "three"):
        async with http.post("/platforms", json={"name": name}) as answer:
            tokens.append((await answer.json())["token"])
    users = [{"one": [1]}, {"two": [2]}, {"three": [3]}]
    room = {"id": "r", "name": "R", "type": "public", "users": users, "token": tokens[0]}
    async with http.post("/room", json=room) as answer:
        answer.raise_for_status()

    async def post() -> None:
        said = {"roomId": "r", "senderId": 1, "text": TEXT, "token": tokens[0]}
        async with http.post("/message", json=said) as answer:
            answer.raise_for_status()

    return post


async def posts(post: Callable[[], Awaitable[None]]) -> Numbers:
    """So many senders, each with one message under way, for a while."""
    times: list[float] = []
    end = time.perf_counter() + SECONDS

    async def send() -> None:
        while (start := time.perf_counter()) < end:
            await post()
            times.append(time.perf_counter() - start)

    await asyncio.gather(*(send() for _ in range(SENDERS)))
    return {"per_s": len(times) / SECONDS, "p50_ms": median(times) * 1000}


# --- delivering ------------------------------------------------------------------------------------


async def deliveries(dsn: str, url: str, say: Say) -> list[Numbers]:
    async with running_node(Settings(jwt_secret=rig.SECRET), dsn, LocalBus(), keeps_house=False) as node:
        told = (await node.registry.register("told", "webhook", url)).platform
        teller = (await node.registry.register("teller", "pull", None)).platform
        found = []
        for number in range(1, PASSES + 1):
            say(f"integrator: a lane, pass {number} of {PASSES}")
            raw = await raw_posts(told, url)
            for user in range(NEWS):
                await node.integrator.take_user(teller, user, f"{TEXT} {number}")
            found.append({"per_s": await catch_up(node, told), "raw_posts_per_s": raw})
        return found


async def catch_up(node: Node, platform: Platform) -> float:
    """What waits before a lane, by the seconds until its cursor is behind it."""
    outlet = WebhookOutlet(platform.id, node.platforms, PlatformHttpClient((LOOPBACK,)))
    lane = asyncio.create_task(Lane(platform.id, outlet, node).run())
    start = time.perf_counter()
    try:
        while (await node.bridge_store.reports(platform.bridge))[0].lag:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        return NEWS / (time.perf_counter() - start)
    finally:
        lane.cancel()
        await asyncio.wait([lane])
        await outlet.close()


async def raw_posts(platform: Platform, url: str) -> float:
    """The yardstick: the same client posts as much, one after the other, and that is all."""
    client = PlatformHttpClient((LOOPBACK,))
    start = time.perf_counter()
    for _ in range(NEWS):
        await client.ask(platform, "POST", url, 1000, body=TEXT.encode())
    await client.close()
    return NEWS / (time.perf_counter() - start)


@asynccontextmanager
async def receiver() -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.integrator", stdout=asyncio.subprocess.PIPE, cwd=rig.HERE.parent
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(await process.stdout.readline())}/"
    finally:
        process.terminate()
        await process.communicate()


class Receiving(asyncio.Protocol):
    """Answers each request; bodies are small, and come with their head or right behind it."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._data = b""

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, end, body = self._data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if end and len(body) >= int(length[1] if length else 0):
            self._data = b""
            self._transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")


async def receive() -> None:
    server = await asyncio.get_running_loop().create_server(Receiving, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(receive())
