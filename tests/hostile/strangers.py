"""Attacks by a role of the same database that has been granted nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

import asyncpg
import msgspec

from hostile.measuring import Row, every
from hostile.rig import Server
from support.waiting import until

CHANNEL = "recado"
FORGED = -1  # a content that nobody has sent
LOCKS = (*range(0x5245_4341_444F, 0x5245_4341_444F + 1024), 90455338075983)  # "RECADO" and what is counted from there
SOON = 5.0  # seconds within which the intake takes in
START = 12.0  # seconds within which a node that starts is ready, or says what it waits for


@asynccontextmanager
async def _stranger(row: Row) -> AsyncIterator[asyncpg.Connection]:
    await row.rig.sql.execute("CREATE ROLE stranger LOGIN")
    connection = await asyncpg.connect(row.rig.near, user="stranger")
    try:
        yield connection
    finally:
        connection.terminate()


async def on_the_bus(row: Row) -> None:
    """Listens, plays again what it heard, forges messages and heads in the clear form, sends bytes at random."""
    await row.rig.database()
    server, other = await row.rig.start("ws_server"), await row.rig.start("ws_server")
    async with (
        row.bystander(server) as bystander,
        row.bystander(other, every=None) as reader,
        _stranger(row) as stranger,
    ):
        heard: list[str] = []
        own = await stranger.fetchval("SELECT pg_backend_pid()")

        def hear(_: object, pid: int, channel: str, payload: str) -> None:
            if pid != own:
                heard.append(payload)

        await stranger.add_listener(CHANNEL, hear)
        topic_id = await row.rig.sql.fetchval("SELECT id FROM recado.topics WHERE name = $1", bystander.topic)

        async def forge(number: int) -> None:
            head = max(reader.heard, default=0)
            message = [head + 1, "writer-of-plaza", str(FORGED), datetime.now(UTC)]
            forged = [
                ["stranger", number, [["a", topic_id, head + 1, head + 1, [message]]]],
                ["stranger", number, [["a", topic_id, 10**9, 10**9, None]]],
            ]
            parcels = [msgspec.json.encode(each).decode() for each in forged]
            async with lock:
                for parcel in (*parcels, *heard[-3:], "x" * number):
                    await stranger.execute("SELECT pg_notify($1, $2)", CHANNEL, parcel)

        lock = asyncio.Lock()
        await row.measure(lambda: every(0.1, forge), bystander)
        told = {content for _, content in [*bystander.heard.values(), *reader.heard.values()]}
        row.found.check(FORGED not in told, "nothing forged arrives")
        row.found.check(bool(heard), f"{len(heard)} parcels heard")  # else what follows would prove nothing
        row.found.check(not [each for each in heard if "writer-of-plaza" in each], "nothing is heard in clear")
        closed = [at for at in (*bystander.closed, *reader.closed) if at < row.over]
        row.found.check(not closed, f"{len(closed)} sessions closed")
        missed = [n for n, (_, seq) in bystander.answered.items() if reader.heard.get(seq, (0, None))[1] != n]
        row.found.check(not missed, f"{len(missed)} not given to a member on the other node")


async def with_locks(row: Row) -> None:
    """Holds every advisory lock that could be Recado's, while applications publish by SQL and a node starts."""
    await row.rig.database()
    server = await row.rig.start("ws_server")
    async with row.bystander(server) as bystander, _stranger(row) as stranger:
        await row.rig.topic("orders", "shop")

        started: list[Server] = []

        async def publish(number: int) -> None:
            await row.rig.sql.execute("SELECT recado.publish('orders', 'shop', $1::text)", str(number))
            intake.put()

        async def start() -> None:
            late = await row.rig.start("ws_server", ready=False)
            with suppress(TimeoutError):
                await until(lambda: late.log or late.has_ended, within=START)
            row.found.check(bool(late.log), "a node that starts says something")
            late.terminate()
            started.append(late)

        async def hold() -> None:
            for number in LOCKS:
                await stranger.execute("SELECT pg_advisory_lock($1)", number)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(start())
                tasks.create_task(every(1, publish))

        async with row.arrivals("orders", 0) as intake:
            await row.measure(hold, bystander, least=START + 3)
            row.found.check(intake.worst() <= SOON, f"taken in within {intake.worst():.1f} s")
            for late in started:
                row.found.check(await late.end(), "SIGTERM ends it")
