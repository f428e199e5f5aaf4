"""An order is stored and announced, or neither: both are in one transaction of the shop's own.

    DATABASE_URL=postgresql://… python examples/transactional_publish.py

The shop's tables are in the same PostgreSQL as Recado's schema, and somebody watches the topic `orders`:

    recado tail orders --as ana
"""

from __future__ import annotations

import asyncio
import os

import asyncpg

TABLE = "CREATE TABLE IF NOT EXISTS orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, item text NOT NULL)"
ANNOUNCE = """
    SELECT recado.publish('orders', 'shop', jsonb_build_object('order', $1::bigint, 'item', $2::text))
"""


class SoldOut(Exception):
    pass


async def place_order(connection: asyncpg.Connection, item: str, left: int) -> int:
    """Store an order and announce it. Raises SoldOut: then there is no order, and nobody hears of one."""
    async with connection.transaction():
        number: int = await connection.fetchval("INSERT INTO orders (item) VALUES ($1) RETURNING id", item)
        await connection.execute(ANNOUNCE, number, item)
        if not left:
            raise SoldOut(item)
    return number


async def main() -> None:
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    try:
        await connection.execute(TABLE)
        print("stored and announced: order", await place_order(connection, "lamp", left=3))
        try:
            await place_order(connection, "chair", left=0)
        except SoldOut as exc:
            print("neither:", exc)
    finally:
        await connection.close()


if __name__ == "__main__":
    asyncio.run(main())
