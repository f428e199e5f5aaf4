"""The clock that counts is the database's, and it may be wrong: set back, or ahead for a moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from support.log import desk, rows, run, value

HOUR = timedelta(hours=1)


async def set_clock(dsn: str, ahead: timedelta) -> None:
    """What recado.append reads as the time from here on, in this database."""
    source = await value(dsn, "SELECT pg_get_functiondef('recado.append'::regproc)")
    assert source.count("stamp := clock_timestamp()") == 1
    shifted = f"stamp := clock_timestamp() + interval '{ahead.total_seconds()} seconds'"
    await run(dsn, source.replace("stamp := clock_timestamp()", shifted))


async def put_clock_right(dsn: str) -> None:
    source = await value(dsn, "SELECT pg_get_functiondef('recado.append'::regproc)")
    begin = source.index("stamp := clock_timestamp()")
    await run(dsn, source[:begin] + "stamp := clock_timestamp();" + source[source.index(";", begin) + 1 :])


async def log_of(dsn: str, topic_id: int) -> list[Any]:
    return await rows(
        dsn, "SELECT sent_at, stored_at, expires_at FROM recado.messages WHERE topic_id = $1 ORDER BY seq", topic_id
    )


def near(moment: datetime, expected: datetime) -> bool:
    return abs(moment - expected) < timedelta(minutes=5)


async def test_a_clock_that_is_set_back_leaves_sent_at_where_it_was(database: str) -> None:
    """Who reads by time, or sorts by it, misses nothing; how long it lives counts from when it was stored."""
    async with desk(database) as ana:
        topic_id = await ana.topic("noticias")
        await set_clock(database, HOUR)
        assert await ana.publish(topic_id, "a") == [1]
        await put_clock_right(database)
        assert await ana.publish(topic_id, "b", ttl=60) == [2]
        assert await ana.publish(topic_id, "c") == [3]
        now = datetime.now(UTC)
        first, second, third = await log_of(database, topic_id)
        assert first[0] == second[0] == third[0]
        assert first[1] is None
        assert near(second[1], now)
        assert near(second[2], now + timedelta(minutes=1))
        assert [message.sent_at for notice in ana.notices for message in notice.messages or ()] == [first[0]] * 3


async def test_a_clock_that_was_years_ahead_for_a_moment_is_not_followed(database: str) -> None:
    async with desk(database) as ana:
        topic_id = await ana.topic("noticias")
        await set_clock(database, timedelta(days=4000))
        assert await ana.publish(topic_id, "a") == [1]
        await put_clock_right(database)
        assert await ana.publish(topic_id, "b", key="b", ttl=60) == [2]
        now = datetime.now(UTC)
        (_, _, _), (sent_at, stored_at, expires_at) = await log_of(database, topic_id)
        assert near(sent_at, now)
        assert stored_at is None
        assert near(expires_at, now + timedelta(minutes=1))
        assert near(await value(database, "SELECT used_at FROM recado.keys WHERE key = 'b'"), now)


async def test_retention_counts_from_the_storing(database: str) -> None:
    """A message whose sent_at was held up by a clock an hour ahead goes when its time is over all the same."""
    async with desk(database) as ana:
        topic_id = await ana.topic("noticias")
        await set_clock(database, HOUR)
        await ana.publish(topic_id, "a")
        await put_clock_right(database)
        await ana.publish(topic_id, "b")
        await run(
            database,
            "DELETE FROM recado.messages WHERE seq = 1;"
            "UPDATE recado.messages SET sent_at = sent_at - interval '3 hours',"
            " stored_at = stored_at - interval '3 hours'",
        )
        await ana.store.purge("purge_aged", [topic_id], 9000, 1000)
        assert await value(database, "SELECT count(*) FROM recado.messages") == 0
