"""The bridges as they are started: `python -m bridges`, killed, doubled, and with a wrong configuration."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aio_pika.exceptions import ChannelNotFoundEntity
from websockets.asyncio.client import connect

from support.lanes import publish, working
from support.programs import Program, recado
from support.rabbit_readers import Office, offers
from support.rabbit_server import Rabbit, fresh
from support.waiting import until
from support.ws import receive

SECRET = "a-secret-that-is-only-for-these-tests-32+"


@asynccontextmanager
async def bridges(database: str, rabbit: Rabbit, **environ: str) -> AsyncIterator[Program]:
    """One process; killed at the end if it has not ended by then."""
    given = {"DATABASE_URL": database, "JWT_SECRET": SECRET, "RABBITMQ_URL": rabbit.url, "AUTH_MODE": "open"}
    program = await Program.start(sys.executable, "-m", "bridges", **given, **environ)
    try:
        yield program
    finally:
        await program.end(signal.SIGKILL)


async def test_killed_at_any_moment_nothing_is_lost_or_doubled(rabbit: Rabbit, database: str) -> None:
    """Between COMMIT and the acknowledgement, too: what comes again is known by its id."""
    ana = fresh("ana")
    await rabbit.put(ana, *offers(range(600)), message_ids=[str(number) for number in range(600)])
    async with working(database) as node:
        desk = Office(node, rabbit)
        await node.actions.know(ana)
        for stored in (1, 150, 300):
            async with bridges(database, rabbit) as program:
                await program.line("^ready$")
                await desk.has(f"@{ana}", stored)
        async with bridges(database, rabbit) as program:
            assert await desk.has(f"@{ana}", 600, 60) == [str(number) for number in range(600)]
            await until(lambda: desk.is_drained(ana))
            assert await program.end() == 0
    assert await rabbit.waiting(ana) == 0


async def test_of_two_processes_one_works_and_the_other_takes_over(rabbit: Rabbit, database: str) -> None:
    ana = fresh("ana")
    async with working(database) as node:
        desk = Office(node, rabbit)
        await node.actions.know(ana)
        async with bridges(database, rabbit) as first, bridges(database, rabbit) as second:
            await first.line("^ready$")
            await second.line("^ready$")
            await rabbit.put(ana, *offers(["Rome"]))
            await desk.has(f"@{ana}", 1)
            assert await desk.consumers(ana) == 1
            await first.end(signal.SIGKILL)
            await rabbit.put(ana, *offers(["Oslo"]))
            assert await desk.has(f"@{ana}", 2) == ["Rome", "Oslo"]
            await second.end(signal.SIGKILL)


async def test_both_directions_from_one_file(rabbit: Rabbit, database: str, tmp_path: Path) -> None:
    """An inbox to a legacy consumer, whose queue is then not read; another queue to its inbox; one to a topic."""
    ana, bob, orders = fresh("ana"), fresh("bob"), fresh("orders")
    path = tmp_path / "bridges.toml"
    path.write_text(
        f'[[rabbitmq.out]]\nname = "legacy"\ntopics = "@{ana}"\nqueue = "{{user}}"\npayload = "prontogram"\n'
        f'[[rabbitmq.in]]\nname = "orders"\nqueue = "{orders}"\ntopic = "shop.orders"\n'
    )
    async with working(database) as node, bridges(database, rabbit, BRIDGES_FILE=str(path)) as program:
        desk = Office(node, rabbit)
        await program.line("^ready$")
        await node.store.know([ana, bob])

        async def is_member() -> bool:
            return any(report.name == "legacy" for report in await node.bridge_store.reports())

        await until(is_member)
        await publish(node, f"@{ana}", '"Rome"')
        await until(lambda: _has(rabbit, ana))
        [message] = await rabbit.take(ana, 1)
        assert json.loads(message.body)["body"] == "Rome" and await desk.consumers(ana) == 0
        await rabbit.put(bob, *offers(["Oslo"]))
        await rabbit.put(orders, b'{"n":1}')
        assert await desk.has(f"@{bob}", 1) == ["Oslo"] and await desk.has("shop.orders", 1) == [{"n": 1}]
        assert await program.end() == 0


async def _has(rabbit: Rabbit, queue: str) -> bool:
    try:
        return await rabbit.waiting(queue) == 1
    except ChannelNotFoundEntity:
        return False


async def test_it_starts_and_serves_while_rabbitmq_is_away(rabbit: Rabbit, database: str) -> None:
    ana = fresh("ana")
    await rabbit.kill()
    try:
        async with working(database) as node, bridges(database, rabbit) as program:
            await program.line("^ready$")
            await program.line("prontogram is waiting: RabbitMQ: .*refused")
            await node.actions.know(ana)
            await rabbit.start()
            await rabbit.put(ana, *offers(["Rome"]))
            assert await Office(node, rabbit).has(f"@{ana}", 1) == ["Rome"]
    finally:
        if not rabbit.is_running:
            await rabbit.start()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('[[rabbitmq.out]]\nname = "a"\ntopics = "@*"\nqueue = "{user}"\n[[rabbitmq.in]]\nname = "b"\nqueue = "ana"\n'
         'topic = "t"\n', "bridge 'b': 'a' fills its queue 'ana'; a queue has one direction"),
        ('[[rabbitmq.out]]\nname = "a"\n', "topics"),
    ],
    ids=["directions", "incomplete"],
)  # fmt: skip
async def test_a_wrong_file_is_one_line(rabbit: Rabbit, database: str, tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "bridges.toml"
    path.write_text(text)
    async with bridges(database, rabbit, BRIDGES_FILE=str(path)) as program:
        match = await program.line("^bridges: (.*)")
        assert "BRIDGES_FILE" in match[1] and why in match[1]
        async with asyncio.timeout(20):
            assert await program.process.wait() == 1


async def test_the_one_command_reads_the_users_queues(rabbit: Rabbit) -> None:
    """RABBITMQ_URL alone: a legacy producer's text is on a WebSocket, at once and when its reader comes later."""
    async with recado(RABBITMQ_URL=rabbit.url) as program:
        url = program.url_of("omar")
        await rabbit.put("omar", *offers(["while away"]))
        async with connect(url, proxy=None) as link:
            assert (await receive(link, "message"))["content"] == "while away"
            await rabbit.put("omar", *offers(["live"]))
            assert (await receive(link, "message"))["content"] == "live"
