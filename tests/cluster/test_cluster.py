"""Two nodes of two workers each, on each bus: everybody hears everybody, and no crash loses anything."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from nodes import Cluster, Talker, backend, cluster, crowd, make_topic

from messaging.permissions import BACKEND, Caller
from recado.client import Invited, Removed, SentAway, TokenRefused
from support.buses import socket_of, tcp_dsn
from support.lines import Line, line_to
from support.nats_server import nats_server

WITHIN = 20  # seconds: 10 promised, and a busy machine's slack
RATE = 500  # messages per second


@pytest.fixture(params=["postgres", "nats"])
async def bus_url(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    if request.param == "postgres":
        yield "postgres:"
    else:
        async with nats_server() as server:
            yield server.url


def complete(got: list[int], last: int) -> bool:
    return got == list(range(1, last + 1))


async def test_a_message_to_one_node_reaches_members_on_all(database: str, bus_url: str) -> None:
    members = [f"member-{number}" for number in range(8)]
    async with backend(database) as node, cluster(database, bus_url) as both, crowd() as people:
        await make_topic(node, "noticias", *members)
        for number, member in enumerate(members):  # enough that every worker has some
            await people.join(member, both.client(member, both.urls[number % 2]))
        async with both.client("omar", both.urls[0]) as here, both.client("omar", both.urls[1]) as there:
            for number in range(1, 21):
                await (here, there)[number % 2].publish("noticias", number)
        await people.until_all_have(20)

        assert all(complete(got, 20) for got in people.got.values())


async def test_a_node_killed_under_load_loses_nothing(database: str, bus_url: str) -> None:
    async with backend(database) as node, cluster(database, bus_url) as both, crowd() as people:
        await make_topic(node, "noticias", "diego", "satoshi")
        stays, dies = list(both.running)
        await people.join("diego", both.client("diego", both.urls[0]))
        await people.join("satoshi", both.client("satoshi", both.urls[1]))
        async with both.client("omar", both.urls[0]) as here, both.client("memoor", both.urls[1]) as there:
            await there.subscribe("noticias")
            talkers = [Talker(here, RATE / 2), Talker(there, RATE / 2)]
            for _ in range(2):
                said = len(talkers[0].acknowledged)
                await talkers[0].has_said(said + 200)
                await both.end(dies, signal.SIGKILL)
                await talkers[0].has_said(said + 400)
                await both.start(dies)
            last = max([await talker.stop() for talker in talkers])
        await people.until_all_have(last)

        assert complete(sorted(seq for talker in talkers for seq in talker.acknowledged), last)
        assert all(complete(got, last) for got in people.got.values())
        assert stays in both.running


async def test_a_rolling_restart_loses_nothing(database: str, bus_url: str) -> None:
    async with backend(database) as node, cluster(database, bus_url) as both, crowd() as people:
        await make_topic(node, "noticias", "diego", "satoshi")
        await people.join("diego", both.client("diego", both.urls[0]))
        await people.join("satoshi", both.client("satoshi", both.urls[1]))
        async with both.client("omar", both.urls[0]) as omar:
            talker = Talker(omar, RATE)
            for port in list(both.running):
                await talker.has_said(len(talker.acknowledged) + 300)
                await both.end(port)
                await both.start(port)
            last = await talker.stop()
        await people.until_all_have(last)

        assert complete(sorted(talker.acknowledged), last)
        assert all(complete(got, last) for got in people.got.values())


@asynccontextmanager
async def dead_bus(database: str, kind: str) -> AsyncIterator[tuple[Cluster, Line]]:
    """A cluster whose bus goes over a line that the test holds."""
    async with AsyncExitStack() as stack:
        if kind == "postgres":
            line = await stack.enter_async_context(line_to(socket_of(database)))
            url = tcp_dsn(database, line.port)
        else:
            server = await stack.enter_async_context(nats_server())
            line = await stack.enter_async_context(line_to(server.port))
            url = f"nats://127.0.0.1:{line.port}"
        yield await stack.enter_async_context(cluster(database, url, workers=1)), line


@pytest.mark.parametrize("kind", ["postgres", "nats"])
async def test_with_the_bus_dead_everything_takes_ten_seconds_at_most(database: str, kind: str) -> None:
    async with backend(database) as node, dead_bus(database, kind) as (both, line), crowd() as people:
        await make_topic(node, "noticias", "diego")
        await people.join("diego", both.client("diego", both.urls[1]))
        async with both.client("omar", both.urls[0]) as omar, both.client("satoshi", both.urls[1]) as satoshi:
            await omar.publish("noticias", "while the bus lives")
            await people.until_all_have(1)
            await satoshi.topics()

            line.silence()  # nobody is told that the line is dead
            await omar.publish("noticias", "into the silence")
            await people.until_all_have(2, WITHIN)

            await line.close()  # no line, and no new one: a minute would be no different
            for number in range(3, 12):
                await omar.publish("noticias", number)
            await people.until_all_have(11, WITHIN)

            async with asyncio.timeout(WITHIN):
                await node.actions.invite(Caller(await node.actions.user("omar")), "noticias", "satoshi")
                assert Invited("noticias", "omar") == await satoshi.next()
            async with asyncio.timeout(WITHIN):
                await node.actions.unsubscribe(BACKEND, await node.actions.user("satoshi"), "noticias")
                while not isinstance(await satoshi.next(), Removed):
                    pass
            async with asyncio.timeout(WITHIN):
                await node.actions.revoke_user("satoshi")
                with pytest.raises((SentAway, TokenRefused)):
                    await satoshi.next()
        assert complete(people.got["diego"], 11)


async def test_a_worker_that_dies_is_started_again(database: str) -> None:
    async with backend(database) as node, cluster(database, "postgres:", nodes=1, workers=2) as one:
        await make_topic(node, "noticias", "diego")
        (program,) = one.running.values()
        parent = program.process.pid
        before = children(parent)
        assert 2 == len(before)
        os.kill(before[0], signal.SIGKILL)
        await program.line("starting another")
        async with one.client("omar", one.urls[0]) as omar:
            assert 1 == await omar.publish("noticias", "still here")
        await program.line("worker [0-9]+ is ready")
        after = children(parent)
        assert 2 == len(after)
        assert before[1] in after


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
