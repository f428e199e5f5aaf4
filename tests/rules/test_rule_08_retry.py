"""Rule 8: a retry is harmless."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from bridges.rabbitmq.frames import Delivery
from bridges.rabbitmq.messages import read_offer
from messaging.bridge.arrivals import Arrival, Incoming, Storing
from messaging.log.housekeeping import KEYS_KEPT, Housekeeping
from messaging.model import Content
from messaging.settings.settings import Settings
from support.log import connected, desk, draft, rows, run, stored, told, value
from support.raw_ws import raw_client, text
from support.waiting import until
from support.ws import running


async def test_the_same_again_is_answered_with_the_original_seq(database: str) -> None:
    """It burns none: what comes next continues without a gap. Nobody is told of it a second time."""
    async with desk(database) as ana:
        topic_id = await ana.topic("noticias")
        assert await ana.publish(topic_id, "a", key="1") == [1]
        assert await ana.publish(topic_id, "b", key="2") == [2]
        for _ in range(3):
            assert await ana.publish(topic_id, "a", key="1") == [1]
        assert await ana.publish(topic_id, "c", key="3") == [3]
        assert await stored(database, topic_id) == [(1, "a"), (2, "b"), (3, "c")]
        assert [(notice.first, notice.last) for notice in ana.notices] == [(1, 1), (2, 2), (3, 3)]


async def test_other_bytes_under_the_same_key_are_refused(database: str) -> None:
    """Bytes count, not meaning: the digest is of what was sent."""
    async with desk(database) as ana:
        topic_id = await ana.topic("noticias")
        assert await ana.publish(topic_id, "a", key="1") == [1]
        assert await ana.publish(topic_id, "A", key="1") == ["conflict"]
        same_meaning = draft(topic_id, "a", "1")
        same_meaning.content = Content(same_meaning.content + " ")
        assert await ana.publish_all([same_meaning]) == ["conflict"]
        assert await ana.publish(topic_id, "b", key="2") == [2]
        assert await stored(database, topic_id) == [(1, "a"), (2, "b")]


async def test_a_key_is_of_one_topic_and_one_sender(database: str) -> None:
    async with desk(database) as ana:
        first, second = await ana.topic("noticias"), await ana.topic("deporte")
        batch = [
            draft(first, "a", "1"), draft(second, "b", "1"), draft(first, "c", "1", sender="omar"),
        ]  # fmt: skip
        assert await ana.publish_all(batch) == [1, 1, 2]
        assert await ana.publish_all(batch) == [1, 1, 2]


async def test_doubles_inside_one_batch(database: str) -> None:
    """Same bytes: the first one's seq. Other bytes: refused. None of them costs a seq, in whatever order they come."""
    async with desk(database) as ana:
        topic_id = await ana.topic("noticias")
        batch = [
            draft(topic_id, "a", "1"), draft(topic_id, "x"), draft(topic_id, "a", "1"), draft(topic_id, "b", "1"),
            draft(topic_id, "c", "2"), draft(topic_id, "a", "1"), draft(topic_id, "c", "2"), draft(topic_id, "y"),
        ]  # fmt: skip
        assert await ana.publish_all(batch) == [1, 2, 1, "conflict", 3, 1, 3, 4]
        assert await stored(database, topic_id) == [(1, "a"), (2, "x"), (3, "c"), (4, "y")]


async def test_doubles_in_a_batch_of_what_is_known_already(database: str) -> None:
    async with desk(database) as ana:
        topic_id = await ana.topic("noticias")
        assert await ana.publish(topic_id, "a", key="1") == [1]
        batch = [draft(topic_id, "b", "1"), draft(topic_id, "a", "1"), draft(topic_id, "a", "1"), draft(topic_id, "z")]
        assert await ana.publish_all(batch[1:]) == [1, 1, 2]
        assert await ana.publish_all([batch[2], batch[0]]) == [1, "conflict"]


async def test_the_double_of_a_refused_publish_is_refused_alike(database: str) -> None:
    async with desk(database) as ana:
        topic_id = await ana.topic("noticias", "ana")
        await ana.store.know(["omar"])
        omar = (await ana.store.user("omar")).id
        batch = [draft(topic_id, "a", "1", sender="omar", member=omar) for _ in range(2)]
        assert await ana.publish_all(batch) == ["not_a_member"] * 2
        assert await rows(database, "SELECT key FROM recado.keys") == []
        await ana.store.join(topic_id, omar, "member", None)
        assert await ana.publish_all(batch) == [1, 1]


async def test_the_same_key_from_two_nodes_at_once(database: str) -> None:
    """The second waits for the head, then sees what the first has committed meanwhile."""
    async with desk(database) as ana, desk(database) as omar, connected(database) as holder:
        topic_id = await ana.topic("noticias")
        for n in range(1, 6):
            async with holder.transaction():
                await holder.execute("SELECT FROM recado.heads WHERE topic_id = $1 FOR UPDATE", topic_id)
                answers = [node.submit(draft(topic_id, n, f"{n}")) for node in (ana, omar)]
                other = omar.submit(draft(topic_id, -n, f"{n}-other"))
                await both_wait(database)
            first, second = await asyncio.gather(*answers)
            assert told(first) == told(second)
            assert {told(first), told(await other)} == {2 * n - 1, 2 * n}
        assert sorted(content for _, content in await stored(database, topic_id)) == [*range(-5, 0), *range(1, 6)]


async def both_wait(dsn: str) -> None:
    async def look() -> bool:
        waiting = await value(
            dsn,
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        return bool(waiting == 2)

    await until(look)


async def test_a_key_outlives_its_message(database: str) -> None:
    """24 hours at least, whatever became of the message; then it goes, and the same key is a new message."""
    async with desk(database) as ana:
        topic_id = await ana.topic("noticias")
        assert await ana.publish(topic_id, "a", key="1") == [1]
        assert timedelta(hours=24) <= KEYS_KEPT
        await run(database, "UPDATE recado.keys SET used_at = now() - interval '23 hours 59 minutes'")
        await run(database, "DELETE FROM recado.messages")
        keeper = Housekeeping(ana.store, Settings(retention=1))
        await keeper.round()
        assert await ana.publish(topic_id, "a", key="1") == [1]
        assert await ana.publish(topic_id, "b", key="1") == ["conflict"]
        assert await rows(database, "SELECT seq FROM recado.messages") == []

        await run(database, "UPDATE recado.keys SET used_at = now() - interval '49 hours'")
        await keeper.round()
        assert await ana.publish(topic_id, "a", key="1") == [2]


async def test_no_user_takes_the_key_of_what_a_broker_brings(database: str) -> None:
    """Who is called like its sender and guesses its id knew the key: it would be buried, or taken for a repeat."""
    async with running(database) as recado:
        await recado.topic("noticias", "diego")
        body = b'{"sender":"omar","receiver":"diego","body":"Rome, 39"}'
        came = [
            Arrival("diego", body, "@diego", n, read_offer(Delivery("diego", body, n), Settings())) for n in ("1", "2")
        ]
        inlet = Storing("prontogram", 1, recado.node, Settings())
        async with raw_client(recado.url, f"/{recado.token('omar')}") as omar:
            for content, arrival in zip(("Rome, 39", "nothing"), came, strict=True):
                assert isinstance(arrival.read, Incoming)
                omar.write(text(action="message", topic_name="@diego", content=content, id=arrival.read.key, ref="r"))
                await omar.answer("r")
                omar.texts.clear()
        for _ in range(2):  # the second time it is a repeat
            assert await inlet.store("@diego", came) == {}
        topic_id = await value(database, "SELECT id FROM recado.topics WHERE name = '@diego'")
        contents = ["Rome, 39", "nothing", "Rome, 39", "Rome, 39"]
        assert await stored(database, topic_id) == list(enumerate(contents, 1))


async def test_a_retry_over_another_connection(database: str) -> None:
    """As people see it: the receipt of a retry has the original's seq, and members get one message."""
    async with running(database) as recado:
        await recado.topic("noticias", "omar", "diego")
        async with raw_client(recado.url, f"/{recado.token('diego')}") as diego:
            for n in range(3):
                async with raw_client(recado.url, f"/{recado.token('omar')}") as omar:
                    omar.write(text(action="message", topic_name="noticias", content={"a": 1}, id="1", ref=f"r{n}"))
                    receipt = await omar.answer(f"r{n}")
                    assert (receipt["result"], receipt["seq"], receipt["id"]) == ("ok", 1, "1")
                    omar.write(text(action="message", topic_name="noticias", content={"a": 2}, id="1", ref="other"))
                    refusal = await omar.answer("other")
                    assert (refusal["action"], refusal["code"], refusal["id"]) == ("error", "conflict", "1")
                    omar.write(text(action="message", topic_name="noticias", content=n, ref="sent", id=f"n{n}"))
                    assert (await omar.answer("sent"))["seq"] == n + 2
            await diego.message(4)
            assert [each["seq"] for each in diego.texts if each["action"] == "message"] == [1, 2, 3, 4]
