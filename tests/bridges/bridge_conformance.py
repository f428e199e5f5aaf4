"""What every bridge out keeps, against the real server of its system.

A module of tests makes a class of `OutConformance` whose name begins with Test, with a fixture ``broker``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import groupby
from typing import Protocol

from bridges.lane import Lane
from bridges.outlet import Outlet
from messaging.bridge.schedule import Schedule
from messaging.node import Node
from messaging.store.bridges import DeadLetter, Report
from support.lanes import publish, serving, working
from support.waiting import until

TIME = 60  # seconds
SOON = Schedule(steps=(0.2,), most=0.3)
TOPIC = "orders.rome"
CONTENTS = ['"grüß dich"', '{"a": 1,  "b":[ ]}', "1.50", "null", '"\\u00e8 \\n"', '"' + "x" * 60000 + '"']


class Broker(Protocol):
    """A real server, as a child of the test. It keeps what it has confirmed, also when it is killed."""

    def outlet(self) -> Outlet:
        """A new one, configured so that each topic has a place of its own there."""

    async def start(self) -> None:
        """Returns once it answers. Whatever a topic needs there is made."""

    async def kill(self) -> None:
        """With SIGKILL."""

    def freeze(self) -> None:
        """With SIGSTOP: connections stay, nobody answers."""

    def thaw(self) -> None: ...

    async def got(self, topic: str, count: int) -> list[bytes]:
        """All payloads that it holds for a topic, in order, once there are at least so many."""

    def poison(self) -> tuple[str, str]:
        """A topic and a content (JSON) that this system can never take; the topic matches ``orders.*`` in any case."""


@asynccontextmanager
async def bridged(dsn: str, broker: Broker) -> AsyncIterator[tuple[Node, Lane]]:
    """A node at work with one bridge to the broker, named "out", and its lane, which is not running yet."""
    async with working(dsn) as node:
        user_id = await node.bridge_store.register("out", "test", "orders.%")
        await node.actions.know("ana")
        outlet = broker.outlet()
        try:
            yield node, Lane(user_id, outlet, node, schedule=SOON)
        finally:
            await outlet.close()


async def make(node: Node, *topics: str) -> None:
    for topic in topics:
        await node.store.create_topic(topic, "public", await node.store.user("ana"))


async def report(node: Node) -> Report:
    [found] = await node.bridge_store.reports("out")
    return found


async def until_waiting(node: Node) -> Report:
    return await until(lambda: report(node), lambda found: found.state != "up", TIME)


async def until_buried(node: Node, count: int) -> list[DeadLetter]:
    buried = await until(lambda: node.bridge_store.buried("out", 0, 100), lambda found: len(found) >= count, TIME)
    return [each.letter for each in buried]


def numbered(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last + 1)]


def once(payloads: list[bytes]) -> list[str]:
    """Without repetitions right behind each other: a retry of what was not confirmed."""
    return [payload.decode() for payload, _ in groupby(payloads)]


class OutConformance:
    """Each test takes the fixture ``broker``, a started one, and ``database``."""

    async def test_byte_for_byte_and_in_order(self, broker: Broker, database: str) -> None:
        async with bridged(database, broker) as (node, lane), serving(lane):
            await make(node, TOPIC)
            await publish(node, TOPIC, *CONTENTS, *numbered(1, 200))
            got = await broker.got(TOPIC, len(CONTENTS) + 200)
        assert got == [content.encode() for content in [*CONTENTS, *numbered(1, 200)]]

    async def test_what_is_published_while_it_is_down_arrives_when_it_is_back(
        self, broker: Broker, database: str
    ) -> None:
        async with bridged(database, broker) as (node, lane), serving(lane):
            await make(node, TOPIC)
            await publish(node, TOPIC, "1", "2")
            await broker.got(TOPIC, 2)
            await broker.kill()
            await publish(node, TOPIC, *numbered(3, 50))
            waiting = await until_waiting(node)
            assert (waiting.lag or 0) >= 48 and waiting.reason, "its operator sees how much waits, and why"
            await broker.start()
            assert once(await broker.got(TOPIC, 50)) == numbered(1, 50)

    async def test_down_from_the_start(self, broker: Broker, database: str) -> None:
        await broker.kill()
        async with bridged(database, broker) as (node, lane), serving(lane):
            await make(node, TOPIC)
            await publish(node, TOPIC, *numbered(1, 20))
            await until_waiting(node)
            await broker.start()
            assert once(await broker.got(TOPIC, 20)) == numbered(1, 20)

    async def test_killed_in_the_midst_of_it(self, broker: Broker, database: str) -> None:
        async with bridged(database, broker) as (node, lane), serving(lane):
            await make(node, TOPIC)
            for kills in range(3):
                first = 1 + kills * 100
                await publish(node, TOPIC, *numbered(first, first + 99))
                await broker.got(TOPIC, first + 20)
                await broker.kill()
                await broker.start()
            got = await broker.got(TOPIC, 300)
        assert once(got) == numbered(1, 300)
        assert len(got) <= 303, "at most what was in flight is there twice"

    async def test_frozen_it_is_noticed_and_nothing_is_lost(self, broker: Broker, database: str) -> None:
        async with bridged(database, broker) as (node, lane), serving(lane):
            await make(node, TOPIC)
            await publish(node, TOPIC, "1")
            await broker.got(TOPIC, 1)
            broker.freeze()
            try:
                await publish(node, TOPIC, *numbered(2, 20))
                await until_waiting(node)
            finally:
                broker.thaw()
            assert once(await broker.got(TOPIC, 20)) == numbered(1, 20)

    async def test_another_lane_goes_on_where_the_last_one_was(self, broker: Broker, database: str) -> None:
        async with bridged(database, broker) as (node, lane):
            await make(node, TOPIC)
            async with serving(lane):
                await publish(node, TOPIC, *numbered(1, 30))
                await broker.got(TOPIC, 30)
            await node.settle()
            user_id = await node.bridge_store.register("out", "test", "orders.%")
            outlet = broker.outlet()
            async with serving(Lane(user_id, outlet, node, schedule=SOON)):
                await publish(node, TOPIC, *numbered(31, 40))
                got = await broker.got(TOPIC, 40)
            await outlet.close()
        assert [payload.decode() for payload in got] == numbered(1, 40)

    async def test_what_it_can_never_take_stops_nothing(self, broker: Broker, database: str) -> None:
        topic, content = broker.poison()
        async with bridged(database, broker) as (node, lane), serving(lane):
            await make(node, *{TOPIC, topic})
            await publish(node, TOPIC, "1")
            await publish(node, topic, content)
            await publish(node, TOPIC, "2")
            [letter] = await until_buried(node, 1)
            assert (letter.topic, letter.content) == (topic, content) and letter.reason
            assert [b"1", b"2"] == await broker.got(TOPIC, 2)

    async def test_a_dead_letter_sent_again_arrives_also_where_its_first_copy_did(
        self, broker: Broker, database: str
    ) -> None:
        """It was given up on though it had arrived: its id is known there, so the replay has another."""
        async with bridged(database, broker) as (node, lane), serving(lane):
            await make(node, TOPIC)
            await publish(node, TOPIC, '"again"')
            await broker.got(TOPIC, 1)
            found = await node.store.topic_view(TOPIC)
            assert found is not None
            [message] = await node.store.history(found.topic.id, 0, 10, 10, None, newest=False)
            await node.bridge_store.bury(
                DeadLetter(
                    bridge="out",
                    topic=TOPIC,
                    topic_id=found.topic.id,
                    seq=1,
                    sender="api",
                    content='"again"',
                    sent_at=message.sent_at,
                    reason="no confirmation",
                )
            )
            assert (await node.bridges.replay("out", None)).count == 1
            assert await broker.got(TOPIC, 2) == [b'"again"', b'"again"']
            assert not await node.bridge_store.buried("out", 0, 10)
