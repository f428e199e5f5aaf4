"""Cursors in the store: they only rise, whoever moves them, and in whatever order."""

from __future__ import annotations

import asyncio
import random

from messaging.readers.cursors import MAX_MOVES, Cursors
from messaging.store.store import Move
from support.log import Desk, connected, desk, rows, value, waits_for_lock


async def reading(node: Desk, topic: str, user: str, *devices: str) -> tuple[int, int]:
    """A topic with this member and its devices: the ids of topic and membership."""
    topic_id = await node.topic(topic, "ana", user)
    for device in devices:
        await node.store.see_device((await node.store.user(user)).id, device)
    return topic_id, (await node.membership(user, topic_id)).id


async def stored(dsn: str) -> dict[str, int]:
    return dict(await rows(dsn, "SELECT device, seq FROM recado.cursors WHERE seq > 0"))


async def test_a_cursor_only_rises(database: str) -> None:
    async with desk(database) as ana:
        topic_id, id_ = await reading(ana, "noticias", "omar", "", "phone")
        for seq, expected in ((3, 3), (1, 3), (3, 3), (7, 7), (6, 7), (0, 7), (8, 8)):
            await ana.store.move_cursors([Move(topic_id, id_, "", seq)])
            assert await stored(database) == {"": expected}
        await ana.store.move_cursors([Move(topic_id, id_, "phone", 2)])
        assert await stored(database) == {"": 8, "phone": 2}


async def test_nodes_move_the_same_cursors_at_once(database: str) -> None:
    """In orders of their own, and without a deadlock: each cursor ends at the highest."""
    async with desk(database) as ana:
        devices = [f"d{n}" for n in range(8)]
        topic_id, id_ = await reading(ana, "noticias", "omar", *devices)
        highest = dict.fromkeys(devices, 0)
        batches = []
        for _ in range(60):
            batch = [Move(topic_id, id_, device, random.randint(1, 1000)) for device in random.sample(devices, 6)]
            batches.append(batch)
            for move in batch:
                highest[move.device] = max(highest[move.device], move.seq)
        await asyncio.gather(*(ana.store.move_cursors(batch) for batch in batches))
        assert await stored(database) == highest
        assert await value(database, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0


async def test_a_move_waits_for_the_one_before_and_does_not_undo_it(database: str) -> None:
    async with desk(database) as ana, connected(database) as other:
        topic_id, id_ = await reading(ana, "noticias", "omar", "")
        async with other.transaction():
            await other.execute("UPDATE recado.cursors SET seq = 9 WHERE membership_id = $1", id_)
            move = asyncio.create_task(ana.store.move_cursors([Move(topic_id, id_, "", 5)]))
            await waits_for_lock(database, "recado.move_cursors")
        await move
        assert await stored(database) == {"": 9}


async def test_a_cursor_that_is_not_there_is_not_made(database: str) -> None:
    """Of another device, an ended membership, a deleted topic: nothing, and no harm to the others in the batch."""
    async with desk(database) as ana:
        topic_id, id_ = await reading(ana, "noticias", "omar", "")
        moves = [
            Move(topic_id, id_, "unknown", 1), Move(topic_id, 10**9, "", 1), Move(10**9, id_, "", 1),
            Move(topic_id, id_, "", 2),
        ]  # fmt: skip
        await ana.store.move_cursors(moves)
        assert await stored(database) == {"": 2}


async def test_the_inboxes_among_them_are_named(database: str) -> None:
    async with desk(database) as ana:
        topic_id, id_ = await reading(ana, "noticias", "omar", "")
        inbox = await ana.inbox("omar")
        membership = await ana.membership("omar", inbox.id)
        assert await ana.store.move_cursors([Move(topic_id, id_, "", 1)]) == set()
        moves = [Move(topic_id, id_, "", 2), Move(inbox.id, membership.id, "", 1)]
        assert await ana.store.move_cursors(moves) == {inbox.id}


async def test_a_flush_moves_all_that_is_noted_the_highest_of_each(database: str) -> None:
    async with desk(database) as ana:
        topic_id, id_ = await reading(ana, "noticias", "omar", "", "phone")
        inbox = await ana.inbox("omar")
        membership = await ana.membership("omar", inbox.id)
        seen: list[set[int]] = []
        cursors = Cursors(ana.store, seen.append)
        for n in range(MAX_MOVES + 10):  # more than one statement takes
            cursors.move(n + 10**6, 1, "", 1)
        for seq in (4, 2, 3):
            cursors.move(topic_id, id_, "", seq)
        cursors.move(inbox.id, membership.id, "phone", 1)
        await cursors.flush()
        assert await rows(
            database, "SELECT topic_id, device, seq FROM recado.cursors WHERE seq > 0 ORDER BY 1"
        ) == sorted([(topic_id, "", 4), (inbox.id, "phone", 1)])
        assert set().union(*seen) == {inbox.id}
        assert cursors._moves == {}


async def test_what_is_noted_during_a_flush_is_flushed_as_well(database: str) -> None:
    """A flush that others wait for covers what they had noted before they asked."""
    async with desk(database) as ana, connected(database) as other:
        topic_id, id_ = await reading(ana, "noticias", "omar", "", "phone")
        cursors = Cursors(ana.store, lambda inboxes: None)
        async with other.transaction():
            await other.execute("SELECT FROM recado.cursors FOR UPDATE")
            cursors.move(topic_id, id_, "", 1)
            first = asyncio.create_task(cursors.flush())
            await waits_for_lock(database, "recado.move_cursors")
            cursors.move(topic_id, id_, "", 2)
            cursors.move(topic_id, id_, "phone", 3)
            second = asyncio.create_task(cursors.flush())
        await second
        assert await stored(database) == {"": 2, "phone": 3}
        await first


async def test_a_cancelled_flush_loses_nothing(database: str) -> None:
    async with desk(database) as ana, connected(database) as other:
        topic_id, id_ = await reading(ana, "noticias", "omar", "")
        cursors = Cursors(ana.store, lambda inboxes: None)
        async with other.transaction():
            await other.execute("SELECT FROM recado.cursors FOR UPDATE")
            cursors.move(topic_id, id_, "", 1)
            flush = asyncio.create_task(cursors.flush())
            await waits_for_lock(database, "recado.move_cursors")
            flush.cancel()
            await asyncio.gather(flush, return_exceptions=True)
        assert await stored(database) == {}
        await cursors.flush()
        assert await stored(database) == {"": 1}
