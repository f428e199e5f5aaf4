"""Rule 12: what retention or a lifetime removed is told of, in its place; what was seen goes."""

from __future__ import annotations

from typing import Any

import pytest

from messaging.log.housekeeping import Housekeeping
from messaging.permissions import BACKEND
from support.log import connected
from support.members import Log, Publisher, cursor, read_to_mark, read_until, until_confirmed, until_sql
from support.ws import receive, running, send

COUNT = "SELECT count(*) = $1 FROM recado.messages"


def shape(log: Log, topic: str) -> list[Any]:
    """Seqs, and gaps as (from, to, reason)."""
    return [
        entry["seq"] if entry["action"] == "message" else (entry["from"], entry["to"], entry["reason"])
        for entry in log.entries.get(topic, [])
    ]


@pytest.mark.parametrize("purged", [True, False])
async def test_gaps_are_sent_in_place_and_confirmed(
    database: str, monkeypatch: pytest.MonkeyPatch, purged: bool
) -> None:
    """At the beginning, in the middle and at the end; what has expired is missing, purged or not."""

    async def nothing(self: Housekeeping, name: str, *args: object) -> None:
        pass

    if not purged:
        monkeypatch.setattr(Housekeeping, "_purge", nothing)
    async with running(database) as recado, connected(database) as db:
        await recado.topic("noticias", "omar", "diego")
        await Publisher(recado).publish("noticias", range(1, 13))
        await db.execute(
            "UPDATE recado.messages SET expires_at = now() - interval '1 second' WHERE seq IN (1, 2, 5, 7, 8, 11, 12)"
        )
        await until_sql(db, COUNT, 5 if purged else 12)
        async with recado.client("diego") as diego:
            assert (await receive(diego))["pending"] == 12
            log = await read_until(diego, Log(), "noticias", 12)
            assert shape(log, "noticias") == [
                (1, 2, "expired"), 3, 4, (5, 5, "expired"), 6, (7, 8, "expired"), 9, 10, (11, 12, "expired"),
            ]  # fmt: skip
            assert all(
                set(entry) == {"action", "topic_name", "from", "to", "reason"}
                for entry in log.entries["noticias"]
                if entry["action"] == "gap"
            )
            await until_confirmed(recado, "diego", "noticias", 12)  # the gap at the end, too
            await Publisher(recado).publish("noticias", [13])  # and it is live
            assert shape(await read_until(diego, log, "noticias", 13), "noticias")[-1] == 13
        async with recado.client("diego") as diego:
            log = await read_to_mark(diego, Log(), "m")
            assert shape(log, "noticias") in ([], [13])


async def test_a_log_of_which_nothing_is_left_is_one_gap(database: str) -> None:
    async with running(database) as recado, connected(database) as db:
        await recado.topic("noticias", "omar", "diego")
        await Publisher(recado).publish("noticias", range(1000))
        await db.execute("DELETE FROM recado.messages")
        async with recado.client("diego") as diego:
            log = await read_until(diego, Log(), "noticias", 1000)
            assert shape(log, "noticias") == [(1, 1000, "expired")]
            await until_confirmed(recado, "diego", "noticias", 1000)


async def test_a_lifetime_ends_by_the_clock_of_the_database(database: str) -> None:
    """`ttl` on the wire: the one who comes too late is told of a gap, and the live one had the message."""
    async with running(database) as recado, connected(database) as db:
        await recado.topic("noticias", "omar", "diego", "ana")
        async with recado.client("ana") as ana, recado.client("omar") as omar:
            await receive(ana, "connected")
            await send(omar, action="message", topic_name="noticias", content="short", ttl=1)
            await send(omar, action="message", topic_name="noticias", content="long", ttl=3600)
            log = await read_until(ana, Log(), "noticias", 2)
            assert log.contents("noticias") == ["short", "long"]
            await until_sql(db, COUNT, 1)
            async with recado.client("diego") as diego:
                log = await read_until(diego, Log(), "noticias", 2)
                assert shape(log, "noticias") == [(1, 1, "expired"), 2]
            await send(omar, action="history", topic_name="noticias")
            assert [message["seq"] for message in (await receive(omar, "history"))["messages"]] == [2]
            # The live reader goes on as if nothing had been purged.
            await send(omar, action="message", topic_name="noticias", content="next")
            log = await read_until(ana, Log(), "noticias", 3)
            assert shape(log, "noticias") == [3]


@pytest.mark.parametrize("own", [True, False])
async def test_other_topics_keep_messages_for_their_retention(database: str, own: bool) -> None:
    """By age: the topic's own retention, else the setting's. A live reader notices nothing."""
    retention = 7200 if own else None
    async with running(database, retention=10**8 if own else 7200) as recado, connected(database) as db:
        await recado.node.actions.create_topic(
            BACKEND, "noticias", await recado.node.actions.know("omar"), "public", retention
        )
        await recado.node.actions.know("diego")
        await recado.node.actions.invite(BACKEND, "noticias", "diego")
        async with recado.client("omar") as omar:
            press = Publisher(recado)
            await press.publish("noticias", range(1, 11))
            live = await read_until(omar, Log(), "noticias", 10)
            await db.execute("UPDATE recado.messages SET sent_at = now() - interval '1 hour' WHERE seq <= 4")
            await db.execute("UPDATE recado.messages SET sent_at = now() - interval '3 hours' WHERE seq <= 2")
            await until_sql(db, COUNT, 8)
            await press.publish("noticias", [11])
            assert shape(await read_until(omar, live, "noticias", 11), "noticias") == list(range(1, 12))
            async with recado.client("diego") as diego:
                log = await read_until(diego, Log(), "noticias", 11)
                assert shape(log, "noticias") == [(1, 2, "expired"), *range(3, 12)]


async def test_a_direct_message_goes_once_it_was_seen(database: str) -> None:
    """Within ten seconds of being seen; and not before."""
    async with running(database) as recado, connected(database) as db:
        await recado.node.actions.know("diego")
        await Publisher(recado).publish("@diego", ["one", "two"])
        await recado.topic("noticias", "diego")
        await Publisher(recado).publish("noticias", ["stays"])
        assert await db.fetchval(COUNT, 3)
        async with recado.client("diego") as diego:
            log = await read_until(diego, Log(), "@diego", 2)
            assert log.contents("@diego") == ["one", "two"]
            await until_confirmed(recado, "diego", "@diego", 2)
            await until_sql(db, COUNT, 1, within=10)
            assert await db.fetchval("SELECT content FROM recado.messages") == '"stays"'
            # Live: delivered, seen, gone, and the next continues without a gap.
            for number in (3, 4):
                await Publisher(recado).publish("@diego", [number])
                await read_until(diego, log, "@diego", number)
                await until_sql(db, COUNT, 1, within=10)
            assert shape(log, "@diego") == [1, 2, 3, 4]
        async with recado.client("diego") as diego:
            assert (await receive(diego))["pending"] == 0


async def test_a_direct_message_stays_while_a_device_has_not_seen_it(database: str) -> None:
    async with running(database) as recado, connected(database) as db:
        async with recado.client("diego", "?device=phone") as phone, recado.client("diego", "?device=laptop") as laptop:
            await receive(phone, "connected")
            await receive(laptop, "connected")
        await Publisher(recado).publish("@diego", ["one"])
        async with recado.client("diego", "?device=phone") as phone:
            await read_until(phone, Log(), "@diego", 1)
            await until_confirmed(recado, "diego", "@diego", 1, "phone")
        await recado.node._housekeeping.round()
        await recado.node._housekeeping.round()
        assert await db.fetchval(COUNT, 1)
        async with recado.client("diego", "?device=laptop") as laptop:
            assert shape(await read_until(laptop, Log(), "@diego", 1), "@diego") == [1]
            await until_confirmed(recado, "diego", "@diego", 1, "laptop")
        await until_sql(db, COUNT, 0, within=10)


async def test_a_device_that_stays_connected_for_months_counts_all_the_while(database: str) -> None:
    async with running(database) as recado, connected(database) as db, recado.client("diego", "?device=wall") as wall:
        await receive(wall, "connected")
        await db.execute("UPDATE recado.devices SET seen_at = now() - interval '31 days'")
        await recado.door._membership_sync.stay_seen()
        assert await db.fetchval("SELECT seen_at > now() - interval '1 hour' FROM recado.devices")


async def test_a_device_unseen_for_30_days_does_not_count_and_is_told_what_was_seen(database: str) -> None:
    """What another device saw is a gap of that reason; what its lifetime ended, of the other."""
    async with running(database) as recado, connected(database) as db:
        async with recado.client("diego", "?device=old") as old, recado.client("diego", "?device=new") as new:
            await receive(old, "connected")
            await receive(new, "connected")
        await db.execute("UPDATE recado.devices SET seen_at = now() - interval '31 days' WHERE name = 'old'")
        await Publisher(recado).publish("@diego", ["one", "two"])
        async with recado.client("diego", "?device=new") as new:
            await read_until(new, Log(), "@diego", 2)
            await until_confirmed(recado, "diego", "@diego", 2, "new")
        await until_sql(db, COUNT, 0, within=10)
        await Publisher(recado).publish("@diego", ["three", "four"])
        await db.execute("DELETE FROM recado.messages WHERE seq = 3")  # as its lifetime would have
        async with recado.client("diego", "?device=old") as old:
            log = await read_until(old, Log(), "@diego", 4)
            assert shape(log, "@diego") == [(1, 2, "seen"), (3, 3, "expired"), 4]
            await until_confirmed(recado, "diego", "@diego", 4, "old")


async def test_an_inbox_of_a_user_that_never_connected_keeps_everything(database: str) -> None:
    """No counting cursor: nothing is purged, but what its lifetime ends."""
    async with running(database, inbox_ttl=3600) as recado, connected(database) as db:
        await recado.node.actions.know("diego")
        await Publisher(recado).publish("@diego", range(5))
        kept = (
            "SELECT count(*) = 5 FROM recado.messages"
            " WHERE expires_at BETWEEN now() + interval '59 min' AND now() + interval '1 h'"
        )
        assert await db.fetchval(kept)
        await recado.node._housekeeping.round()
        assert await db.fetchval(COUNT, 5)
        await db.execute("UPDATE recado.messages SET expires_at = now() WHERE seq < 3")
        async with recado.client("diego") as diego:
            log = await read_until(diego, Log(), "@diego", 5)
            assert shape(log, "@diego") == [(1, 2, "expired"), 3, 4, 5]
            assert await cursor(recado, "diego", "@diego") >= 0


async def test_a_page_cut_by_its_limit_makes_no_gap(database: str) -> None:
    """More than one page of rows, and more than one chunk of bytes: what follows the cut is not missing."""
    async with running(database) as recado:
        await recado.topic("noticias", "omar", "diego")
        await Publisher(recado).publish("noticias", range(1, 1501))
        await Publisher(recado).publish("noticias", ["y" * 5000] * 100)
        async with recado.client("diego") as diego:
            log = await read_until(diego, Log(), "noticias", 1600)
            assert shape(log, "noticias") == list(range(1, 1601))


async def test_purging_takes_no_head_and_little_at_a_time(database: str) -> None:
    """While somebody holds the topic's head, old messages go all the same, at most 1,000 in one transaction."""
    async with running(database) as recado, connected(database) as db, connected(database) as holder:
        await recado.topic("noticias", "omar")
        await Publisher(recado).publish("noticias", range(2500))
        await db.execute(
            "CREATE TABLE public.purges (n bigint);"
            "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN INSERT INTO public.purges SELECT count(*) FROM gone; RETURN NULL; END $$;"
            "CREATE TRIGGER note AFTER DELETE ON recado.messages REFERENCING OLD TABLE AS gone"
            " FOR EACH STATEMENT EXECUTE FUNCTION note()"
        )
        async with holder.transaction():
            await holder.execute("SELECT FROM recado.heads FOR UPDATE")
            await db.execute("UPDATE recado.messages SET expires_at = now() - interval '1 second'")
            await until_sql(db, COUNT, 0)
        assert await db.fetchval("SELECT max(n) <= 1000 AND sum(n) = 2500 FROM public.purges")
