"""Joining, leaving, deleting, devices: each in one transaction, and in any interleaving."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import asyncpg
import pytest

from messaging.errors import LimitReached, UnknownTopic, UnknownUser
from messaging.store.store import MAX_DEVICES, Move
from support.log import Desk, connected, desk, draft, rows, run, told, value, waits_for_lock


async def user_id(node: Desk, name: str) -> int:
    await node.store.know([name])
    return (await node.store.user(name)).id


async def version(node: Desk, name: str) -> int:
    return (await node.store.user(name)).version


async def cursors(dsn: str, topic_id: int) -> dict[tuple[str, str], int]:
    """By user and device."""
    found = await rows(
        dsn,
        "SELECT u.name, c.device, c.seq FROM recado.cursors AS c"
        " LEFT JOIN recado.memberships AS m ON m.topic_id = c.topic_id AND m.id = c.membership_id"
        " LEFT JOIN recado.users AS u ON u.id = m.user_id WHERE c.topic_id = $1",
        topic_id,
    )
    return {(name, device): seq for name, device, seq in found}


# --- users -----------------------------------------------------------------------------------------


async def test_a_user_that_becomes_known_has_an_inbox(database: str) -> None:
    async with desk(database) as ana:
        await asyncio.gather(*(ana.store.know(["omar", "diego", "omar", f"u{n}"]) for n in range(8)))
        for name in ("omar", "diego", "u0"):
            user = await ana.store.user(name)
            (membership,) = await ana.store.memberships(user.id)
            topic = membership.topic
            assert (topic.name, topic.kind) == (f"@{name}", "direct")
            assert (membership.role, membership.joined_seq) == ("owner", 0)
            assert await ana.store.positions(user.id, "") == {topic.id: (0, 0)}
        assert await value(database, "SELECT count(*) FROM recado.users") == 10
        with pytest.raises(UnknownUser):
            await ana.store.user("nobody")


# --- joining and leaving ---------------------------------------------------------------------------


async def test_a_join_starts_at_the_head(database: str) -> None:
    async with desk(database) as ana:
        topic_id = await ana.topic("noticias")
        await ana.publish(topic_id, "a", "b")
        omar, before = await user_id(ana, "omar"), await version(ana, "omar")
        await ana.store.see_device(omar, "")
        await ana.store.see_device(omar, "phone")

        assert await ana.store.join(topic_id, omar, "member", "ana")
        assert await version(ana, "omar") == before + 1
        membership = await ana.membership("omar", topic_id)
        assert (membership.joined_seq, membership.role, membership.invited_by) == (2, "member", "ana")
        assert await cursors(database, topic_id) == {("omar", ""): 2, ("omar", "phone"): 2}
        assert (await ana.store.positions(omar, "phone"))[topic_id] == (2, 2)
        assert (await ana.store.positions(omar, "never seen"))[topic_id] == (2, 2)


async def test_joining_again_changes_nothing(database: str) -> None:
    async with desk(database) as ana:
        topic_id = await ana.topic("noticias", "ana", "omar")
        omar = await user_id(ana, "omar")
        await ana.publish(topic_id, "a")
        before = await ana.membership("omar", topic_id), await version(ana, "omar")
        assert not await ana.store.join(topic_id, omar, "owner", "diego")
        assert (await ana.membership("omar", topic_id), await version(ana, "omar")) == before


async def test_leaving_ends_the_membership_for_good(database: str) -> None:
    """Its cursors go with it; whoever joins again has another membership, from the head of then."""
    async with desk(database) as ana:
        topic_id = await ana.topic("noticias", "ana", "omar")
        omar = await user_id(ana, "omar")
        await ana.store.see_device(omar, "")
        await ana.publish(topic_id, "a", "b")
        old = await ana.membership("omar", topic_id)
        before = await version(ana, "omar")

        assert await ana.store.leave(topic_id, omar)
        assert await version(ana, "omar") == before + 1
        assert await cursors(database, topic_id) == {}
        assert not await ana.store.leave(topic_id, omar)
        assert await version(ana, "omar") == before + 1

        await ana.store.move_cursors([Move(topic_id, old.id, "", 2)])  # was under way when it left
        assert await cursors(database, topic_id) == {}
        assert await ana.store.join(topic_id, omar, "member", None)
        await ana.store.move_cursors([Move(topic_id, old.id, "", 1)])
        new = await ana.membership("omar", topic_id)
        assert new.id != old.id
        assert new.joined_seq == 2
        assert await cursors(database, topic_id) == {("omar", ""): 2}


async def test_a_page_is_for_members_alone(database: str) -> None:
    """The membership is judged in the statement that reads."""
    async with desk(database) as ana:
        topic_id = await ana.topic("noticias", "ana", "omar")
        await ana.publish(topic_id, "a")
        mine, other = await ana.membership("ana", topic_id), await ana.membership("omar", topic_id)
        assert (await ana.store.page(mine.topic, 0, 1000, [mine.id, other.id]))[1] == {mine.id, other.id}
        await ana.store.leave(topic_id, await user_id(ana, "omar"))
        assert (await ana.store.page(mine.topic, 0, 1000, [mine.id, other.id]))[1] == {mine.id}
        assert await ana.store.history(topic_id, 0, 10, 10, other.id, newest=True) == []
        assert len(await ana.store.history(topic_id, 0, 10, 10, mine.id, newest=False)) == 1


async def test_joining_and_leaving_wait_for_an_append(database: str) -> None:
    """They lock the head: joined_seq is the last seq committed before, and nothing is appended for whoever has left."""
    async with desk(database) as ana, connected(database) as other:
        topic_id = await ana.topic("noticias", "ana", "diego")
        omar, diego = await user_id(ana, "omar"), await user_id(ana, "diego")
        async with other.transaction():
            await append_by(other, topic_id)
            changes = [asyncio.create_task(c) for c in (join(ana, topic_id, omar), leave(ana, topic_id, diego))]
            await waits_for_lock(database, "SELECT recado.join_topic")
            await waits_for_lock(database, "recado.leave_topic")
        await asyncio.gather(*changes)
        assert (await ana.membership("omar", topic_id)).joined_seq == 1


async def join(node: Desk, topic_id: int, member: int) -> None:
    await node.store.join(topic_id, member, "member", None)


async def leave(node: Desk, topic_id: int, member: int) -> None:
    await node.store.leave(topic_id, member)


async def append_by(connection: asyncpg.Connection, topic_id: int) -> None:
    await connection.execute(
        "SELECT recado.append(0, NULL, 0, 0, ARRAY[$1::bigint], ARRAY[NULL::bigint], '{x}', ARRAY[NULL],"
        " ARRAY[NULL::bytea], '{1}', ARRAY[NULL::integer])",
        topic_id,
    )


# --- deleting --------------------------------------------------------------------------------------


async def test_a_deleted_topic_is_gone_at_once(database: str) -> None:
    """Its name is free; the topic made under it is another, from seq 1; keys of the old one mean nothing there."""
    async with desk(database) as ana:
        old = await ana.topic("noticias", "ana", "omar")
        await ana.store.see_device(await user_id(ana, "omar"), "")
        await ana.publish(old, "a", key="1")
        topic = (await ana.membership("ana", old)).topic
        versions = await version(ana, "ana"), await version(ana, "omar")

        gone = await ana.store.delete_topic(old)
        assert set(gone) == {await user_id(ana, "ana"), await user_id(ana, "omar")}
        assert (await version(ana, "ana"), await version(ana, "omar")) == (versions[0] + 1, versions[1] + 1)
        assert await ana.store.topic_view("noticias") is None
        assert await cursors(database, old) == {}
        assert await ana.publish(old, "b") == ["unknown_topic"]
        with pytest.raises(UnknownTopic):
            await ana.store.delete_topic(old)
        with pytest.raises(UnknownTopic):
            await ana.store.join(old, 1, "member", None)
        with pytest.raises(UnknownTopic):
            await ana.store.page(topic, 0, 1)

        new = await ana.topic("noticias", "omar")
        assert new > old
        assert await ana.publish(new, "c", key="1") == [1]


@pytest.mark.parametrize("what", ["append", "join"])
async def test_what_waits_for_a_head_that_is_deleted_finds_no_topic(database: str, what: str) -> None:
    async with desk(database) as ana, connected(database) as other:
        topic_id = await ana.topic("noticias")
        omar = await user_id(ana, "omar")
        async with other.transaction():
            await other.execute("SELECT recado.delete_topic($1)", topic_id)
            if what == "append":
                answer = ana.submit(draft(topic_id, "a"))
                await waits_for_lock(database, "recado.append")
            else:
                joining = asyncio.create_task(join(ana, topic_id, omar))
                await waits_for_lock(database, "SELECT recado.join_topic")
        if what == "append":
            assert told(await answer) == "unknown_topic"
        else:
            with pytest.raises(UnknownTopic):
                await joining
        assert await rows(database, "SELECT FROM recado.messages") == []
        assert await rows(database, "SELECT FROM recado.memberships WHERE topic_id = $1", topic_id) == []


async def test_a_name_is_taken_once(database: str) -> None:
    async with desk(database) as ana:
        await ana.store.know(["ana", "omar"])
        owners = [await ana.store.user(name) for name in ("ana", "omar")] * 4
        made = await asyncio.gather(*(ana.store.create_topic("noticias", "public", owner) for owner in owners))
        assert len([topic_id for topic_id in made if topic_id is not None]) == 1
        standing = await ana.store.topic_view("noticias")
        assert standing is not None
        (member,) = await ana.store.members_page(standing.topic.id, "", 10)
        assert (member.name, member.role) == (standing.topic.creator, "owner")


# --- devices ---------------------------------------------------------------------------------------


async def test_the_first_connect_of_a_device(database: str) -> None:
    """It gets its cursors at the member's highest one, joined_seq if none; later ones change nothing but seen_at."""
    async with desk(database) as ana:
        topic_id = await ana.topic("noticias", "ana", "omar")
        other_id = await ana.topic("deporte", "ana", "omar")
        omar = await user_id(ana, "omar")
        await ana.publish(topic_id, "a", "b", "c")
        await ana.store.see_device(omar, "phone")
        assert await cursors(database, topic_id) == {("omar", "phone"): 0}
        membership = await ana.membership("omar", topic_id)
        await ana.store.move_cursors([Move(topic_id, membership.id, "phone", 2)])
        await ana.store.see_device(omar, "desk")
        assert await cursors(database, topic_id) == {("omar", "phone"): 2, ("omar", "desk"): 2}
        assert await cursors(database, other_id) == {("omar", "phone"): 0, ("omar", "desk"): 0}

        await ana.store.move_cursors([Move(topic_id, membership.id, "phone", 3)])
        await run(database, "UPDATE recado.devices SET seen_at = now() - interval '1 hour'")
        await ana.store.see_device(omar, "desk")
        assert await cursors(database, topic_id) == {("omar", "phone"): 3, ("omar", "desk"): 2}
        seen = "SELECT name FROM recado.devices WHERE seen_at > now() - interval '1 minute'"
        assert await rows(database, seen) == [("desk",)]

        await ana.store.see_device(omar, "tablet")
        assert (await cursors(database, topic_id))["omar", "tablet"] == 3


async def test_a_user_has_sixteen_devices_at_most(database: str) -> None:
    async with desk(database) as ana:
        omar = await user_id(ana, "omar")
        outcomes = await asyncio.gather(
            *(ana.store.see_device(omar, f"d{n}") for n in range(MAX_DEVICES + 4)), return_exceptions=True
        )
        assert [type(each) for each in outcomes].count(LimitReached) == 4
        assert await value(database, "SELECT count(*) FROM recado.devices") == MAX_DEVICES == 16
        known = await value(database, "SELECT name FROM recado.devices LIMIT 1")
        await ana.store.see_device(omar, known)
        with pytest.raises(LimitReached):
            await ana.store.see_device(omar, "another")


async def test_a_device_unseen_for_thirty_days_gives_its_place_away(database: str) -> None:
    """The one unseen for longest, with its cursors; one unseen for less keeps its place."""
    async with desk(database) as ana:
        topic_id = await ana.topic("noticias", "ana", "omar")
        omar = await user_id(ana, "omar")
        for n in range(MAX_DEVICES):
            await ana.store.see_device(omar, f"d{n}")
        await run(
            database,
            "UPDATE recado.devices SET seen_at = now() - interval '29 days 23 hours';"
            "UPDATE recado.devices SET seen_at = now() - interval '31 days' WHERE name = 'd3';"
            "UPDATE recado.devices SET seen_at = now() - interval '32 days' WHERE name = 'd7'",
        )
        await ana.store.see_device(omar, "new")
        devices = {device for _, device in await cursors(database, topic_id)}
        assert devices == {*(f"d{n}" for n in range(16)), "new"} - {"d7"}
        await ana.store.see_device(omar, "newer")
        with pytest.raises(LimitReached):
            await ana.store.see_device(omar, "newest")
        devices = {device for _, device in await cursors(database, topic_id)}
        assert devices == {*(f"d{n}" for n in range(16)), "new", "newer"} - {"d3", "d7"}
        assert {name for (name,) in await rows(database, "SELECT name FROM recado.devices")} == devices


async def test_a_device_that_comes_back_at_that_moment_keeps_its_place(database: str) -> None:
    """Its place was about to be given away: it has been seen since, so the new one is refused."""
    see = "SELECT recado.see_device($1, $2, 16, '30 days')"
    async with desk(database) as ana, connected(database) as one, connected(database) as two:
        topic_id = await ana.topic("noticias", "ana", "omar")
        omar = await user_id(ana, "omar")
        for n in range(MAX_DEVICES):
            await ana.store.see_device(omar, f"d{n}")
        await run(database, "UPDATE recado.devices SET seen_at = now() - interval '31 days' WHERE name = 'd3'")
        async with one.transaction():
            assert await one.fetchval(see, omar, "d3")
            new = asyncio.create_task(two.fetchval(see, omar, "new"))
            await waits_for_lock(database, "recado.see_device")
        assert await new is False
        assert {device for _, device in await cursors(database, topic_id)} == {f"d{n}" for n in range(MAX_DEVICES)}
        assert await value(database, "SELECT count(*) FROM recado.devices") == MAX_DEVICES


@pytest.mark.parametrize("first", ["join", "device"])
@pytest.mark.parametrize("second", ["join", "device", "leave", "delete"])
async def test_devices_and_memberships_meet(database: str, first: str, second: str) -> None:
    """In any order and interleaving, every membership has one cursor for every device, and none outlives it."""
    async with desk(database) as ana, connected(database) as one, connected(database) as two:
        topic_id = await ana.topic("noticias")
        other_id = await ana.topic("deporte", "ana", "omar")
        omar = await user_id(ana, "omar")
        await ana.store.see_device(omar, "old")
        statements: dict[str, tuple[Any, ...]] = {
            "join": ("SELECT recado.join_topic($1, $2, 'member', NULL)", topic_id, omar),
            "device": ("SELECT recado.see_device($1, $2, 16, '30 days')", omar, "phone"),
            "leave": ("SELECT FROM recado.leave_topic($1, $2)", other_id, omar),
            "delete": ("SELECT recado.delete_topic($1)", other_id),
        }
        async with one.transaction():
            await one.execute("SET LOCAL lock_timeout = '5s'")
            await one.execute(*statements[first])
            later: Awaitable[object] = asyncio.create_task(two.execute(*statements[second]))
            await waits_for_lock(database, statements[second][0][:20])
        await later

        devices = {name for (name,) in await rows(database, "SELECT name FROM recado.devices")}
        expected = {
            (topic, membership, device)
            for topic, membership in await rows(
                database, "SELECT topic_id, id FROM recado.memberships WHERE user_id = $1", omar
            )
            for device in devices
        }
        found = set(await rows(database, "SELECT topic_id, membership_id, device FROM recado.cursors"))
        assert found == expected
        assert "old" in devices
        assert ("phone" in devices) == ("device" in (first, second))


async def test_a_crowd_of_joins_leaves_and_devices(database: str) -> None:
    """Without any order of ours: no deadlock, and at the end each membership has its cursors."""
    async with desk(database) as ana:
        topic_ids = [await ana.topic(f"t{n}") for n in range(4)]
        members = [await user_id(ana, f"u{n}") for n in range(4)]
        await asyncio.gather(
            *(
                work
                for member in members
                for n, topic_id in enumerate(topic_ids)
                for work in (
                    join(ana, topic_id, member), ana.store.see_device(member, f"d{n}"),
                    leave(ana, topic_id, member), ana.store.see_device(member, f"d{n + 1}"),
                    join(ana, topic_id, member), ana.publish(topic_id, n),
                )
            )
        )  # fmt: skip
        missing = await rows(
            database,
            "SELECT m.topic_id, m.user_id, d.name FROM recado.memberships AS m"
            " JOIN recado.devices AS d ON d.user_id = m.user_id WHERE NOT EXISTS (SELECT FROM recado.cursors AS c"
            " WHERE c.topic_id = m.topic_id AND c.membership_id = m.id AND c.device = d.name)",
        )
        orphans = await rows(
            database,
            "SELECT FROM recado.cursors AS c WHERE NOT EXISTS (SELECT FROM recado.memberships AS m"
            " WHERE m.topic_id = c.topic_id AND m.id = c.membership_id)",
        )
        assert (missing, orphans) == ([], [])
        assert await value(database, "SELECT count(*) FROM recado.devices") == 20
        assert await value(database, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0
