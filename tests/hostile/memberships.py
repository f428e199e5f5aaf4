"""An attack by who belongs to much: it comes back again and again, while others are removed and revoked beside it."""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress

import aiohttp

from hostile.measuring import Row, every
from hostile.rig import SECRET
from support.many_topics import join_many
from support.nats_server import nats_server
from support.raw_ws import RawClient, raw_client

MANY = 100_000
SOON = 1.0  # seconds within which a removal and a revocation are there
OTHERS = 60  # users who will be removed or revoked
TOPIC = "ballroom"


async def reconnecting(row: Row) -> None:
    """Over the bus of PostgreSQL."""
    await _attack(row, "postgres:")


async def reconnecting_over_nats(row: Row) -> None:
    async with nats_server() as nats:
        await _attack(row, nats.url)


async def _attack(row: Row, bus: str) -> None:
    await row.rig.database()
    server = await row.rig.start("ws_server", BUS_URL=bus)
    api = await row.rig.start("api", BUS_URL=bus)
    await row.rig.node.actions.know("hoarder")
    await join_many(row.rig.sql, "hoarder", MANY)
    await row.rig.topic(TOPIC, "host", *(f"guest{number}" for number in range(OTHERS)))
    took: list[float] = []
    headers = {"Authorization": f"Bearer {SECRET}"}
    path = f"/{row.rig.token('hoarder')}"
    async with (
        row.bystander(server) as bystander,
        aiohttp.ClientSession(headers=headers) as http,
        raw_client(server.url, path) as there,  # so that its device and its topics are known before
    ):
        await _come(there)

        async def come_and_go() -> None:
            while True:
                with suppress(OSError, asyncio.IncompleteReadError, AssertionError):
                    async with raw_client(server.url, path) as client:
                        await _come(client)

        async def end(number: int) -> None:
            """Of odd numbers the token is revoked; the others are removed."""
            user = f"guest{number % OTHERS}"
            async with raw_client(server.url, f"/{row.rig.token(user)}") as guest:
                await guest.greeted()
                start = asyncio.get_running_loop().time()
                took.append(math.inf)
                place = len(took) - 1
                if is_revoked := number % 2:
                    answer = await http.post(f"{api.api}/api/v1/tokens/revoke", json={"user": user})
                else:
                    answer = await http.delete(f"{api.api}/api/v1/topics/{TOPIC}/members/{user}")
                wanted = "closing" if is_revoked else "removed"
                assert answer.ok, await answer.text()
                await guest.until(lambda: [frame for frame in guest.texts if frame["action"] == wanted])
                took[place] = asyncio.get_running_loop().time() - start

        async def attack() -> None:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(come_and_go())
                tasks.create_task(every(0.5, end))

        await row.measure(attack, bystander)
        ended = took[: max(1, len(took) - 2)]  # the last may have been cut short by the end of the attack
        row.found.check(len(ended) > 10 and max(ended) <= SOON, f"{len(ended)} ended within {max(ended):.2f} s")


async def _come(client: RawClient) -> None:
    await client.until(lambda: client.texts, 60)
