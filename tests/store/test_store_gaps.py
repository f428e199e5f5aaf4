"""What is missing is said: before, between and after what is left, with its reason, purged or not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from messaging.log.housekeeping import Housekeeping
from messaging.model import Gap, Message, Page, Topic
from messaging.settings.settings import Settings
from messaging.store.store import PAGE_ROWS, Move
from support.log import Desk, desk, draft, run
from support.raw_ws import raw_client
from support.ws import running


def shape(page: Page) -> list[Any]:
    """Seqs of messages, and gaps."""
    return [each.seq if isinstance(each, Message) else (each.first, each.last, each.reason) for each in page.entries]


async def page(node: Desk, topic: Topic, after: int, budget: int = 10**6) -> Page:
    found, _ = await node.store.page(topic, after, budget)
    return found


async def ten(node: Desk, name: str = "noticias") -> Topic:
    """A topic with ten messages."""
    topic_id = await node.topic(name)
    await node.publish_all([draft(topic_id, n, ttl=3600) for n in range(1, 11)])
    return (await node.membership("ana", topic_id)).topic


CASES = [
    ({1}, 0, [(1, 1, "expired"), 2, 3, 4, 5, 6, 7, 8, 9, 10]),
    ({1, 2, 3}, 0, [(1, 3, "expired"), 4, 5, 6, 7, 8, 9, 10]),
    ({4, 5, 8}, 0, [1, 2, 3, (4, 5, "expired"), 6, 7, (8, 8, "expired"), 9, 10]),
    ({9, 10}, 6, [7, 8, (9, 10, "expired")]),
    ({4, 5}, 4, [(5, 5, "expired"), 6, 7, 8, 9, 10]),
    (set(range(1, 11)), 0, [(1, 10, "expired")]),
    (set(range(1, 11)), 10, []),
    (set(), 10, []),
]


@pytest.mark.parametrize("purged", [True, False], ids=["purged", "not purged"])
async def test_what_has_expired_is_a_gap(database: str, purged: bool) -> None:
    """By the database's clock, from that moment on, and not from when the purge comes round."""
    async with desk(database) as ana:
        for number, (missing, after, expected) in enumerate(CASES):
            topic = await ten(ana, f"t{number}")
            seqs = ",".join(map(str, [0, *missing]))
            await run(
                database,
                f"UPDATE recado.messages SET expires_at = now() WHERE topic_id = {topic.id} AND seq IN ({seqs})",
            )
            if purged:
                await Housekeeping(ana.store, Settings()).round()
            found = await page(ana, topic, after)
            assert shape(found) == expected
            assert (found.last, found.head) == (10, 10)
            kept = [message.seq for message in await ana.store.history(topic.id, after, 99, 99, None, newest=False)]
            assert kept == [seq for seq in range(after + 1, 11) if seq not in missing]


async def test_pages_cut_by_their_size_leave_the_rest_to_the_next(database: str) -> None:
    """What follows a cut is not missing; gaps stand where they are, in whichever page."""
    async with desk(database) as ana:
        topic = await ten(ana)
        await run(database, "DELETE FROM recado.messages WHERE seq IN (1, 5, 6, 10)")
        position, entries = 0, []
        while position < 10:
            found = await page(ana, topic, position, 1)
            assert sum(isinstance(entry, Message) for entry in found.entries) <= 1
            assert found.last > position
            entries += shape(found)
            position = found.last
        gaps = [entry for entry in entries if isinstance(entry, tuple)]
        assert gaps == [(1, 1, "expired"), (5, 6, "expired"), (10, 10, "expired")]
        assert [entry for entry in entries if isinstance(entry, int)] == [2, 3, 4, 7, 8, 9]


async def test_pages_cut_by_their_rows(database: str) -> None:
    async with desk(database) as ana:
        topic_id = await ana.topic("noticias")
        topic = (await ana.membership("ana", topic_id)).topic
        await ana.publish(topic_id, *range(2 * PAGE_ROWS))
        await run(database, f"DELETE FROM recado.messages WHERE seq = {PAGE_ROWS + 1}")
        first = await page(ana, topic, 0)
        assert (shape(first), first.last, first.head) == (list(range(1, PAGE_ROWS + 1)), PAGE_ROWS, 2 * PAGE_ROWS)
        second = await page(ana, topic, first.last)
        assert shape(second)[0] == (PAGE_ROWS + 1, PAGE_ROWS + 1, "expired")
        assert (shape(second)[1:], second.last) == (list(range(PAGE_ROWS + 2, 2 * PAGE_ROWS + 1)), 2 * PAGE_ROWS)


async def test_an_inbox_tells_what_was_seen_from_what_expired(database: str) -> None:
    """Up to the highest cursor it was seen, by another device; beyond it nobody has."""
    async with desk(database) as ana:
        topic = await ana.inbox("omar")
        omar = (await ana.store.user("omar")).id
        await ana.store.see_device(omar, "phone")
        id_ = (await ana.membership("omar", topic.id)).id
        await ana.publish_all([draft(topic.id, n, ttl=3600) for n in range(1, 11)])
        await ana.store.move_cursors([Move(topic.id, id_, "phone", 4)])
        await Housekeeping(ana.store, Settings()).round()
        assert shape(await page(ana, topic, 0)) == [(1, 4, "seen"), 5, 6, 7, 8, 9, 10]
        await run(database, "UPDATE recado.messages SET expires_at = now() WHERE seq IN (5, 6, 9)")
        expected = [(1, 4, "seen"), (5, 6, "expired"), 7, 8, (9, 9, "expired"), 10]
        assert shape(await page(ana, topic, 0)) == expected
        await Housekeeping(ana.store, Settings()).round()
        assert shape(await page(ana, topic, 0)) == expected
        assert shape(await page(ana, topic, 3)) == [(4, 4, "seen"), *expected[1:]]


async def test_other_topics_know_no_seen(database: str) -> None:
    async with desk(database) as ana:
        topic = await ten(ana)
        await ana.store.see_device((await ana.store.user("ana")).id, "")
        id_ = (await ana.membership("ana", topic.id)).id
        await ana.store.move_cursors([Move(topic.id, id_, "", 10)])
        await run(database, "DELETE FROM recado.messages WHERE seq < 9")
        assert shape(await page(ana, topic, 0)) == [(1, 8, "expired"), 9, 10]


async def test_page_and_head_are_of_one_moment(database: str) -> None:
    """A message committed after the page was read is beyond its head: it is never taken for a gap."""
    async with desk(database) as ana, desk(database) as omar:
        topic = await ten(ana)

        async def write() -> None:
            for _ in range(100):
                await omar.publish(topic.id, *range(10))

        writing = asyncio.create_task(write())
        position = 0
        while position < 1010:
            found = await page(ana, topic, position)
            assert not any(isinstance(entry, Gap) for entry in found.entries)
            position = found.last
        await writing


async def test_a_reader_gets_the_gaps_in_place(database: str) -> None:
    """As people see it: message, gap, message, each seq covered once."""
    async with running(database) as recado:
        await recado.topic("noticias", "omar", "diego")
        async with recado.client("omar") as omar:
            for n in range(1, 7):
                await omar.send(f'{{"action":"message","topic_name":"noticias","content":{n},"id":"{n}"}}')
            while '"id":"6"' not in str(await omar.recv()):
                pass
        await run(
            database,
            "DELETE FROM recado.messages WHERE seq IN (1, 2);"
            "UPDATE recado.messages SET expires_at = now() - interval '1 second' WHERE seq IN (4, 6)",
        )
        async with raw_client(recado.url, f"/{recado.token('diego')}") as diego:
            await diego.ping_behind(5)
            frames = [t for t in diego.texts if t["action"] in ("message", "gap")]
            assert [(t.get("from"), t.get("to"), t.get("reason")) if "from" in t else t["seq"] for t in frames] == [
                (1, 2, "expired"), 3, (4, 4, "expired"), 5, (6, 6, "expired"),
            ]  # fmt: skip
