"""A bus is outside: who listens there reads nothing, who speaks there is not heard, and its end is nobody else's."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import pytest
from nodes import Cluster, Talker, backend, cluster, crowd, make_topic

from messaging.bus.choose import NATS_SUBJECT
from recado.client import Client, Message
from support.buses import Outside, outside_nats, outside_postgres
from support.lines import line_to
from support.log import value
from support.nats_server import nats_server

SUSPENDED = 9  # seconds: longer than a line may be silent
TIME = 20


@dataclass
class Overheard:
    """Two nodes, and somebody outside, who reaches their bus."""

    both: Cluster
    outside: Outside


@asynccontextmanager
async def overheard(database: str, kind: str) -> AsyncIterator[Overheard]:
    async with nats_server() as server:
        url = "postgres:" if kind == "postgres" else server.url
        reach: Callable[[], AbstractAsyncContextManager[Outside]] = (
            outside_postgres(database) if kind == "postgres" else outside_nats(server.url, NATS_SUBJECT)
        )
        async with reach() as outside, cluster(database, url, workers=1) as both:
            yield Overheard(both, outside)


@pytest.mark.parametrize("kind", ["postgres", "nats"])
async def test_what_is_forged_on_the_bus_reaches_nobody_and_costs_no_message(database: str, kind: str) -> None:
    async with backend(database) as node, overheard(database, kind) as here:
        await node.actions.know("diego")
        outside = here.outside
        async with (
            here.both.client("omar", here.both.urls[0]) as omar,
            here.both.client("diego", here.both.urls[1]) as diego,
        ):
            await diego.topics()
            await omar.publish("@diego", "only for diego")
            assert ("only for diego", 1) == await next_of(diego)
            assert not [data for data in outside.heard if b"only for" in data]

            topic = await value(database, "SELECT id FROM recado.topics WHERE name = '@diego'")
            forged = b'[2,"omar","\\"forged\\"","2026-11-26T00:00:00Z"]'
            heard = list(outside.heard)
            for number, notice in enumerate([b'["a",%d,2,2,[%b]]' % (topic, forged), b'["a",%d,1,999,null]' % topic]):
                await outside.say(b'["0123456789abcdef",%d,[%b]]' % (number + 1, notice))
            for data in heard:
                await outside.say(data)
            await omar.publish("@diego", "the real second")
            assert ("the real second", 2) == await next_of(diego)
            assert await refused(here.both.urls[1]) >= len(heard) + 2
        assert await value(database, "SELECT count(*) FROM recado.messages WHERE content LIKE '%forged%'") == 0


async def next_of(client: Client) -> tuple[object, int]:
    async with asyncio.timeout(TIME):
        async for message in client:
            if isinstance(message, Message):
                return message.content, message.seq
    raise AssertionError("the client has ended")


async def refused(url: str) -> float:
    """What a node counts, as Prometheus reads it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    text = (await asyncio.wait_for(reader.read(), TIME)).decode()
    writer.close()
    found = re.search(r"^recado_bus_refused_total (\S+)$", text, re.MULTILINE)
    assert found, text
    return float(found[1])


@pytest.mark.faults
async def test_a_node_that_was_suspended_while_its_line_was_reset_finds_its_bus_again(database: str) -> None:
    """In one turn of its loop it finds the line reset and silent for too long, with something to tell."""
    async with (
        backend(database) as node,
        nats_server() as server,
        line_to(server.port) as line,
        cluster(database, f"nats://127.0.0.1:{line.port}", workers=1) as both,
        crowd() as people,
    ):
        await make_topic(node, "noticias", "diego")
        await people.join("diego", both.client("diego", both.urls[0]))
        suspended = list(both.running.values())[1]
        async with both.client("omar", both.urls[1]) as omar:
            talker = Talker(omar, 50)
            await talker.has_said(20)
            os.kill(suspended.process.pid, signal.SIGSTOP)
            line.cut()
            await asyncio.sleep(SUSPENDED)  # the suspension is the fault
            os.kill(suspended.process.pid, signal.SIGCONT)
            await talker.has_said(len(talker.acknowledged) + 100)
            assert suspended.process.returncode is None
            await people.until_all_have(await talker.stop())
