"""Rule 10: nothing is cancelled half-way, and the outcome of a COMMIT is always known, or said to be unknown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from messaging.errors import RecadoError
from support.log import HOLD_COMMIT, Desk, connected, desk, draft, rows, stored, value, waits_for_lock
from support.raw_ws import close, raw_client, text
from support.spare_postgres import Spare, spare_postgres
from support.waiting import until
from support.ws import Running, running


@pytest.fixture(scope="module")
async def spare() -> AsyncIterator[Spare]:
    async with spare_postgres() as found:
        yield found


async def log_of(recado: Running, name: str) -> list[tuple[int, Any]]:
    """Wait until a topic has messages; its log."""
    dsn = recado.node._dsn
    topic_id = await value(dsn, "SELECT id FROM recado.topics WHERE name = $1", name)

    return await until(lambda: stored(dsn, topic_id))


# --- the sender has gone ---------------------------------------------------------------------------


@pytest.mark.parametrize("early", [False, True], ids=["open", "opening"])
@pytest.mark.parametrize("how", ["reset", "close"])
async def test_a_sender_that_vanishes_at_once_has_sent(database: str, how: str, early: bool) -> None:
    """Its session may not even be open yet; the close frame may come in one piece with the message."""
    async with running(database) as recado:
        await recado.topic("noticias", "omar")
        async with raw_client(recado.url, f"/{recado.token('omar')}") as omar:
            if not early:
                await omar.greeted()
            omar.write(text(action="message", topic_name="noticias", content=1), *([close()] if how == "close" else []))
            if how == "reset":
                omar.reset()
            else:
                await omar.until(lambda: omar.closed)
            assert await log_of(recado, "noticias") == [(1, 1)]


async def test_a_publish_under_way_finishes_without_its_sender(database: str) -> None:
    """While its COMMIT is held up the sender goes; it is stored once, and everybody else gets it."""
    async with running(database) as recado, connected(database) as holder:
        await recado.topic("noticias", "omar", "diego")
        await holder.execute(HOLD_COMMIT)
        await holder.execute("SELECT pg_advisory_lock(42)")
        async with raw_client(recado.url, f"/{recado.token('diego')}") as diego:
            await diego.greeted()
            async with raw_client(recado.url, f"/{recado.token('omar')}") as omar:
                await omar.greeted()
                omar.write(text(action="message", topic_name="noticias", content=1, id="1"))
                await waits_for_lock(database, "recado.append")
                omar.reset()
            await until(lambda: sessions(recado, 1))
            await holder.execute("SELECT pg_advisory_unlock(42)")
            assert (await diego.message(1))["content"] == 1
        assert await log_of(recado, "noticias") == [(1, 1)]


async def test_an_ack_just_before_the_close_frame_counts(database: str) -> None:
    """Also where requests that wait for the database stand before it."""
    async with running(database) as recado:
        await recado.topic("noticias", "omar")
        async with raw_client(recado.url, f"/{recado.token('omar')}?ack=explicit") as omar:
            await omar.greeted()
            omar.write(text(action="message", topic_name="noticias", content=1))
            await omar.message(1)
            omar.write(text(action="topics"), text(action="ack", topic_name="noticias", seq=1), close())
            await omar.until(lambda: omar.closed)
        await recado.node.cursors.flush()
        assert await rows(database, "SELECT seq FROM recado.cursors WHERE topic_id > 1 ORDER BY seq") == [(0,), (1,)]


async def sessions(recado: Running, count: int) -> bool:
    return len(list(recado.door.hub.sessions())) == count


# --- the database dies -----------------------------------------------------------------------------


async def keep_publishing(ana: Desk, topic_id: int, sender: str, stop: asyncio.Event) -> dict[str, int]:
    """Publish one after another, each again with its key until it is acknowledged. By content, its seq."""
    receipts: dict[str, int] = {}
    number = 0
    while not stop.is_set():
        content = f"{sender} {number}"
        answer = await ana.submit(draft(topic_id, content, f"k{number}", sender=sender))
        if not isinstance(answer, RecadoError):
            assert answer.seq is not None
            receipts[content] = answer.seq
            number += 1
        else:
            assert answer.retryable, answer
    return receipts


@pytest.mark.parametrize("death", ["backend", "server", "restart"])
async def test_what_was_acknowledged_survives_the_death_of_the_database(spare: Spare, death: str) -> None:
    """Twice under load: nothing acknowledged is lost, nothing is there twice, each sender's order is kept."""
    dsn = await spare.database()
    async with desk(dsn) as ana:
        topic_ids = [await ana.topic("noticias"), await ana.topic("deporte")]
        stop = asyncio.Event()
        publishers = [
            asyncio.create_task(keep_publishing(ana, topic_ids[number % 2], f"u{number}", stop)) for number in range(8)
        ]
        for _ in range(2):
            count = len(ana.answers)
            await until(partial(progressed, ana, count + 100))
            await die(spare, dsn, death)
            count = len(ana.answers)
            await until(partial(progressed, ana, count + 50))
        stop.set()
        receipts: dict[str, int] = {}
        for publisher in publishers:
            receipts |= await publisher
    for topic_id in topic_ids:
        log = await stored(dsn, topic_id)
        contents = [content for _, content in log]
        assert len(set(contents)) == len(contents)
        for sender in {content.split()[0] for content in contents}:
            mine = [int(content.split()[1]) for content in contents if content.split()[0] == sender]
            assert mine == list(range(len(mine)))
        for seq, content in log:
            assert receipts.pop(content) == seq
    assert receipts == {}


async def progressed(ana: Desk, count: int) -> bool:
    return len(ana.answers) >= count


async def die(spare: Spare, dsn: str, death: str) -> None:
    match death:
        case "backend":  # the server ends all others, and recovers
            pids = await rows(
                dsn,
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
                " AND query LIKE '%recado.append%' LIMIT 1",
            )
            for (pid,) in pids or await rows(dsn, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'"):
                await spare.kill(pid)
        case "server":
            await spare.crash()
        case "restart":
            await spare.postgres.stop()
            await spare.start()
