"""Who belongs to much opens, changes and goes a slice at a time; and nobody else waits for that, least who must go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import connect

import ws_server.feeds.hub
import ws_server.feeds.membership_sync
import ws_server.feeds.memberships
from messaging.permissions import BACKEND
from messaging.store.store import Store
from messaging.store.tokens import TokenStore
from support.log import connected
from support.many_topics import join_many
from support.members import Medium, Publisher
from support.raw_ws import RawClient, raw_client, text
from support.waiting import until
from support.ws import Running, receive, running, send

NEVER = 3600.0
SLICE = 50


@pytest.fixture
def slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ws_server.feeds.memberships, "MAX_IN_TURN", SLICE)
    monkeypatch.setattr(ws_server.feeds.hub, "PLACES", SLICE)


@asynccontextmanager
async def steps(value: Callable[[], int]) -> AsyncIterator[list[int]]:
    """By how much something changed from one turn of the loop to the next."""
    found: list[int] = []

    async def look() -> None:
        before = value()
        while True:
            await asyncio.sleep(0)
            now = value()
            if now != before:
                found.append(now - before)
            before = now

    looking = asyncio.create_task(look())
    try:
        yield found
    finally:
        looking.cancel()


@pytest.mark.usefixtures("slices")
async def test_opening_and_going_give_way_to_others(database: str) -> None:
    async with running(database) as recado, connected(database) as db:
        await recado.node.actions.know("diego")
        await join_many(db, "diego", 1000)
        hub = recado.door.hub

        def live() -> int:
            return sum(len(feed.live) for feed in hub.feeds.values())

        async with steps(lambda: len(hub.feeds)) as attached, steps(live) as admitted:
            async with recado.client("diego") as diego:
                assert (await receive(diego, "connected"))["topics"] == 1001
                await until(lambda: live() == 1001)
            await until(lambda: not hub.feeds)
        for found in (attached, admitted):
            assert max(found) <= SLICE and min(found) >= -SLICE
            assert sum(step for step in found if step > 0) == 1001


@pytest.mark.usefixtures("slices")
async def test_what_is_pending_in_all_of_them_comes(database: str) -> None:
    async with running(database, sweep_every=NEVER) as recado, connected(database) as db:
        await recado.node.actions.know("diego")
        await join_many(db, "diego", 3 * SLICE)
        for number in (1, SLICE, SLICE + 1, 3 * SLICE):
            await Publisher(recado).publish(f"many/{number:06}", ["before"])
        async with recado.client("diego") as diego:
            assert (await receive(diego, "connected"))["pending"] == 4
            got = {(await receive(diego, "message"))["topic_name"] for _ in range(4)}
            assert got == {f"many/{number:06}" for number in (1, SLICE, SLICE + 1, 3 * SLICE)}
            await recado.node.actions.invite(BACKEND, "many/000002", "diego")
            await join_many(db, "diego", 1, "more")
            await recado.topic("last", "omar", "diego")
            await Publisher(recado).publish("more/000001", ["after"])
            assert (await receive(diego, "message"))["topic_name"] == "more/000001"


@asynccontextmanager
async def held(monkeypatch: pytest.MonkeyPatch, of: str, recado: Running) -> AsyncIterator[None]:
    """Somebody's memberships are being read for as long as this lasts."""
    user = await recado.node.actions.user(of)
    release, asked, real = asyncio.Event(), asyncio.Event(), Store.memberships

    async def memberships(self: Store, user_id: int, *args: Any) -> Any:
        if user_id == user.id:
            asked.set()
            await release.wait()
        return await real(self, user_id, *args)

    monkeypatch.setattr(Store, "memberships", memberships)
    await recado.topic("another", "omar", of)  # there is something to look at
    await asked.wait()
    try:
        yield
    finally:
        release.set()


@pytest.mark.parametrize("where", ["here", "elsewhere"])
async def test_removal_and_revocation_wait_for_nobodys_memberships(
    database: str, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    medium = Medium()
    async with (
        running(database, medium.bus(), sweep_every=NEVER) as one,
        running(database, medium.bus(), sweep_every=NEVER) as two,
    ):
        there = one if where == "here" else two
        await one.topic("noticias", "omar", "diego", "big")
        await one.node.actions.know("eva")
        async with one.client("big") as big, one.client("diego") as diego, one.client("eva") as eva:
            for link in (big, diego, eva):
                await receive(link, "connected")
            async with held(monkeypatch, "big", one):
                await there.node.actions.revoke_user("eva")
                assert (await receive(eva, "closing", within=1))["code"] == 4501
                for user, link in (("diego", diego), ("big", big)):
                    known = await there.node.actions.user(user)
                    await there.node.actions.unsubscribe(BACKEND, known, "noticias")
                    assert (await receive(link, within=1)) == {"action": "removed", "topic_name": "noticias"}
                await Publisher(there).publish("noticias", ["not for them"])
            await Publisher(there).publish("another", ["mark"])
            assert (await receive(big, "message"))["topic_name"] == "another"
            await send(diego, action="topics")
            assert (await receive(diego))["action"] == "topics"


async def test_what_ended_while_it_was_being_read_does_not_begin_again(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list of memberships is on its way when the notice comes that one of them is over."""
    async with running(database, sweep_every=NEVER) as recado:
        await recado.topic("noticias", "omar", "diego")
        real, read, release = Store.memberships, asyncio.Event(), asyncio.Event()

        async def memberships(self: Store, *args: Any) -> Any:
            found = await real(self, *args)
            read.set()
            await release.wait()
            return found

        async with recado.client("diego", "?device=there") as there:
            await receive(there, "connected")
            diego = await recado.node.actions.user("diego")
            monkeypatch.setattr(Store, "memberships", memberships)
            await recado.topic("another", "omar", "diego")
            async with recado.client("diego", "?device=opens") as opens:
                await read.wait()
                await until(lambda: sum(not s.opened for s in recado.door.hub.sessions()))
                await recado.node.actions.unsubscribe(BACKEND, diego, "noticias")
                assert (await receive(there))["action"] == "removed"
                await Publisher(recado).publish("noticias", ["not for diego"])
                release.set()
                await Publisher(recado).publish("another", ["for diego"])
                for link in (there, opens):
                    frame = await receive(link)
                    while frame["action"] != "message":
                        assert frame["action"] in ("connected", "invited"), frame
                        assert frame.get("topic_name") != "noticias"
                        frame = await receive(link)
                    assert frame["topic_name"] == "another"


async def test_who_leaves_is_told_so_once(database: str) -> None:
    """By the answer; the notice of it, which comes to the same node, adds nothing."""
    async with running(database, sweep_every=NEVER) as recado:
        await recado.topic("noticias", "omar", "diego")
        async with raw_client(recado.url, f"/{recado.token('diego')}") as diego:
            await diego.greeted()
            diego.write(text(action="unsubscribe", topic_name="noticias", ref="u"))
            await diego.answer("u")
            await diego.handled()
            await diego.handled()
            assert "removed" not in actions(diego)


def actions(client: RawClient) -> list[str]:
    return [frame["action"] for frame in client.texts]


@pytest.mark.parametrize("how", ["user", "jti"])
async def test_who_is_revoked_while_it_connects_is_sent_away(
    database: str, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """After its token was looked at, before it is among the sessions that notices are for: nothing tells."""
    async with running(database, sweep_every=NEVER) as recado:
        await recado.node.actions.know("diego")
        token = recado.token("diego")
        jti = (await recado.tokens.verify(token)).jti
        real, tokens = Store.find_user, recado.node.store.tokens

        async def find_user(self: Store, *args: Any) -> Any:
            found = await real(self, *args)
            await (TokenStore.revoke_user(tokens, "diego") if how == "user" else TokenStore.revoke(tokens, jti))
            return found

        monkeypatch.setattr(Store, "find_user", find_user)
        async with connect(f"{recado.url}/{token}", proxy=None) as diego:
            closing = await receive(diego)
            assert (closing["action"], closing["code"], closing["reconnect"]) == ("closing", 4501, False)


async def test_topics_come_by_name_a_page_at_a_time(database: str) -> None:
    async with running(database) as recado, connected(database) as db:
        await recado.node.actions.know("diego")
        await join_many(db, "diego", 1500)
        async with recado.client("diego") as diego:
            names, more = [""], True
            pages: list[int] = []
            while more:
                await send(diego, action="topics", ref="r", **({"after": names[-1]} if pages else {}))
                page = await receive(diego, "topics")
                names += [topic["topic_name"] for topic in page["topics"]]
                pages.append(len(page["topics"]))
                more = page["more"]
            assert pages == [1000, 501]
            assert names[1:] == ["@diego", *(f"many/{number:06}" for number in range(1, 1501))]
            for wish, found in ((5, 5), (5000, 1000)):
                await send(diego, action="topics", limit=wish)
                page = await receive(diego, "topics")
                assert (len(page["topics"]), page["more"]) == (found, True)


async def test_pages_are_of_what_a_token_lets_see(database: str) -> None:
    async with running(database) as recado, connected(database) as db:
        await recado.node.actions.know("diego")
        await join_many(db, "diego", 50)
        token = recado.token("diego", payload={"topics": {"read": ["many/*5"]}})
        async with connect(f"{recado.url}/{token}", proxy=None) as diego:
            await send(diego, action="topics", limit=4)
            page = await receive(diego, "topics")
            assert [each["topic_name"] for each in page["topics"]] == ["@diego", *(f"many/0000{n}5" for n in "012")]
            assert page["more"]
            await send(diego, action="topics", limit=2, after="many/000025")
            page = await receive(diego, "topics")
            assert [each["topic_name"] for each in page["topics"]] == ["many/000035", "many/000045"]
            assert not page["more"]
