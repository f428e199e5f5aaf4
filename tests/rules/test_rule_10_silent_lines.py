"""Rule 10, every wait ends: a line to the database that moves nothing any more, and says nothing of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from conftest import lacks
from hostile.namespaces import Network, Place, PlacedPostgres, missing, network
from messaging.store.migrations import migrate
from support.log import HOLD_COMMIT, connected, desk, draft, run, value, waits_for_lock
from support.places import folder
from support.waiting import until

SOON = 10  # seconds from the silence on


@dataclass
class Far:
    """A database at the other end of a network, and its address by a socket, which no silence reaches."""

    network: Network
    here: Place
    dsn: str
    near: str

    async def port_of(self, pid: int) -> int:
        """Our end of the line that a process of the database serves."""
        return int(await value(self.near, "SELECT client_port FROM pg_stat_activity WHERE pid = $1", pid))

    async def is_waiting(self, pid: int) -> bool:
        query = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $1"
        return bool(await value(self.near, query, pid))


@pytest.fixture(scope="module")
async def far() -> AsyncIterator[Far]:
    if why := missing():
        lacks(why)
    with folder() as root, network() as net:
        there, here = net.place(), net.place()
        postgres = PlacedPostgres(root / "data", there)
        near = await postgres.start()
        try:
            await migrate(near)
            with here.inside():
                yield Far(net, here, postgres.dsn, near)
        finally:
            await postgres.stop()


async def test_another_node_publishes_soon_after_a_line_fell_silent_before_its_commit_arrived(far: Far) -> None:
    """What the silent node asked for last never arrives; no lock may outlive that."""
    async with desk(far.dsn) as ana, desk(far.dsn) as bea, connected(far.near) as holder:
        topic_id = await ana.topic("noticias")
        assert await ana.publish(topic_id, "before") == [1]
        async with holder.transaction():
            await holder.execute("SELECT FROM recado.heads WHERE topic_id = $1 FOR UPDATE", topic_id)
            answer = ana.submit(draft(topic_id, "silent", "silent"))
            pid = await waits_for_lock(far.near, "append")
            port = await far.port_of(pid)
            far.network.swallow("from", far.here.address, "sport", str(port))

        await until(lambda: far.is_waiting(pid), lambda waiting: not waiting)
        far.network.silence(far.here, [port])
        try:
            async with asyncio.timeout(SOON):
                [seq] = await bea.publish(topic_id, "of another node")
            assert seq in (2, 3)
        finally:
            far.network.restore()
            await answer


async def test_a_node_answers_on_other_topics_soon_after_a_line_fell_silent_in_a_commit(far: Far) -> None:
    """Its COMMIT is stored and the answer lost; other lines work. Nothing may wait for the silent one."""
    async with desk(far.dsn) as ana, connected(far.near) as holder:
        topics = [await ana.topic("musica"), await ana.topic("deporte")]
        assert await ana.publish(topics[0], "before") == [1]
        await run(far.near, HOLD_COMMIT)
        await holder.execute("SELECT pg_advisory_lock(42)")
        answer = ana.submit(draft(topics[0], "silent", "silent"))
        pid = await waits_for_lock(far.near, "")  # whatever statement it is that commits
        far.network.silence(far.here, [await far.port_of(pid)])
        await holder.execute("SELECT pg_advisory_unlock(42)")
        try:
            async with asyncio.timeout(SOON):
                assert await ana.publish(topics[1], "elsewhere") == [1]
                assert (await answer).seq == 2  # type: ignore[union-attr]
        finally:
            far.network.restore()
            await answer
            await run(far.near, "DROP TRIGGER hold ON recado.messages; DROP FUNCTION hold()")
