"""Bridges that register at the same time."""

import asyncio

import asyncpg


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
