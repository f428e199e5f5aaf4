"""Who owns a name, in the store: users and topics that are made at once, what becomes of a name, and who is what."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from messaging.model import Changed
from messaging.store.bridges import BridgeStore
from support.log import Desk, connected, desk, rows, run, value, waits_for_lock

MAKE = "SELECT recado.create_topic($1, 'public', 'mal', NULL, NULL, NULL, false)"
KNOW = "SELECT recado.know(ARRAY[$1::text])"


async def is_in_doubt(dsn: str, name: str) -> bool | None:
    """None: there is no such topic."""
    found: bool | None = await value(dsn, "SELECT in_doubt FROM recado.topics WHERE name = $1", name)
    return found


async def made_by(node: Desk, name: str, owner: str, *members: str, by_backend: bool = False) -> int:
    return await node.topic(name, owner, *members, by_backend=by_backend)


# --- topics and users ------------------------------------------------------------------------------


async def test_no_topic_is_made_under_the_name_of_a_known_user(database: str) -> None:
    async with desk(database) as node:
        await node.store.know(["ana", "omar"])
        owner = await node.store.user("omar")
        for by_backend in (False, True):
            assert await node.store.create_topic("ana", "private", owner, by_backend=by_backend) is None
        await node.store.create_unowned("ana", "public", "publish")
        assert await node.store.topic_view("ana") is None


async def test_a_user_becomes_known_whatever_topics_there_are(database: str) -> None:
    """Then a bare name means the topic that a backend made; another it means no more, and its members hear of it."""
    async with desk(database) as node:
        await made_by(node, "diego", "mal", "ana")
        await made_by(node, "rosa", "omar", by_backend=True)
        before = {name: (await node.store.user(name)).version for name in ("mal", "ana", "omar")}
        await node.store.know(["diego", "rosa", "eva"])
        assert (await is_in_doubt(database, "diego"), await is_in_doubt(database, "rosa")) == (True, False)
        after = {name: (await node.store.user(name)).version - before[name] for name in before}
        assert after == {"mal": 1, "ana": 1, "omar": 0}
        topics = [m.topic for m in await node.store.memberships((await node.store.user("ana")).id)]
        (topic,) = [each for each in topics if each.kind != "direct"]
        assert (topic.name, topic.in_doubt) == ("diego", True)
        await node.store.know(["diego"])  # once more: nobody is told again
        assert (await node.store.user("ana")).version == before["ana"] + 1


@pytest.mark.parametrize("topic_first", [True, False], ids=["topic", "user"])
async def test_who_comes_second_sees_what_the_first_has_made(database: str, topic_first: bool) -> None:
    """The first is not committed when the second begins: it waits."""
    first, second = (MAKE, KNOW) if topic_first else (KNOW, MAKE)
    async with connected(database) as one, connected(database) as two:
        async with one.transaction():
            await one.execute(first, "diego")
            waiting = asyncio.create_task(two.fetchval(second, "diego"))
            await waits_for_lock(database, "recado.know" if topic_first else "recado.create_topic")
        assert await waiting in (None, "")
    assert await is_in_doubt(database, "diego") is (True if topic_first else None)


async def test_a_name_is_never_given_twice_however_many_ask_at_once(database: str) -> None:
    """In every round one makes the topic, one the user, at once."""
    async with connected(database) as one, connected(database) as two:
        for number in range(300):
            name = f"n{number}"
            made, _ = await asyncio.gather(one.fetchval(MAKE, name), two.execute(KNOW, name))
            assert await is_in_doubt_on(one, name) is (None if made is None else True)
    assert await value(database, "SELECT count(*) FROM recado.users WHERE name LIKE 'n%'") == 300


async def is_in_doubt_on(connection: asyncpg.Connection, name: str) -> Any:
    return await connection.fetchval("SELECT in_doubt FROM recado.topics WHERE name = $1", name)


async def test_who_is_known_waits_for_nobody_that_makes_names(database: str) -> None:
    async with desk(database) as node, connected(database) as other:
        await node.store.know(["ana", "omar"])
        async with other.transaction():
            await other.execute(MAKE, "held")
            await node.store.know(["omar", "ana"])


# --- an owner that leaves --------------------------------------------------------------------------


async def roles(dsn: str, topic_id: int) -> dict[str, str]:
    found = await rows(
        dsn,
        "SELECT u.name, m.role FROM recado.memberships AS m JOIN recado.users AS u ON u.id = m.user_id"
        " WHERE m.topic_id = $1",
        topic_id,
    )
    return dict(found)


async def leave(node: Desk, topic_id: int, *names: str) -> None:
    for name in names:
        assert await node.store.leave(topic_id, (await node.store.user(name)).id)


async def test_behind_an_owner_that_leaves_who_was_there_longest_owns_the_topic(database: str) -> None:
    async with desk(database) as node:
        await BridgeStore(node.store.pool).register("out", "test", "club")  # a member too, but nobody who could own it
        topic_id = await made_by(node, "club", "zoe", "omar", "ana")
        await leave(node, topic_id, "zoe")
        assert await roles(database, topic_id) == {"%bridge/out": "member", "omar": "owner", "ana": "member"}
        await leave(node, topic_id, "ana")
        assert (await roles(database, topic_id))["omar"] == "owner"


async def test_a_topic_that_no_backend_made_goes_with_its_last_member(database: str) -> None:
    async with desk(database) as node:
        topic_id = await made_by(node, "club", "ana", "omar")
        await node.publish(topic_id, "secret")
        await leave(node, topic_id, "ana", "omar")
        assert await node.store.topic_view("club") is None
        assert await made_by(node, "club", "omar") > topic_id  # another one, of which nobody has read anything


async def test_a_topic_that_no_backend_made_goes_with_its_last_person_though_bridges_stay(database: str) -> None:
    """Who joined it behind the last one owned nothing of it, and read all."""
    async with desk(database) as node, connected(database) as other:
        bridge = await BridgeStore(node.store.pool).register("out", "test", "club")
        topic_id = await made_by(node, "club", "ana", "omar")
        ana, omar = await node.store.user("ana"), await node.store.user("omar")
        changes = [Changed(ana.id, (topic_id, (await node.membership("ana", topic_id)).id)), Changed(omar.id)]
        assert await node.store.leave(topic_id, ana.id) == changes
        assert (await node.store.user("omar")).version == omar.version + 1  # it owns the topic now
        assert await roles(database, topic_id) == {"%bridge/out": "member", "omar": "owner"}

        last = (await node.membership("omar", topic_id)).id
        async with other.transaction():
            await other.execute("SELECT FROM recado.users WHERE id = $1 FOR UPDATE", bridge)
            leaving = asyncio.create_task(node.store.leave(topic_id, omar.id))
            await waits_for_lock(database, "recado.leave_topic")
            free = "SELECT id FROM recado.users WHERE id = $1 FOR UPDATE NOWAIT"
            assert await value(database, free, omar.id) == omar.id > bridge  # users by id, the bridge before it
        assert await leaving == [Changed(omar.id, (topic_id, last)), Changed(bridge)]
        assert await node.store.topic_view("club") is None
        assert await roles(database, topic_id) == {}
        assert await node.store.leave(topic_id, omar.id) == []


async def test_a_topic_that_a_backend_made_stays_the_backends(database: str) -> None:
    async with desk(database) as node:
        topic_id = await made_by(node, "club", "ana", "omar", by_backend=True)
        await leave(node, topic_id, "ana")
        assert await roles(database, topic_id) == {"omar": "member"}
        await leave(node, topic_id, "omar")
        standing = await node.store.topic_view("club")
        assert standing is not None and standing.topic.id == topic_id


# --- people, bridges, platforms --------------------------------------------------------------------


async def test_a_column_tells_people_from_bridges_and_platforms(database: str) -> None:
    async with desk(database) as node:
        book = BridgeStore(node.store.pool)
        await node.store.know(["ana", "Mario%20Rossi"])
        await book.register("all", "nats", "%")
        await book.register("Fourth", "platform", None)
        await book.register_inlet("orders", "nats", "orders.%")
        assert await rows(database, "SELECT name, kind FROM recado.users ORDER BY name COLLATE \"C\"") == [
            ("%bridge/Fourth", "platform"), ("%bridge/all", "bridge"), ("%bridge/orders", "bridge"),
            ("Mario%20Rossi", "person"), ("ana", "person"),
        ]  # fmt: skip
        assert {name for _, name in await node.store.users_page("", 10)} == {"Mario%20Rossi", "ana"}
        # A bridge that takes out everything has the inboxes of people, not of its like.
        await node.store.know(["Anna%20Bianchi"])
        bridge = await value(database, "SELECT user_id FROM recado.bridges WHERE name = 'all'")
        assert {membership.topic.name for membership in await node.store.memberships(bridge)} == {
            "general", "@%bridge/all", "@ana", "@Mario%20Rossi", "@Anna%20Bianchi",
        }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "bridged"),
    [("orders.rome", True), ("orders", False), ("shop.a", True), ("shopXa", False), ("in", True), ("inn", False)],
)
async def test_which_names_bridges_feed_or_take_out(database: str, name: str, bridged: bool) -> None:
    async with desk(database) as node:
        book = BridgeStore(node.store.pool)
        await book.register("shops", "nats", "shop._")
        await book.register_inlet("orders", "nats", "orders.%")
        await book.register_inlet("in", "rabbitmq", "in")
        await book.register_inlet("inboxes", "rabbitmq")
        assert await node.store.is_bridged(name) is bridged


# --- recado.publish --------------------------------------------------------------------------------

PUBLISH = "SELECT recado.publish($1::text, $2::text, '1'::text)"


async def intake(dsn: str) -> list[tuple[Any, ...]]:
    return await rows(
        dsn,
        "SELECT t.name, i.sender FROM recado.intake AS i JOIN recado.topics AS t ON t.id = i.topic_id ORDER BY i.id",
    )


async def test_publishing_by_sql_decides_by_the_same_rule(database: str) -> None:
    async with desk(database) as node:
        await made_by(node, "diego", "mal")
        await made_by(node, "rosa", "omar", by_backend=True)
        await node.store.know(["diego", "rosa", "Mario%20Rossi"])
        for target in ("#diego", "@diego", "rosa", "#rosa", "@rosa", "@Mario%20Rossi"):
            await value(database, PUBLISH, target, "Mario%20Rossi")
        wanted = ["diego", "@diego", "rosa", "rosa", "@rosa", "@Mario%20Rossi"]
        assert await intake(database) == [(name, "Mario%20Rossi") for name in wanted]
        with pytest.raises(asyncpg.InvalidParameterValueError, match="'diego' is a topic and a user"):
            await value(database, PUBLISH, "diego", "shop")


async def test_the_inbox_of_a_bridge_is_for_it_alone(database: str) -> None:
    async with desk(database) as node:
        await BridgeStore(node.store.pool).register("out", "test", None)
    for target in ("@%bridge/out", "#@%bridge/out", "#@ana", "##general"):
        with pytest.raises(asyncpg.NoDataFoundError, match="there is no topic"):
            await value(database, PUBLISH, target, "shop")
    await run(database, "SELECT recado.publish('#general', 'shop', '1')")
