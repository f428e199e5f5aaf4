"""Bridges that come and go while others do, and while topics are made."""

import asyncio

import asyncpg

from support.log import connected, value, waits_for_lock


async def test_new_bridges_that_register_at_once_do_not_lock_each_other_out(database: str) -> None:
    connections = [await asyncpg.connect(database) for _ in range(6)]
    try:
        for turn in range(5):
            names = [f"{turn}.{place}" for place in range(len(connections))]
            await asyncio.gather(*(
                connection.fetchval("SELECT recado.register_bridge($1, $2, 'test', $3)", f"%bridge/{n}", n, f"{n}%")
                for connection, n in zip(connections, names, strict=True)
            ))  # fmt: skip
        assert await connections[0].fetchval("SELECT count(*) FROM recado.bridges") == 30
    finally:
        for connection in connections:
            await connection.close()


async def test_a_bridge_that_is_forgotten_while_a_topic_is_made_belongs_to_nothing(database: str) -> None:
    async with connected(database) as one, connected(database) as two:
        bridge = await one.fetchval("SELECT recado.register_bridge('%bridge/b', 'b', 'test', 'news.%')")
        async with one.transaction():
            await one.execute("SELECT recado.create_topic('news.rome', 'public', 'ana', NULL, NULL, NULL)")
            forgotten = asyncio.create_task(two.fetchval("SELECT recado.forget_bridge('b')"))
            await waits_for_lock(database, "recado.forget_bridge")
        assert await forgotten == bridge
    left = "SELECT count(*) FROM recado.memberships WHERE user_id = $1 AND role <> 'owner'"
    assert await value(database, left, bridge) == 0
