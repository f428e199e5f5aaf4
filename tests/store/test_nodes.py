"""Which processes are alive: who has renewed its row, by the database's clock."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from messaging.bus.contract import LocalBus
from messaging.node import Node
from messaging.runtime.nodes import Nodes
from messaging.settings.settings import Settings
from messaging.store.pool import Pool
from support.log import rows, run, value

TIME = 15


@asynccontextmanager
async def pool_to(dsn: str) -> AsyncIterator[Pool]:
    pool = Pool(dsn)
    await pool.open()
    try:
        yield pool
    finally:
        await pool.close()


def fresh(pool: Pool, **times: Any) -> Nodes:
    return Nodes(pool, secrets.token_hex(16), **times)


async def test_who_has_renewed_its_row_is_alive_until_it_leaves_or_its_term_is_over(database: str) -> None:
    async with pool_to(database) as pool:
        a, b = fresh(pool), fresh(pool)
        await a.renew()
        assert len(a.alive) == 1
        await b.renew()
        await a.renew()
        assert a.alive == b.alive
        assert len(a.alive) == 2

        await b.leave()
        await a.renew()
        assert len(a.alive) == 1

        await b.renew()
        await run(database, "UPDATE recado.nodes SET until = clock_timestamp()")
        await a.renew()
        assert len(a.alive) == 1  # itself, by this very renewal
        assert await value(database, "SELECT count(*) FROM recado.nodes") == 2


async def test_a_row_of_who_died_stays_for_a_week(database: str) -> None:
    async with pool_to(database) as pool:
        await run(
            database,
            "INSERT INTO recado.nodes SELECT d::text, clock_timestamp() - make_interval(hours => d * 24 - 1)"
            " FROM generate_series(6, 9) AS d",
        )
        await fresh(pool).renew()
        left = await rows(database, "SELECT node FROM recado.nodes WHERE length(node) = 1 ORDER BY node")
        assert [row[0] for row in left] == ["6", "7"]


async def test_it_is_renewed_for_ever_and_looked_at_at_once_when_asked(database: str) -> None:
    async with pool_to(database) as pool:
        told: asyncio.Queue[frozenset[str]] = asyncio.Queue()
        often, seldom, other = fresh(pool, interval=0.3), fresh(pool, interval=3600), fresh(pool)
        often.attach(told.put_nowait)
        work = asyncio.create_task(often.run())
        async with asyncio.timeout(TIME):
            for _ in range(3):
                assert len(await told.get()) == 1
        work.cancel()

        told = asyncio.Queue()
        seldom.attach(told.put_nowait)
        await seldom.renew()
        await told.get()
        work = asyncio.create_task(seldom.run())
        await other.renew()
        seldom.look()
        async with asyncio.timeout(TIME):
            assert {*other.alive} - {*await told.get()} == set()
        work.cancel()


async def test_a_node_is_there_from_its_opening_to_its_end(database: str) -> None:
    node = Node(Settings(auth_mode="open"), database, LocalBus())
    await node.open()
    assert [(node.name,)] == [tuple(row) for row in await rows(database, "SELECT node FROM recado.nodes")]
    await node.close()
    assert await value(database, "SELECT count(*) FROM recado.nodes") == 0


async def test_a_node_that_could_not_be_opened_can_be_closed(database: str) -> None:
    await run(database, "INSERT INTO recado.migrations (name, checksum) VALUES ('migrations/9999_later.sql', 'x')")
    node = Node(Settings(auth_mode="open"), database, LocalBus())
    try:
        await node.open()
    except Exception as exc:
        assert "9999" in str(exc)
    await node.close()
