"""What runs of the configuration, in the process that has the turn."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from bridges.lane import Lane
from bridges.outlet import OutgoingMessage, Undeliverable
from bridges.running import Bridging, Out
from messaging.node import Node
from messaging.runtime.leader import LeadershipLost, Lease
from messaging.store.bridges import DeadLetter
from messaging.store.leases import LeaseStore, LeaseTimes
from support.lanes import System, publish, working
from support.postgres_proxy import proxied
from support.tasks import at_work
from support.waiting import until

QUICK = LeaseTimes(length=2.0, margin=1.0, renew_every=0.2, request=0.4, ask_every=0.05)


@contextlib.asynccontextmanager
async def bridging(node: Node, system: System) -> AsyncIterator[None]:
    """The bridge `paper`, of the topic `news`, whenever the node is the leader."""
    node.store.leases.times = QUICK
    async with at_work(Bridging(node, [Out("paper", "test", "news", lambda: system)], []).run()):
        yield


async def test_a_bridge_that_is_forgotten_while_it_is_configured_begins_anew(database: str) -> None:
    async with working(database) as node:
        await node.actions.know("ana")
        await node.store.create_topic("news", "public", await node.store.user("ana"))
        system = System()
        bridging = asyncio.ensure_future(Bridging(node, [Out("paper", "test", "news", lambda: system)], []).run())
        try:
            async with asyncio.timeout(20):
                await until(node.bridge_store.reports)
                await publish(node, "news", "1")
                await system.has(1)
                await node.bridges.forget("paper")
                await until(node.bridge_store.reports)
                await publish(node, "news", "2")
                await system.has(2)
        finally:
            bridging.cancel()
            await asyncio.wait([bridging])
        assert system.contents == ["1", "2"]


async def test_a_bridge_that_is_configured_no_more_says_so_and_configured_again_is_up(database: str) -> None:
    async with working(database) as node:
        for name in ("kept", "left"):
            await node.bridge_store.register(name, "nats", "news")
        await node.bridge_store.disown(["nats"], ["kept"])
        states = {report.name: (report.state, report.reason) for report in await node.bridge_store.reports()}
        assert states["kept"] == ("up", None)
        assert states["left"][0] == "waiting" and "not configured" in str(states["left"][1])
        await node.bridge_store.register("left", "nats", "news")
        [report] = await node.bridge_store.reports("left")
        assert (report.state, report.reason) == ("up", None)


# --- leaders ---------------------------------------------------------------------------------------


async def test_bridges_of_a_node_whose_line_is_silent_are_taken_over(database: str) -> None:
    """In order, from where they were; the silent one sends nothing more, though it has more to send."""
    async with proxied(database) as (dsn, proxy), working(database) as whole, working(dsn) as silent:
        first, second = System(), System()
        await whole.actions.know("ana")
        async with asyncio.timeout(30), bridging(silent, first):
            await until(whole.bridge_store.reports)
            await whole.store.create_topic("news", "public", await whole.store.user("ana"))
            await publish(silent, "news", "1")
            await first.has(1)
            await until(whole.bridge_store.reports, lambda found: not found[0].lag)
            proxy.swallows = True
            async with bridging(whole, second):
                await publish(whole, "news", "2", "3")
                await second.has(2)
            proxy.swallows = False
    assert (first.contents, second.contents) == (["1"], ["2", "3"])


@dataclass
class LeadingLane:
    """A lane at work under a lease of an hour, which has sent one message of the topic "news"."""

    node: Node
    book: LeaseStore
    system: System
    user_id: int
    work: asyncio.Future[None]

    def lose_the_lease(self) -> None:
        self.book.times = LeaseTimes(length=3600, margin=3600)


@contextlib.asynccontextmanager
async def leading_lane(database: str) -> AsyncIterator[LeadingLane]:
    async with working(database) as node:
        book = LeaseStore(database, LeaseTimes(length=3600))
        await book.open()
        lease = Lease(book, "bridges")
        await lease.take()
        await node.actions.know("ana")
        await node.store.create_topic("news", "public", await node.store.user("ana"))
        system = System()
        user_id = await node.bridge_store.register("paper", "test", "news")
        lane = asyncio.ensure_future(Lane(user_id, system, node, lease=lease).run())
        await publish(node, "news", "1")
        await system.has(1)
        yield LeadingLane(node, book, system, user_id, lane)
        await book.close()


async def test_a_lane_sends_nothing_when_its_lease_is_over(database: str) -> None:
    """Whether or not anybody has cancelled it: it looks at its own clock before each send."""
    async with leading_lane(database) as lane:
        lane.lose_the_lease()
        await publish(lane.node, "news", "2")
        with pytest.raises(LeadershipLost):
            await asyncio.wait_for(lane.work, 10)
        assert lane.system.contents == ["1"]


async def test_a_lane_leaves_nothing_behind_that_it_could_not_bury(database: str) -> None:
    """Its process slept while a message was under way: another leads, and the dead letter is refused."""
    async with leading_lane(database) as lane:
        node = lane.node

        def late(_: OutgoingMessage) -> None:
            lane.lose_the_lease()
            raise Undeliverable("422")

        lane.system.answer = late
        async with node.store.pool.connection() as connection:
            await connection.execute("UPDATE recado.leases SET term = term + 1 WHERE name = 'bridges'")
        await publish(node, "news", "2")
        with pytest.raises(LeadershipLost):
            await asyncio.wait_for(lane.work, 10)
        await node.cursors.flush()
        positions = await node.store.positions(lane.user_id, "")  # of its inbox, too
        assert max(cursor for _, cursor in positions.values()) == 1
        assert await node.bridge_store.buried("paper", 0, 10) == []


async def test_what_a_leader_writes_after_its_term_changes_nothing(database: str) -> None:
    """Neither a report, nor a pause, nor a dead letter; an operator, who leads nothing, is heard."""
    letter = DeadLetter(
        bridge="paper",
        topic="news",
        topic_id=1,
        seq=7,
        sender="ana",
        content="1",
        sent_at=datetime(2026, 1, 1, tzinfo=UTC),
        reason="refused",
    )
    async with working(database) as node:
        user_id = await node.bridge_store.register("paper", "test", "news")
        late = await node.store.leases.take("bridges", "late")
        await node.store.leases.give_back("bridges", "late")
        term = await node.store.leases.take("bridges", "next")
        for by, reason, paused, dead in ((late, None, False, 0), (term, "down", True, 1)):
            await node.bridge_store.report(user_id, "waiting", "down", 3, by)
            [report] = await node.bridge_store.reports()
            assert report.reason == reason
            await node.bridge_store.bury(letter, by)
            await node.bridge_store.pause("paper", True, "down", by)
            [report] = await node.bridge_store.reports()
            assert (report.reason, report.paused, report.dead) == (reason, paused, dead)
        await node.bridge_store.pause("paper", False)
        [report] = await node.bridge_store.reports()
        assert not report.paused
