"""Which log a seq belongs to: told before a topic's first frame, to those who ask; another after a restore."""

from __future__ import annotations

import json
from typing import Any

import pytest

import messaging.readers.cursors
from messaging.permissions import BACKEND
from support.log import connected
from support.members import Log, Publisher, cursor, read_until, until_confirmed
from support.raw_members import RawClient
from support.waiting import until
from support.ws import Running, receive, running, send

NEVER = 3600.0


async def first_frames(link: Any, count: int) -> list[dict[str, Any]]:
    """So many frames behind the greeting."""
    await receive(link, "connected")
    return [await receive(link) for _ in range(count)]


def shapes(frames: list[dict[str, Any]]) -> list[tuple[str, str, Any]]:
    return [(frame["action"], frame["topic_name"], frame.get("seq", frame.get("last_seq"))) for frame in frames]


async def test_who_asks_is_told_before_the_first_frame_of_each_topic(database: str) -> None:
    """Caught up with or live; a topic without frames says nothing at opening."""
    async with running(database) as recado:
        for topic in ("full", "live", "silent"):
            await recado.topic(topic, "omar", "diego")
        await Publisher(recado).publish("full", [1, 2])
        async with recado.client("diego", "?epoch=1") as diego:
            assert shapes(await first_frames(diego, 3)) == [
                ("topic", "full", 2), ("message", "full", 1), ("message", "full", 2),
            ]  # fmt: skip
            await Publisher(recado).publish("live", [1, 2])
            await Publisher(recado).publish("full", [3])
            assert shapes([await receive(diego) for _ in range(4)]) == [
                ("topic", "live", 2), ("message", "live", 1), ("message", "live", 2), ("message", "full", 3),
            ]  # fmt: skip


async def test_who_does_not_ask_sees_no_new_frames(database: str) -> None:
    async with running(database) as recado:
        await recado.topic("noticias", "omar", "diego")
        await Publisher(recado).publish("noticias", [1])
        async with recado.client("diego") as diego, recado.client("diego", "?epoch=1") as other:
            await receive(other, "topic")
            log = await read_until(diego, Log(), "noticias", 1)
            await Publisher(recado).publish("noticias", [2])
            await read_until(diego, log, "noticias", 2)
        assert [frame["action"] for frame in log.others] == ["connected"]


async def test_a_session_that_could_take_no_more_is_told_before_it_goes_on(database: str) -> None:
    """What makes it fall behind is the very first frame of a topic in which it is live."""
    async with running(database, rate_limit=0) as recado:
        await recado.topic("flood", "omar", "diego")
        await recado.topic("other", "omar", "diego")
        diego = await RawClient.connect(f"{recado.url}/{recado.token('diego')}?epoch=1", receive_buffer=4096)
        while not diego.texts:
            await diego.read()
        [session] = recado.door.hub.sessions()
        feeds = [place.feed for place in session.places.values()]
        await until(lambda: all(session in feed.live for feed in feeds))
        number = 0
        while not any(session in feed.behind for feed in feeds):  # it reads nothing meanwhile
            number += 1
            await Publisher(recado).publish("flood", ["x" * 60_000])
        await Publisher(recado).publish("other", ["y" * 60_000])
        while len([frame for frame in diego.frames if frame["action"] == "message"]) < number + 1:
            await diego.read()
        for topic in ("flood", "other"):
            frames = [frame for frame in diego.frames if frame.get("topic_name") == topic]
            assert [frame["action"] for frame in frames][:2] == ["topic", "message"]
            assert [frame["action"] for frame in frames].count("topic") == 1
        diego.close()


async def test_a_topic_made_again_has_another_epoch(database: str) -> None:
    async with running(database) as recado:
        await recado.topic("noticias", "omar", "diego")
        await Publisher(recado).publish("noticias", ["old"])
        async with recado.client("diego", "?epoch=1") as diego:
            old = await receive(diego, "topic")
            await receive(diego, "message")
            await recado.node.actions.delete_topic(BACKEND, "noticias")
            await recado.topic("noticias", "omar", "diego")
            await receive(diego, "removed")
            await Publisher(recado).publish("noticias", ["new"])
            new = await receive(diego, "topic")
            assert new["epoch"] != old["epoch"]
            await receive(diego, "message")
            for action in ("history", "topics"):
                await send(diego, action=action, **({"topic_name": "noticias"} if action == "history" else {}))
            assert (await receive(diego, "history"))["epoch"] == new["epoch"]
            [state] = [s for s in (await receive(diego, "topics"))["topics"] if s["topic_name"] == "noticias"]
            assert state["epoch"] == new["epoch"]


async def test_an_acknowledgement_of_another_epoch_is_ignored(database: str) -> None:
    async with running(database) as recado:
        await recado.topic("noticias", "omar", "diego")
        await Publisher(recado).publish("noticias", [1, 2, 3])
        async with recado.client("diego", "?epoch=1&ack=explicit") as diego:
            told = await receive(diego, "topic")
            await read_until(diego, Log(), "noticias", 3)
            await send(diego, action="ack", topic_name="noticias", seq=3, epoch="another")
            await send(diego, action="ack", topic_name="noticias", seq=1, epoch=told["epoch"])
            await until_confirmed(recado, "diego", "noticias", 1)
            assert await cursor(recado, "diego", "noticias") == 1


# --- a restored database ---------------------------------------------------------------------------


async def restore(recado: Running, database: str, head: int) -> None:
    """The database as it was when the topic ended there, and nothing was confirmed."""
    topic = (await recado.node.actions.topic(BACKEND, "noticias")).topic.id
    async with connected(database) as db, db.transaction():
        await db.execute("UPDATE recado.heads SET last_seq = $2 WHERE topic_id = $1", topic, head)
        await db.execute("DELETE FROM recado.messages WHERE topic_id = $1 AND seq > $2", topic, head)
        await db.execute("UPDATE recado.cursors SET seq = 0 WHERE topic_id = $1", topic)


async def test_a_head_below_a_position_gives_every_topic_another_epoch(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On every node: all come back, and what they get has another epoch. What they had confirmed of it is not."""
    monkeypatch.setattr(messaging.readers.cursors, "FLUSH_EVERY", NEVER)
    async with running(database, sweep_every=NEVER) as recado, running(database, sweep_every=NEVER) as second:
        for topic in ("noticias", "other"):
            await recado.topic(topic, "omar", "diego")
            await Publisher(recado).publish(topic, [1, 2, 3])
        query = "?epoch=1&ack=explicit"
        async with recado.client("diego", query) as diego, second.client("diego", f"{query}&device=2") as bystander:
            before = await epochs(diego, 2)
            await epochs(bystander, 2)
            await restore(recado, database, 1)
            await send(diego, action="ack", topic_name="noticias", seq=3)
            await until(lambda: recado.node.cursors._moves)
            recado.door._membership_sync.sweep_all()
            for link in (diego, bystander):
                assert (await receive(link, "closing"))["code"] == 4012
        async with recado.client("diego", query) as diego:
            after = await epochs(diego, 2)
            assert set(before.values()).isdisjoint(after.values())
            await Publisher(recado).publish("noticias", ["another 2"])
            assert (await read_until(diego, Log(), "noticias", 2)).contents("noticias")[-1] == "another 2"
            assert await cursor(recado, "diego", "noticias") == 0


async def epochs(link: Any, count: int) -> dict[str, str]:
    """By topic: what is told before its first frame, until all three or one of its messages are here."""
    found: dict[str, str] = {}
    while len(found) < count:
        frame = json.loads(await link.recv())
        if frame["action"] == "topic":
            found[frame["topic_name"]] = frame["epoch"]
    return found


async def test_a_confirmation_above_the_head_does_not_hide_what_comes(database: str) -> None:
    """A cursor that was moved while the log was longer: nothing is skipped, and it is not taken for a restore."""
    async with running(database) as recado:
        await recado.topic("noticias", "omar", "diego")
        await Publisher(recado).publish("noticias", [1, 2])
        async with recado.client("diego", "?ack=explicit"):
            await until(lambda: list(recado.door.hub.sessions()))
        async with connected(database) as db:
            await db.execute("UPDATE recado.cursors SET seq = 9")
        known = recado.node.store.epochs.identity
        async with recado.client("diego") as diego:
            await receive(diego, "connected")
            await Publisher(recado).publish("noticias", [3])
            assert (await receive(diego, "message"))["seq"] == 3
        assert recado.node.store.epochs.identity == known
