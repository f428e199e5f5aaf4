"""What works until it is cancelled ends whenever that comes: at once, some turns later, in the midst of its work."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from held import held, nothing_left

from bridges.choose import make_bridging
from messaging.bus.choose import make_bus
from messaging.node import Node
from messaging.permissions import BACKEND
from messaging.settings.settings import Settings
from support.lanes import publish
from support.nats_server import Nats, nats_server

TURNS = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144)  # of the loop, before it is cancelled
AT_RANDOM = 12  # more, some way into the work
LATEST = 10_000
WITHIN = 20.0  # seconds that it may take to end

Run = Callable[[], Coroutine[Any, Any, None]]
BRIDGES = """
[[nats.out]]
name = "out"
topics = "noticias"
subject = "out.{topic}"

[[nats.in]]
name = "in"
subject = "in.*"
topic = "noticias"
"""


@asynccontextmanager
async def node_with(dsn: str, bus: str) -> AsyncIterator[Node]:
    node = Node(Settings(), dsn, make_bus(bus, dsn))
    await node.open()
    try:
        yield node
    finally:
        await node.close()


async def goes_whenever(run: Run, node: Node) -> None:
    chosen = random.Random(10)
    await run_for(run, LATEST)
    for turns in (*TURNS, *(chosen.randrange(LATEST) for _ in range(AT_RANDOM))):
        async with AsyncExitStack() as stack:  # lines to the database are kept, but for those that the last one closed
            for _ in range(8):
                await stack.enter_async_context(node.store.pool.connection())
        async with nothing_left(lambda: held(node.metrics.registry)):
            await run_for(run, turns)


async def run_for(run: Run, turns: int) -> None:
    task = asyncio.create_task(run())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task], timeout=WITHIN)
    assert task.done(), f"cancelled after {turns} turns, it went on"
    if not task.cancelled() and (failure := task.exception()):
        raise failure


async def test_a_node_ends_whenever_it_is_cancelled(database: str) -> None:
    """With its lines to the database and the bus over it."""
    async with node_with(database, "postgres:") as node:
        owner = await node.actions.know("omar")
        await node.actions.create_topic(BACKEND, "noticias", owner, "public")
        await goes_whenever(lambda: node.run(keeps_house=True), node)


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[Nats]:
    async with nats_server(folder=tmp_path / "jetstream") as server:
        yield server


async def test_a_bus_over_nats_ends_whenever_it_is_cancelled(database: str, nats: Nats) -> None:
    async with node_with(database, nats.url) as node:
        await goes_whenever(node.bus.run, node)


async def test_bridges_end_whenever_they_are_cancelled(database: str, nats: Nats, tmp_path: Path) -> None:
    """Lane and inlet, while messages come and go."""
    (tmp_path / "bridges.toml").write_text(BRIDGES)
    settings = replace(Settings(), nats_url=nats.url, bridges_file=tmp_path / "bridges.toml")
    async with node_with(database, "local:") as node:
        working = asyncio.create_task(node.run(keeps_house=False))
        owner = await node.actions.know("omar")
        await node.actions.create_topic(BACKEND, "noticias", owner, "public")
        await publish(node, "noticias", *map(str, range(200)))
        await goes_whenever(lambda: make_bridging(settings, node).run(), node)
        working.cancel()
        await asyncio.wait([working])
