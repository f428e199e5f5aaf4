"""Inlets stand in the register: how they fare, pause and resume, and the second try of what they gave up."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from nats.aio.client import Client

from bridges.config import NatsIn
from bridges.nats.inlet import NatsSource
from bridges.running import Bridging
from messaging.bridge.inlet import Inlet
from messaging.bridge.schedule import Schedule
from messaging.node import Node
from messaging.settings.settings import Settings
from messaging.store.bridges import Report
from support.lanes import QUICK, working
from support.nats_server import Nats, nats_server
from support.tasks import at_work
from support.waiting import until

TIME = 30
NEVER = Schedule(steps=(86400,), most=86400, jitter=0)
SETTINGS = Settings(auth_mode="open")


def inlet(node: Node, server: Nats, schedule: Schedule = QUICK) -> Inlet:
    async def origin() -> str:
        return "here"

    source = NatsSource(NatsIn("in", "orders.>"), [server.url], origin, SETTINGS, lambda: None)
    return Inlet("in", "nats", source, node, SETTINGS, schedule=schedule)


@contextlib.asynccontextmanager
async def bridged(node: Node, *inlets: Inlet) -> AsyncIterator[None]:
    async with at_work(Bridging(node, [], inlets).run()):
        yield


async def is_seen(node: Node, good: Callable[[Report], bool]) -> Report:
    return (await until(lambda: node.bridge_store.reports("in"), lambda found: found and good(found[0])))[0]


async def has(node: Node, topic: str, *contents: str) -> None:
    async def there() -> bool:
        standing = await node.store.topic_view(topic)
        if standing is None:
            return False
        messages = await node.store.history(standing.topic.id, 0, 10**9, 1000, None, newest=False)
        return [message.content for message in messages] == list(contents)

    await until(there)


async def say(server: Nats, *payloads: str) -> None:
    async with server.client() as client:
        for payload in payloads:
            await client.jetstream().publish("orders.rome", payload.encode())


async def test_paused_it_takes_nothing_and_resumed_it_goes_on_where_it_was(database: str, tmp_path: Path) -> None:
    async with nats_server(folder=tmp_path) as server, working(database) as node:
        await server.make_stream("ORDERS", "orders.>")
        async with bridged(node, inlet(node, server)):
            await say(server, "1")
            await has(node, "orders.rome", "1")
            await node.bridges.pause("in", True)

            async def is_left() -> bool:
                async with server.client() as client:
                    [consumer] = await client.jetstream().consumers_info("ORDERS")
                    return not consumer.push_bound

            await until(is_left)
            await say(server, "2", "3")
            report = await is_seen(node, lambda report: report.paused)
            assert (report.direction, report.lag, report.reason) == ("in", None, "paused by the operator")
            await has(node, "orders.rome", "1")
            await node.bridges.pause("in", False)
            await has(node, "orders.rome", "1", "2", "3")


async def test_why_it_waits_is_told_and_who_resumes_it_makes_it_try_at_once(database: str) -> None:
    async with nats_server() as server, working(database) as node:
        await server.kill()
        async with bridged(node, inlet(node, server, NEVER)):
            report = await is_seen(node, lambda report: report.state == "waiting")
            assert report.attempts == 1 and report.reason
            await server.start()
            await node.bridges.pause("in", False)
            report = await is_seen(node, lambda report: report.state == "up")
            assert (report.attempts, report.reason) == (0, None)


async def test_paused_before_it_begins_it_does_not_begin(database: str) -> None:
    async with nats_server() as server, working(database) as node:
        await node.bridge_store.register_inlet("in", "nats")
        await node.bridges.pause("in", True)
        await server.kill()
        async with bridged(node, inlet(node, server)):
            report = await is_seen(node, lambda report: report.paused)
            await node.bridges.pause("in", False)
            assert report.attempts == 0
            await is_seen(node, lambda report: report.attempts > 0)


async def test_forgotten_while_it_is_configured_it_begins_anew(database: str) -> None:
    async with nats_server() as server, working(database) as node, bridged(node, inlet(node, server)):
        await is_seen(node, lambda report: report.state == "up")
        await node.bridges.pause("in", True)
        await node.bridges.forget("in")
        await is_seen(node, lambda report: not report.paused)


async def test_configured_no_more_it_says_so(database: str) -> None:
    async with working(database) as node:
        await node.bridge_store.register_inlet("in", "nats")
        async with bridged(node):
            report = await is_seen(node, lambda report: report.state == "waiting")
            assert "not configured" in str(report.reason)


async def test_what_was_given_up_is_stored_as_it_was_read_once_somebody_asks(database: str) -> None:
    async with nats_server() as server, working(database) as node, bridged(node, inlet(node, server)):
        await is_seen(node, lambda report: report.state == "up")
        async with server.client() as client:
            await until_heard(node, client)
            for payload in ('"1"', '"2"'):
                await client.publish("orders.rome", payload.encode(), headers={"Nats-Msg-Id": "the same"})
            await client.publish("orders.rome", b"no JSON")
        await is_seen(node, lambda report: report.dead == 2)
        taken, unreadable = await node.bridge_store.buried("in", 0, 10)
        assert (taken.replayable, taken.letter.came_by, taken.letter.sender) == (True, "orders.rome", "nats")
        done = await node.bridges.replay("in", [taken.id, unreadable.id])
        assert done.count == 1 and "not JSON" in done.refused[unreadable.id]
        await has(node, "orders.rome", '"1"', '"2"')
        assert [each.id for each in await node.bridge_store.buried("in", 0, 10)] == [unreadable.id]


async def until_heard(node: Node, client: Client) -> None:
    """Until the inlet's subscription is there: core NATS keeps nothing for it."""

    async def heard() -> bool:
        await client.publish("orders.hello", b"1")
        await client.flush()
        return await node.store.topic_view("orders.hello") is not None

    await until(heard)
