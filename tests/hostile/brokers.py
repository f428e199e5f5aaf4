"""Attacks through a broker: what its clients' libraries can't read, who listens to everything, a line that is reset."""

from __future__ import annotations

import asyncio
import os
import signal
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
from aiormq.abc import ChannelFrame
from nats.aio.msg import Msg
from pamqp import frame as amqp
from pamqp.body import ContentBody
from pamqp.commands import Basic

from hostile.measuring import Arrivals, Row, every
from hostile.peers import EVENT, one_command
from hostile.rig import SECRET, Server
from support.lines import line_to
from support.nats_server import Nats, nats_server
from support.rabbit_readers import offers
from support.rabbit_server import Rabbit, rabbit_server
from support.raw_ws import raw_client, text
from support.waiting import until

SOON_RABBIT = 5.0  # seconds within which what is behind a bad message, or beside it, must be there
SOON_NATS = 2.0
FOUND_AGAIN = 10.0
MICROSECONDS = 1_700_000_000_000_000  # as a timestamp, where AMQP has seconds
HEADER, HAS_TIMESTAMP, FRAME_END = 2, 1 << 6, b"\xce"  # AMQP 0-9-1, 4.2.3 and 4.2.6.1
SUSPENDED = 10.0
SUSPENDED_NODES = 3  # the fault is met in one of three: whether the end is read before the timers have run
LENGTH = 20_000


async def property_of_amqp(row: Row) -> None:
    """Each second a message with a time in microseconds into one user's queue, good ones behind it and beside it."""
    (folder := row.rig.folder / "rabbit").mkdir()
    async with rabbit_server(folder) as rabbit, one_command(row, RABBITMQ_URL=rabbit.url) as (_, bystander):
        users = ["mallory", "ana"]
        for user in users:
            await row.rig.node.actions.know(user)
            await rabbit.put(user, *offers(["before"]))
        for user in users:
            await row.rig.has(f"@{user}", 1)

        async def put(number: int) -> None:
            await _unreadable(rabbit, "mallory")
            for user in users:
                await rabbit.put(user, *offers([number]))
                waits[user].put()

        async with row.arrivals("@mallory", 1) as behind, row.arrivals("@ana", 1) as beside:
            waits = {"mallory": behind, "ana": beside}
            await row.measure(lambda: every(1, put), bystander)
            row.found.check(behind.worst() <= SOON_RABBIT, f"behind it within {behind.worst():.1f} s")
            row.found.check(beside.worst() <= SOON_RABBIT, f"beside it within {beside.worst():.1f} s")


async def subject_of_nats(row: Row) -> None:
    """Each second a subject that is no UTF-8 into a stream that a bridge reads, and a good one behind it."""
    config = row.rig.file("bridges.toml", '[[nats.in]]\nname = "ny"\nsubject = "ny.>"\ntopic = "ny"\n')
    async with nats_server(folder=row.rig.folder / "nats") as nats:
        await nats.make_stream("NY", "ny.>")
        async with one_command(row, NATS_URL=nats.url, BRIDGES_FILE=config) as (_, bystander), _raw(nats) as writer:
            writer.write(b"PUB ny.ok 1\r\n0\r\n")
            await row.rig.has("ny", 1)

            async def put(number: int) -> None:
                writer.write(b"PUB ny.\xff 3\r\nabc\r\nPUB ny.ok 1\r\n7\r\n")
                behind.put()

            async with row.arrivals("ny", 1) as behind:
                await row.measure(lambda: every(1, put), bystander)
                row.found.check(behind.worst() <= SOON_NATS, f"behind it within {behind.worst():.1f} s")
            dead = await row.rig.sql.fetchval("SELECT count(*) FROM recado.dead_letters")
            row.found.check(dead > 0, f"{dead} dead letters")


async def listener_to_everything(row: Row) -> None:
    """Core NATS without JetStream, a bridge out, and somebody who subscribes to all of it."""
    heard = Arrivals()
    asked: list[str] = []

    async def hear(message: Msg) -> None:
        if message.subject.startswith("updates.store."):
            heard.come()
        elif message.subject.startswith("$JS."):
            asked.append(message.subject)

    async with (
        nats_server() as nats,
        one_command(row, NATS_URL=nats.url) as (server, bystander),
        nats.client() as client,
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {SECRET}"}) as http,
    ):

        async def publish(number: int) -> None:
            shop = f"3c6e0b8a-9c15-424a-8d1e-{number:012x}"
            event = EVENT | {"shop_id": shop, "product_price": 3}
            async with http.post(f"{server.api}/publish/{shop}", json=event) as answer:
                assert answer.status == 200, await answer.text()
            heard.put()

        async def listen() -> None:
            await client.subscribe(">", cb=hear)
            await client.flush()
            await every(1, publish)

        await row.measure(listen, bystander)
        row.found.check(heard.worst() <= SOON_NATS, f"heard within {heard.worst():.1f} s")
        row.found.check(not asked, f"{len(asked)} questions to JetStream heard")


async def bus_reset(row: Row) -> None:
    """Nodes are suspended for ten seconds at their work; their lines to the bus are reset meanwhile."""
    await row.rig.database()
    async with nats_server() as nats, line_to(nats.port) as line, AsyncExitStack() as stack:
        server = await row.rig.start("ws_server", BUS_URL=nats.url)
        bystander = await stack.enter_async_context(row.bystander(server))
        victims = [
            await row.rig.start("ws_server", BUS_URL=f"nats://127.0.0.1:{line.port}") for _ in range(SUSPENDED_NODES)
        ]
        readers = [await stack.enter_async_context(row.bystander(victim, every=None)) for victim in victims]

        async def suspend() -> None:
            talking = [asyncio.create_task(_talk(row, victim)) for victim in victims]
            try:
                for victim in victims:
                    await _suspend_at_work(victim.pid)
                line.cut()  # at once: what was sent meanwhile would be read before the end is met
                await asyncio.sleep(SUSPENDED)
            finally:
                for task, victim in zip(talking, victims, strict=True):
                    task.cancel()
                    os.kill(victim.pid, signal.SIGCONT)
            woken = asyncio.get_running_loop().time()

            def again() -> bool:
                heard = [[n for _, n in reader.heard.values()] for reader in readers]
                return all(any(bystander.sent[n] > woken for n in each) for each in heard)

            with suppress(TimeoutError):
                await until(again, within=FOUND_AGAIN)
            row.found.check(again(), f"all hear the others again within {FOUND_AGAIN:.0f} s")

        await row.measure(suspend, bystander, least=SUSPENDED + FOUND_AGAIN + 3)


async def _talk(row: Row, server: Server) -> None:
    """Keep a node at work that tells the bus nothing, so that its next heartbeat is due once it wakes."""
    await row.rig.node.actions.know("mallory")
    async with raw_client(server.url, f"/{row.rig.token('mallory')}") as client:
        while True:
            client.write(*[text(action="no such action", content="x" * LENGTH)] * 10)
            await asyncio.sleep(0.02)


async def _suspend_at_work(pid: int) -> None:
    """Stop a process in a callback, not while it waits: then it reads before its timers, which are due, have run."""
    async with asyncio.timeout(SUSPENDED):
        while True:
            os.kill(pid, signal.SIGSTOP)
            while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":  # noqa: ASYNC110
                await asyncio.sleep(0)
            if Path(f"/proc/{pid}/syscall").read_text().startswith("-1 "):
                return
            os.kill(pid, signal.SIGCONT)
            await asyncio.sleep(0.001)


@asynccontextmanager
async def _raw(nats: Nats) -> AsyncIterator[asyncio.StreamWriter]:
    """A client that no library keeps from sending what it wants."""
    _, writer = await asyncio.open_connection("127.0.0.1", nats.port)
    writer.write(b'CONNECT {"verbose":false}\r\n')
    try:
        yield writer
    finally:
        writer.close()


async def _unreadable(rabbit: Rabbit, queue: str) -> None:
    body = b"{}"
    header = struct.pack("!HHQHQ", Basic.frame_id, 0, len(body), HAS_TIMESTAMP, MICROSECONDS)
    async with rabbit.channel() as channel:
        line: Any = await channel.get_underlay_channel()
        await line.write_queue.put(ChannelFrame(
            amqp.marshal(Basic.Publish(exchange="", routing_key=queue), line.number)
            + struct.pack("!BHI", HEADER, line.number, len(header)) + header + FRAME_END
            + amqp.marshal(ContentBody(body), line.number), False,
        ))  # fmt: skip
        await channel.declare_queue(queue, passive=True)  # answered behind it
