"""EzOut's way to NATS: how fast a lane hands over, and that a till does not feel whether NATS is there.

It needs nats-py and nats-server (`make test` installs both); without them this part is left out.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import aiohttp

from bench import rig
from bench.integrator import recado
from bench.measures import SIZE, Numbers, Say, merged

Context = AbstractAsyncContextManager[None]

PASSES = 5
POSTS = 200
MESSAGES = 2000
SHOP = "3c6e0b8a-9c15-424a-8d1e-1f2a3b4c5d6e"
EVENT = {
    "session_id": SHOP, "shop_id": SHOP, "shopper_id": SHOP, "action_id": 1, "create_time": "2023-12-18T10:30:00Z",
    "action": "add", "product_name": "coffee", "product_id": 7, "product_price": 3.5, "UPC": "036000291452",
    "category_id": "drinks", "basket_total": 12.25,
}  # fmt: skip
CONTENT = '"' + "x" * SIZE + '"'


def found() -> str | None:
    """The path of nats-server, if all is there."""
    server = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")
    return server if find_spec("nats") else None


async def measure(db: rig.Database, say: Say) -> Numbers | None:
    """Medians over the passes; what is compared takes turns. None where something is missing."""
    program = found()
    if program is None:
        say("NATS: nats-server or nats-py is missing, so this is left out")
        return None
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="recado-bench-nats-") as folder:

        @asynccontextmanager
        async def server() -> AsyncIterator[None]:
            async with nats_server(program, port, folder):
                yield

        async with server():
            lanes = {kind: await handing_over(db, port, kind, say) for kind in ("core", "stream")}
        return {**lanes, "posting": await posting(db, port, server, say)}


def lines(numbers: Numbers | None) -> list[str]:
    """For the table."""
    if numbers is None:
        return []
    core, stream, posting_ = numbers["core"], numbers["stream"], numbers["posting"]
    return [
        f"A lane to NATS, each confirmed before the next: {core['per_s']:,.0f}/s to core NATS"
        f" ({core['raw_per_s']:,.0f}/s for the client alone, with a flush each), {stream['per_s']:,.0f}/s to a stream"
        f" ({stream['raw_per_s']:,.0f}/s for the client alone)",
        f"POST /publish, one after the other: p50 {posting_['up_ms']:.2f} ms with NATS there,"
        f" {posting_['down_ms']:.2f} ms with NATS down; ratio {posting_['ratio']:.2f}, the median of {PASSES} pairs",
    ]


# --- a till ----------------------------------------------------------------------------------------


async def posting(db: rig.Database, port: int, server: Callable[[], Context], say: Say) -> Numbers:
    async with recado(db.dsn, NATS_URL=f"nats://127.0.0.1:{port}") as api, aiohttp.ClientSession(api) as http:
        await post_some(http)  # warm
        pairs = []
        for number in range(1, PASSES + 1):
            say(f"POST /publish with NATS and without, pass {number} of {PASSES}")
            async with server():
                up = await post_some(http)
            down = await post_some(http)
            pairs.append({"up_ms": up, "down_ms": down, "ratio": down / up})
        return merged(pairs)


async def post_some(http: aiohttp.ClientSession) -> float:
    """The median of their times, in ms."""
    times = []
    for _ in range(POSTS):
        start = time.perf_counter()
        async with http.post(f"/publish/{SHOP}", json=EVENT) as answer:
            answer.raise_for_status()
        times.append(time.perf_counter() - start)
    return median(times) * 1000


# --- a lane ----------------------------------------------------------------------------------------


async def handing_over(db: rig.Database, port: int, kind: str, say: Say) -> Numbers:
    """A lane that has much before it, beside the client that publishes as much."""
    from bench.lanes import hand

    async with hand(db.dsn, f"nats://127.0.0.1:{port}", kind) as bridge:
        passes = []
        for number in range(1, 4):
            say(f"a lane to NATS ({kind}), pass {number} of 3")
            raw = await rate(bridge.publish_alone)
            await bridge.fill(MESSAGES, CONTENT)
            passes.append({"per_s": await rate(bridge.catch_up), "raw_per_s": raw})
        return merged(passes)


async def rate(work: Callable[[int, str], Awaitable[None]]) -> float:
    start = time.perf_counter()
    await work(MESSAGES, CONTENT)
    return MESSAGES / (time.perf_counter() - start)


# --- the server ------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


@asynccontextmanager
async def nats_server(program: str, port: int, folder: str) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        program, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", folder, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await asyncio.wait_for(answers(port), 10)
        yield
    finally:
        process.kill()
        await process.wait()


async def answers(port: int) -> None:
    while True:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            info = await reader.read(4)
            writer.close()
            if info == b"INFO":
                return
        await asyncio.sleep(0.02)
