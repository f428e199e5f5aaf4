"""What every inlet keeps, against the real server of its system.

A module of tests makes a class of `InConformance` whose name begins with Test, with a fixture ``feed``.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

import pytest

from messaging.actions import Actions
from messaging.bridge.inlet import Inlet, Source, SourceLost
from messaging.errors import Unavailable
from messaging.model import Changed
from messaging.node import Node
from messaging.settings.settings import Settings
from support import tasks
from support.lanes import QUICK, working
from support.lines import line_to
from support.waiting import until

TIME = 60  # seconds


class Feed(Protocol):
    """A real server, as a child of the test, and a place on it of which an inlet is to read."""

    keeps: bool
    topic: str  # where all of it goes
    window: int  # messages that may be in our hands
    port: int

    async def prepare(self, node: Node) -> None:
        """What a node must know before a source is made."""

    def source(self, port: int) -> Source:
        """A new one, by this port: the server's own, or another's that stands before it."""

    async def put(self, *texts: str, ids: bool = True) -> None:
        """Messages whose content is each text as a JSON string, with an id where the protocol has any."""

    async def put_bad(self) -> None:
        """One that can never be stored, of which no library has doubts."""

    async def put_poison(self) -> None:
        """One that the client library can't read."""

    async def until_read(self) -> None:
        """Until somebody reads."""

    async def ready(self) -> int:
        """How many are in nobody's hands."""

    async def kill(self) -> None:
        """With SIGKILL. What was put is kept, where this system keeps anything."""

    async def start(self) -> None: ...


@asynccontextmanager
async def at_work(dsn: str, feed: Feed) -> AsyncIterator[Node]:
    async with working(dsn) as node:
        await feed.prepare(node)
        yield node


@asynccontextmanager
async def reading(node: Node, source: Source) -> AsyncIterator[Inlet]:
    inlet = Inlet("in", "test", source, node, Settings(auth_mode="open"), schedule=QUICK)
    async with tasks.at_work(inlet.run()):
        yield inlet


async def contents(node: Node, topic: str) -> list[str]:
    standing = await node.store.topic_view(topic)
    if standing is None:
        return []
    messages = await node.store.history(standing.topic.id, 0, 2**53, 5000, None, newest=False)
    return [message.content.strip('"') for message in messages]


async def have(node: Node, topic: str, count: int) -> list[str]:
    """The contents of a topic, once there are so many."""

    return await until(lambda: contents(node, topic), lambda found: len(found) >= count, TIME)


async def until_settled(inlet: Inlet, feed: Feed) -> None:
    """Until all was given out, and all of that is acknowledged."""

    async def settled() -> bool:
        return inlet.held == 0 and (not feed.keeps or await feed.ready() == 0)

    await until(settled, within=TIME)


async def until_buried(node: Node, count: int) -> list[str]:
    """Why, of each dead letter."""

    buried = await until(lambda: node.bridge_store.buried("in", 0, 100), lambda found: len(found) >= count, TIME)
    return [each.letter.reason for each in buried]


def numbered(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last + 1)]


class Away:
    """A database that is away for whoever appends."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_away, self.asked, publish = True, asyncio.Event(), Actions.publish

        def refused(actions: Actions, *args: Any) -> None:
            self.asked.set()
            if self.is_away:
                raise Unavailable
            publish(actions, *args)

        monkeypatch.setattr(Actions, "publish", refused)


class InConformance:
    """Each test takes the fixture ``feed``, a started one, and ``database``."""

    async def test_all_of_it_in_order_and_acknowledged(self, feed: Feed, database: str) -> None:
        async with at_work(database, feed) as node:
            async with reading(node, feed.source(feed.port)) as inlet:
                await feed.until_read()
                await feed.put(*numbered(1, 300))
                assert await have(node, feed.topic, 300) == numbered(1, 300)
                await until_settled(inlet, feed)
            assert not feed.keeps or await feed.ready() == 0

    async def test_the_server_killed(self, feed: Feed, database: str) -> None:
        async with at_work(database, feed) as node, reading(node, feed.source(feed.port)) as inlet:
            await feed.until_read()
            await feed.put(*numbered(1, 100))
            await have(node, feed.topic, 20 if feed.keeps else 100)
            await feed.kill()
            await feed.start()
            await feed.until_read()
            await feed.put(*numbered(101, 200))
            assert await have(node, feed.topic, 200) == numbered(1, 200)
            await until_settled(inlet, feed)

    async def test_the_line_cut_again_and_again(self, feed: Feed, database: str) -> None:
        async with (
            at_work(database, feed) as node,
            line_to(feed.port) as wire,
            reading(node, feed.source(wire.port)) as inlet,
        ):
            for cuts in range(5):
                await feed.until_read()
                first = 1 + cuts * 60
                await feed.put(*numbered(first, first + 59))
                await have(node, feed.topic, first + (10 if feed.keeps else 59))
                wire.cut()
            assert await have(node, feed.topic, 300) == numbered(1, 300)
            await until_settled(inlet, feed)

    async def test_cancelled_at_any_moment(self, feed: Feed, database: str) -> None:
        async with at_work(database, feed) as node:
            if feed.keeps:
                await feed.put(*numbered(1, 300))
            for _ in range(240):
                async with reading(node, feed.source(feed.port)):
                    if random.random() < 0.5:
                        await asyncio.sleep(random.random() * 0.04)
                    else:
                        for _ in range(random.randrange(60)):
                            await asyncio.sleep(0)
            async with reading(node, feed.source(feed.port)) as inlet:
                await feed.until_read()
                if not feed.keeps:
                    await feed.put(*numbered(1, 300))
                assert await have(node, feed.topic, 300) == numbered(1, 300)
                await until_settled(inlet, feed)

    async def test_while_the_database_is_away_it_is_kept_in_order_and_bounded(
        self, feed: Feed, database: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        count = 4 * feed.window
        async with at_work(database, feed) as node:
            away = Away(monkeypatch)
            async with reading(node, feed.source(feed.port)) as inlet:
                await feed.until_read()
                await feed.put(*numbered(1, count))
                await asyncio.wait_for(away.asked.wait(), TIME)
                assert not feed.keeps or await feed.ready() >= count - feed.window
                away.asked.clear()
                await asyncio.wait_for(away.asked.wait(), TIME)
                assert inlet.held and await contents(node, feed.topic) == []
                away.is_away = False
                assert await have(node, feed.topic, count) == numbered(1, count)
                await until_settled(inlet, feed)

    async def test_what_cannot_be_stored_is_buried_and_acknowledged(self, feed: Feed, database: str) -> None:
        await self._behind(feed, database, feed.put_bad)

    async def test_what_the_library_cannot_read_costs_one_message(self, feed: Feed, database: str) -> None:
        reason = await self._behind(feed, database, feed.put_poison)
        assert "can't be read" in reason

    async def _behind(self, feed: Feed, database: str, put: Callable[[], Any]) -> str:
        async with at_work(database, feed) as node, reading(node, feed.source(feed.port)) as inlet:
            await feed.until_read()
            await feed.put("1")
            await put()
            await feed.put("2")
            assert await have(node, feed.topic, 2) == ["1", "2"]
            [reason] = await until_buried(node, 1)
            await until_settled(inlet, feed)
            [report] = await node.bridge_store.reports("in")
            assert report.state == "up", "the line went on"
        return reason

    async def test_stored_and_not_acknowledged_it_is_there_once(self, feed: Feed, database: str) -> None:
        lost = [3]
        async with at_work(database, feed) as node:
            source = feed.source(feed.port)
            acknowledge = source.acknowledge

            async def dying(settled: Any) -> None:
                if lost[0]:
                    lost[0] -= 1
                    raise SourceLost("killed")
                await acknowledge(settled)

            source.acknowledge = dying  # type: ignore[method-assign]
            async with reading(node, source) as inlet:
                for number in ("1", "2", "3", "4"):
                    await feed.until_read()
                    await feed.put(number)
                    await have(node, feed.topic, int(number))
                await until_settled(inlet, feed)
            assert await contents(node, feed.topic) == ["1", "2", "3", "4"]
            assert lost == [0]

    async def test_a_defect_of_ours_is_not_taken_for_the_end_of_a_line(self, feed: Feed, database: str) -> None:
        """RuntimeError is what libraries raise at the end of theirs."""

        async def broken() -> Any:
            raise RuntimeError("ours")

        async with at_work(database, feed) as node:
            source = feed.source(feed.port)
            source.receive = broken  # type: ignore[method-assign]
            inlet = Inlet("in", "test", source, node, Settings(auth_mode="open"), schedule=QUICK)
            with pytest.raises(ExceptionGroup) as failure:
                await asyncio.wait_for(inlet.run(), TIME)
            assert failure.group_contains(RuntimeError, match="ours")

    async def test_a_database_that_is_away_while_the_line_is_opened_is_waited_for(
        self, feed: Feed, database: str
    ) -> None:
        away = [2]
        async with at_work(database, feed) as node:
            source = feed.source(feed.port)
            opened = source.open

            async def asking_first() -> None:
                if away[0]:
                    away[0] -= 1
                    raise Unavailable
                await opened()

            source.open = asking_first  # type: ignore[method-assign]
            async with reading(node, source):
                await feed.until_read()
                await feed.put("1")
                assert await have(node, feed.topic, 1) == ["1"]

    async def test_paused_it_reads_nothing_and_resumed_it_goes_on(self, feed: Feed, database: str) -> None:
        async with at_work(database, feed) as node, reading(node, feed.source(feed.port)) as inlet:
            await feed.until_read()
            await feed.put("1")
            await have(node, feed.topic, 1)
            await until_settled(inlet, feed)
            await self._pause(node, True)
            await until(lambda: _is_closed(inlet), within=TIME)
            if feed.keeps:
                await feed.put("2", "3")
                assert await feed.ready() == 2
            await self._pause(node, False)
            await feed.until_read()
            await feed.put("4")
            expected = ["1", "2", "3", "4"] if feed.keeps else ["1", "4"]
            assert await have(node, feed.topic, len(expected)) == expected

    async def _pause(self, node: Node, paused: bool) -> None:
        user_id = await node.bridge_store.pause("in", paused)
        assert user_id is not None
        node.bus.tell(Changed(user_id))


async def _is_closed(inlet: Inlet) -> bool:
    return not inlet.is_open
