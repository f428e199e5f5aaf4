"""Rule 5: notices are hints. Lost, doubled, out of order, empty: everybody gets everything, in order, in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from messaging.model import Changed, Notice, User
from messaging.permissions import BACKEND, Caller
from messaging.store.store import Store
from support.log import connected
from support.members import Log, Medium, Publisher, read_until, until_confirmed
from support.waiting import until
from support.ws import Running, receive, running, send

NEVER = 3600.0
IN_TIME = 10.0  # seconds: the promise with the bus entirely dead


@asynccontextmanager
async def two_nodes(dsn: str, medium: Medium, **changes: Any) -> AsyncIterator[tuple[Running, Running]]:
    async with running(dsn, medium.bus(), **changes) as one, running(dsn, medium.bus(), **changes) as two:
        yield one, two


@pytest.mark.parametrize("ways", ["", "doubles", "reorders", "bare", "doubles reorders", "bare doubles reorders"])
async def test_a_bus_that_breaks_what_it_carries(database: str, ways: str) -> None:
    """Two nodes publish into two topics at once; members on both get all of it, though no sweep helps."""
    medium = Medium(*ways.split())
    async with two_nodes(database, medium, sweep_every=NEVER) as (one, two):
        await publish_on_both_and_check(one, two)
    assert medium.carried > 50


async def test_a_bus_that_loses_half(database: str) -> None:
    medium = Medium("half", "reorders", "doubles")
    async with two_nodes(database, medium, sweep_every=0.1) as (one, two):
        await publish_on_both_and_check(one, two)
    assert medium.lost > 25 and medium.carried > 25


async def publish_on_both_and_check(one: Running, two: Running) -> None:
    for topic in ("noticias", "deporte"):
        await one.topic(topic, "omar", "diego", "ana")
    async with one.client("diego") as here, two.client("diego", "?device=b") as there, two.client("ana") as ana:
        for link in (here, there, ana):
            await receive(link, "connected")

        async def publish(recado: Running, topic: str) -> None:
            press = Publisher(recado)
            for start in range(0, 200, 4):
                await press.publish(topic, range(start, start + 4))

        logs = [Log(), Log(), Log()]
        publishing = [publish(node, topic) for node in (one, two) for topic in ("noticias", "deporte")]
        await asyncio.gather(
            *publishing,
            *(read_both(link, log) for link, log in zip((here, there, ana), logs, strict=True)),
        )
        for topic in ("noticias", "deporte"):
            assert sorted(logs[0].contents(topic)) == sorted([*range(200)] * 2)
            for log in logs:  # +1 from 1 on is what the log asserts: nothing doubled, nothing left out
                assert log.entries[topic][0]["seq"] == 1
                assert log.contents(topic) == logs[0].contents(topic)


async def read_both(link: Any, log: Log) -> None:
    for topic in ("noticias", "deporte"):
        await read_until(link, log, topic, 400)


async def test_with_the_bus_dead_all_is_found_within_ten_seconds(database: str) -> None:
    """Real clocks. Everything happens on one node; the other hears of nothing, and finds it in time."""
    medium = Medium("loses")
    async with two_nodes(database, medium) as (one, two):
        await one.topic("noticias", "omar", "diego", "ana", "lucia")
        await one.topic("secreto", "omar", kind="private")
        await one.topic("adios", "omar", "diego", "ana")
        jti_token, jti = two.token("carla"), None
        jti = (await two.tokens.verify(jti_token)).jti
        async with (
            two.client("diego") as diego,
            two.client("ana") as ana,
            two.client("lucia") as lucia,
            two.client("carla") as carla_stays,
            entered(two, jti_token) as carla,
        ):
            for link in (diego, ana, lucia, carla, carla_stays):
                await receive(link, "connected")
            await Publisher(one).publish("noticias", ["hola"])
            await one.node.actions.invite(caller_of(await one.node.actions.user("omar")), "secreto", "diego")
            await Publisher(one).publish("secreto", ["for you"])
            await one.node.actions.unsubscribe(BACKEND, await one.node.actions.user("diego"), "adios")
            await one.node.actions.revoke_user("lucia")
            await one.node.actions.revoke_token(jti)
            async with asyncio.timeout(IN_TIME):
                log = Log()
                while not (
                    log.last("noticias")
                    and log.last("secreto")
                    and {"action": "removed", "topic_name": "adios"} in log.others
                ):
                    log.take(await receive(diego, within=IN_TIME))
                await read_until(ana, Log(), "noticias", 1)
                for link in (lucia, carla):
                    with pytest.raises(ConnectionClosed) as closed:
                        await receive(link, "never")
                    assert closed.value.rcvd is not None and closed.value.rcvd.code == 4501
            assert {"action": "invited", "topic_name": "secreto", "user_source": "omar"} in log.others
            assert log.contents("noticias") == ["hola"] and log.contents("secreto") == ["for you"]
            # From here on nothing of that topic reaches the removed, while it still reaches others of this node.
            await Publisher(two).publish("adios", ["not for diego"])
            await read_until(ana, Log(), "adios", 1)
            await Publisher(two).publish("noticias", ["mark"])
            await read_until(diego, log, "noticias", 2)
            assert "adios" not in log.entries
            await send(carla_stays, action="topics")
            await receive(carla_stays, "topics")
    assert medium.carried == 0 and medium.lost > 5


@asynccontextmanager
async def entered(recado: Running, token: str) -> AsyncIterator[Any]:
    from websockets.asyncio.client import connect

    async with connect(f"{recado.url}/{token}", proxy=None, compression=None, ping_interval=None) as link:
        yield link


def caller_of(user: User) -> Any:
    from messaging.permissions import Caller

    return Caller(user)


async def test_a_bus_that_comes_back_has_everything_looked_at(database: str) -> None:
    """`resync` alone finds what was missed: messages, an invitation, a removal. The sweep is off."""
    medium = Medium("loses")
    async with two_nodes(database, medium, sweep_every=NEVER) as (one, two):
        await one.topic("noticias", "omar", "diego")
        await one.topic("adios", "omar", "diego")
        await one.topic("nuevo", "omar")
        async with two.client("diego") as diego:
            await receive(diego, "connected")
            await Publisher(one).publish("noticias", range(5))
            await one.node.actions.invite(BACKEND, "nuevo", "diego")
            await one.node.actions.unsubscribe(BACKEND, await one.node.actions.user("diego"), "adios")
            await Publisher(one).publish("nuevo", ["welcome"])
            medium.resync()
            log = await read_until(diego, Log(), "noticias", 5)
            await read_until(diego, log, "nuevo", 1)
            while {"action": "removed", "topic_name": "adios"} not in log.others:
                log.take(await receive(diego))
    assert medium.carried == 0


@pytest.mark.parametrize("when", ["before", "after"])
async def test_what_is_stored_while_a_session_opens_is_not_missed(
    database: str, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Attach first, read the head second: a message just before or just after the head is read gets through."""
    medium = Medium()
    async with two_nodes(database, medium, sweep_every=NEVER) as (one, two):
        await one.topic("noticias", "omar", "diego")
        press, real = Publisher(one), two.node.store.positions

        async def positions(self: Store, *args: Any) -> Any:
            if when == "before":
                await press.publish("noticias", ["at just that moment"])
            found = await real(*args)
            if when == "after":
                arrived = medium.arrived
                await press.publish("noticias", ["at just that moment"])
                await until(lambda: medium.arrived > arrived)  # and the other node has heard of it
            return found

        monkeypatch.setattr(Store, "positions", positions)
        async with two.client("diego") as diego:
            assert (await read_until(diego, Log(), "noticias", 1)).contents("noticias") == ["at just that moment"]


async def test_a_membership_that_changes_while_a_session_opens_is_not_missed(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_nodes(database, Medium(), sweep_every=NEVER) as (one, two):
        await one.topic("noticias", "omar")
        real = two.node.store.memberships
        once = [True]

        async def memberships(self: Store, *args: Any) -> Any:
            found = await real(*args)
            if once:
                once.pop()
                await one.node.actions.invite(BACKEND, "noticias", "diego")
                await Publisher(one).publish("noticias", ["welcome"])
            return found

        await one.node.actions.know("diego")
        monkeypatch.setattr(Store, "memberships", memberships)
        async with two.client("diego") as diego:
            assert (await receive(diego))["topics"] == 1  # its inbox; the new one follows
            assert (await read_until(diego, Log(), "noticias", 1)).contents("noticias") == ["welcome"]


async def test_nor_one_that_is_read_anew_until_the_session_is_open(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_nodes(database, Medium(), sweep_every=NEVER) as (one, two):
        await one.topic("noticias", "omar")
        real, reads = two.node.store.memberships, 0
        read_anew, opened = asyncio.Event(), asyncio.Event()

        async def memberships(self: Store, *args: Any) -> Any:
            nonlocal reads
            reads += 1
            if reads == 1:
                found = await real(*args)
                await one.node.actions.invite(BACKEND, "noticias", "diego")
                await read_anew.wait()
                return found
            read_anew.set()
            await opened.wait()
            return await real(*args)

        await one.node.actions.know("diego")
        monkeypatch.setattr(Store, "memberships", memberships)
        async with two.client("diego") as diego:
            await receive(diego)
            opened.set()
            await Publisher(one).publish("noticias", ["welcome"])
            log = await read_until(diego, Log(), "noticias", 1, IN_TIME)
            assert log.contents("noticias") == ["welcome"]


@pytest.mark.parametrize("found_by", ["sweep", "page"])
async def test_a_database_restored_from_a_backup_makes_everybody_come_back(database: str, found_by: str) -> None:
    """The log ends before what was delivered: 4012, and on return everything of the restored log, from its cursor."""
    async with (
        two_nodes(database, Medium("bare"), sweep_every=0.1 if found_by == "sweep" else NEVER) as (one, two),
        connected(database) as db,
    ):
        await one.topic("noticias", "omar", "diego")
        async with two.client("diego") as diego:
            await read_until_published(one, diego)
            await until_confirmed(two, "diego", "noticias", 10)
            topic_id = await restore(db)
            if found_by == "page":  # a notice from another world: higher than the log that the page then shows
                two.door.hub.feeds[topic_id].hear(11)
                two.door.hub._wants_page(two.door.hub.feeds[topic_id])
            closing = await receive(diego, "closing")
            assert (closing["code"], closing["reconnect"]) == (4012, True)
            with pytest.raises(ConnectionClosed) as closed:
                await receive(diego)
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 4012
        await until(lambda: topic_id not in two.door.hub.feeds)
        async with two.client("diego") as diego:
            assert (await receive(diego))["pending"] == 1  # of the three that are left, two were confirmed then
            await Publisher(one).publish("noticias", ["new 4"])
            log = await read_until(diego, Log(), "noticias", 4)
            assert log.contents("noticias") == ["old 2", "new 4"]


async def read_until_published(recado: Running, link: Any) -> None:
    await receive(link, "connected")
    await Publisher(recado).publish("noticias", [f"old {n}" for n in range(10)])
    await read_until(link, Log(), "noticias", 10)


async def restore(db: Any) -> int:
    """The database as it was when the third message was in it, and two of them confirmed."""
    topic_id: int = await db.fetchval("SELECT id FROM recado.topics WHERE name = 'noticias'")
    async with db.transaction():
        await db.execute("UPDATE recado.heads SET last_seq = 3 WHERE topic_id = $1", topic_id)
        await db.execute("DELETE FROM recado.messages WHERE topic_id = $1 AND seq > 3", topic_id)
        await db.execute("UPDATE recado.cursors SET seq = 2 WHERE topic_id = $1", topic_id)
    return topic_id


async def test_every_change_of_memberships_or_revocations_raises_the_version(database: str) -> None:
    """In the same transaction as the change, so that the sweep of versions finds it whatever became of its notice."""
    async with running(database) as recado, connected(database) as db:
        actions = recado.node.actions
        await recado.topic("noticias", "omar")
        diego = await actions.know("diego")

        async def version() -> int:
            found: int = await db.fetchval("SELECT version FROM recado.users WHERE name = 'diego'")
            return found

        async def raised(change: Any) -> bool:
            before = await version()
            await change
            return await version() > before

        assert await raised(actions.invite(BACKEND, "noticias", "diego"))
        assert not await raised(actions.invite(BACKEND, "noticias", "diego"))  # joining again changes nothing
        assert await raised(actions.unsubscribe(BACKEND, diego, "noticias"))
        assert await raised(actions.create_topic(BACKEND, "suyo", diego, "private"))
        assert await raised(actions.delete_topic(BACKEND, "suyo"))
        assert await raised(actions.revoke_user("diego"))

        omar, told = await actions.user("omar"), list[Notice]()
        await actions.create_topic(Caller(omar), "club", omar, "public")
        await actions.invite(BACKEND, "club", "diego")
        recado.node.bus.attach(told.append, lambda: None)
        assert await raised(actions.unsubscribe(Caller(omar), omar, "club"))  # it is the owner from here on
        assert Changed(diego.id) in told
