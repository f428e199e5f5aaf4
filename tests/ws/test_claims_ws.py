"""The claim `topics` on a session: what it sees, is sent and may publish to."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from messaging.permissions import Caller
from support.ws import Running, asked, receive, running, send


@asynccontextmanager
async def house(database: str) -> AsyncIterator[Running]:
    """`shop.1` and `attic` (private, eva's); `news` (public) and `lounge` (private), of which ana is a member."""
    async with running(database) as recado:
        await recado.topic("shop.1", "eva", kind="private")
        await recado.topic("attic", "eva", kind="private")
        await recado.topic("news", "eva", "ana")
        await recado.topic("lounge", "eva", "ana", kind="private")
        yield recado


@asynccontextmanager
async def claiming(recado: Running, **topics: list[str]) -> AsyncIterator[tuple[ClientConnection, dict[str, Any]]]:
    """A session of ana's with such a claim, and how it was greeted."""
    token = recado.token("ana", payload={"topics": topics})
    async with connect(
        f"{recado.url}/{token}", proxy=None, compression=None, ping_interval=None, max_queue=None
    ) as link:
        yield link, await receive(link, "connected")


async def topics_of(link: ClientConnection) -> set[str]:
    return {topic["topic_name"] for topic in (await asked(link, action="topics"))["topics"]}


async def say(recado: Running, *names: str) -> None:
    """A word from eva to each of these topics, stored when this returns."""
    async with recado.client("eva") as eva:
        for name in names:
            answer = await asked(eva, action="message", topic_name=name, content=f"to {name}", id=name)
            assert "ok" == answer["result"]


async def test_a_session_is_sent_what_its_token_reads_and_its_inbox(database: str) -> None:
    async with house(database) as recado:
        await say(recado, "lounge", "news", "@ana")
        async with claiming(recado, read=["news"]) as (link, greeting):
            assert (2, 2) == (greeting["topics"], greeting["pending"])
            assert {"to news", "to @ana"} == {(await receive(link, "message"))["content"] for _ in range(2)}
            assert {"news", "@ana"} == await topics_of(link)
            async with recado.client("eva") as eva:
                for name in ("lounge", "news", "@ana"):
                    await asked(eva, action="message", topic_name=name, content=f"now to {name}", id=f"2-{name}")
            assert {"now to news", "now to @ana"} == {(await receive(link, "message"))["content"] for _ in range(2)}
            await send(link, action="ack", topic_name="lounge", seq=1)
            assert "unknown_topic" == (await receive(link, "error"))["code"]
        # Nothing of what it was not sent has been confirmed.
        async with recado.client("ana") as ana:
            lounge: list[str] = []
            while len(lounge) < 2:
                message = await receive(ana, "message")
                lounge += [message["content"]] * (message["topic_name"] == "lounge")
            assert ["to lounge", "now to lounge"] == lounge


async def test_an_invitation_beyond_its_token_does_not_reach_it(database: str) -> None:
    async with house(database) as recado, claiming(recado, read=["shop.*"]) as (link, _), recado.client("ana") as plain:
        actions = recado.node.actions
        eva = Caller(await actions.user("eva"))
        await receive(plain, "connected")  # else its greeting may count the topic, and nothing is left to tell
        await actions.invite(eva, "attic", "ana")
        assert "attic" == (await receive(plain, "invited"))["topic_name"]
        await actions.invite(eva, "shop.1", "ana")
        assert "shop.1" == (await receive(plain, "invited"))["topic_name"]
        assert "shop.1" == (await receive(link, "invited"))["topic_name"]
        await say(recado, "attic", "shop.1")
        assert "to shop.1" == (await receive(link, "message"))["content"]
        assert {"shop.1", "@ana"} == await topics_of(link)


async def test_a_private_topic_is_joined_by_grant(database: str) -> None:
    async with house(database) as recado:
        await say(recado, "shop.1")
        async with claiming(recado, read=["shop.*"]) as (link, greeting):
            assert 1 == greeting["topics"]
            history = await asked(link, action="history", topic_name="shop.1")
            assert ["to shop.1"] == [message["content"] for message in history["messages"]]
            assert "ok" == (await asked(link, action="subscribe", topic_name="shop.1"))["result"]
            assert "unknown_topic" == (await asked(link, action="subscribe", topic_name="shop.2"))["code"]
            async with recado.client("eva") as eva:
                await asked(eva, action="message", topic_name="shop.1", content="live", id="live")
            assert "live" == (await receive(link, "message"))["content"]


async def test_a_ticket_carries_the_claim(database: str) -> None:
    async with house(database) as recado:
        claims = await recado.tokens.verify(recado.token("ana", payload={"topics": {"read": []}}))
        ticket = await recado.node.tickets.issue(claims)
        async with connect(f"{recado.url}/{ticket}", proxy=None) as link:
            assert 1 == (await receive(link, "connected"))["topics"]
