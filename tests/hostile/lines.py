"""Lines to the database that fall silent. The packets are swallowed on their way, as nothing in user space could."""

from __future__ import annotations

import asyncio

from nats.aio.msg import Msg

from hostile.bystander import Bystander
from hostile.measuring import Row
from hostile.namespaces import PORT, Network, Place
from support.nats_server import nats_server
from support.waiting import until

TAKEN_OVER = 15.0  # seconds that nobody may serve the bridges
MORE = 10.0  # seconds that are waited on, to tell how long it took
HOLD = "SELECT FROM recado.heads JOIN recado.topics ON id = topic_id WHERE name = 'held' FOR UPDATE OF heads"
SEED = "updates.store.plaza"


async def silent_commit(row: Row) -> None:
    """One node's line falls silent between an append and its COMMIT. Another topic on it, and that topic elsewhere."""
    network = await _far(row)
    here, there = network.place(), network.place()
    node, other = await row.rig.start("ws_server", here), await row.rig.start("ws_server", there)
    async with row.bystander(node) as bystander, row.bystander(other, "held") as elsewhere:
        await row.rig.topic("held", "mallory")
        mallory = Bystander(node.url, row.rig.token("mallory"), "held", 60.0)

        async def silence() -> None:
            async with row.rig.sql.acquire() as holder, holder.transaction():
                await holder.execute(HOLD)
                async with asyncio.TaskGroup() as tasks:
                    publishing = tasks.create_task(mallory.run())
                    port = await until(lambda: _waiting(row, here))
                    network.swallow("from", here.address, "sport", str(port))
                    publishing.cancel()
            row.silent_since = asyncio.get_running_loop().time()

            await until(lambda: _waiting(row, here), lambda waiting: not waiting)
            network.silence(here, [port])

        await row.measure(silence, bystander, elsewhere)


async def silent_lines(row: Row) -> None:
    """All lines that one node has move nothing any more; new ones work."""
    network = await _far(row)
    here = network.place()
    node = await row.rig.start("ws_server", here)
    async with row.bystander(node) as bystander:

        async def silence() -> None:
            row.silent_since = asyncio.get_running_loop().time()
            network.silence(here, await _ports(row, here))

        await row.measure(silence, bystander)


async def silent_leader(row: Row) -> None:
    """Of two processes of bridges the one that serves them: nothing from it reaches the database, nor the other way."""
    network = await _far(row)
    # At the router, where everybody reaches it.
    async with nats_server("-a", "0.0.0.0", folder=row.rig.folder / "nats") as nats, nats.client() as client:
        await nats.make_stream("SHOPS", "updates.store.*")
        heard: dict[int, float] = {}
        loop = asyncio.get_running_loop()

        async def hear(message: Msg) -> None:
            heard.setdefault(int(message.data), loop.time())

        await client.subscribe(SEED, cb=hear)
        here, there, door = network.place(), network.place(), network.place()
        url = {place: f"nats://{place.router}:{nats.url.rpartition(':')[2]}" for place in (here, there)}
        await row.rig.start("bridges", here, NATS_URL=url[here])
        node = await row.rig.start("ws_server", door)
        async with row.bystander(node, SEED) as bystander:
            await until(lambda: heard)
            await row.rig.start("bridges", there, NATS_URL=url[there])

            async def silence() -> None:
                start = loop.time()
                network.swallow("from", here.address, "dport", str(PORT))
                network.swallow("to", here.address, "sport", str(PORT))

                def served() -> float | None:
                    return next((at - start for n, at in heard.items() if bystander.sent[n] > start), None)

                try:
                    took = await until(served, within=TAKEN_OVER + MORE)
                except TimeoutError:
                    took = float("inf")
                row.found.check(took <= TAKEN_OVER, f"bridges taken over after {took:.1f} s")

            await row.measure(silence, bystander, least=TAKEN_OVER + MORE + 1)


async def _far(row: Row) -> Network:
    await row.rig.database(placed=True)
    assert row.rig.network is not None
    return row.rig.network


async def _ports(row: Row, place: Place, which: str = "true") -> list[int]:
    query = f"SELECT client_port FROM pg_stat_activity WHERE host(client_addr) = $1 AND {which}"
    return [port for (port,) in await row.rig.sql.fetch(query, place.address)]


async def _waiting(row: Row, place: Place) -> int | None:
    """The line of an append that waits for a head."""
    found = await _ports(row, place, "wait_event_type = 'Lock' AND query LIKE '%append%'")
    return found[0] if found else None
