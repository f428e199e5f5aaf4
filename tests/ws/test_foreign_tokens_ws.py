"""Tokens of other issuers at the WebSocket door."""

import asyncio
import json
import time

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from support.issuers import AUTH0, FIREBASE, SomeIssuer, issuing
from support.ws import Running, receive, running, send


def entering(recado: Running, token: str) -> connect:
    return connect(f"{recado.url}/{token}", proxy=None, compression=None, ping_interval=None, max_queue=None)


async def refused(recado: Running, token: str, status: int) -> str:
    with pytest.raises(InvalidStatus) as caught:
        await entering(recado, token)
    assert status == caught.value.response.status_code
    return str(json.loads(caught.value.response.body)["message"])


async def closed(link: ClientConnection) -> int | None:
    with pytest.raises(ConnectionClosed) as caught:
        while True:
            await link.recv()
    return caught.value.rcvd.code if caught.value.rcvd is not None else None


async def test_they_chat_with_ours(database: str) -> None:
    async with (
        issuing(FIREBASE) as firebase,
        issuing(AUTH0, algorithm="EdDSA") as auth0,
        running(database, jwt_issuers=(firebase.setting(), auth0.setting(prefix="auth0:"))) as recado,
        entering(recado, firebase.token()) as ana,
        entering(recado, auth0.token(sub="google|17")) as other,
        recado.client("omar") as omar,
    ):
        names = [(await receive(link, "connected"))["username"] for link in (ana, other, omar)]
        assert ["ana", "auth0:google|17", "omar"] == names
        for link in (ana, other, omar):
            await send(link, action="subscribe", topic_name="general")
            await receive(link, "subscribe")
        for link, name in zip((ana, other, omar), names, strict=True):
            await send(link, action="message", topic_name="general", content=f"from {name}")
            said = [(await receive(each, "message"))["user_source"] for each in (ana, other, omar)]
            assert [name] * 3 == said


async def test_who_is_not_let_in(database: str) -> None:
    async with issuing() as issuer, running(database, jwt_issuers=(issuer.setting(),)) as recado:
        assert "InvalidAudience" in await refused(recado, issuer.token(aud="another-project"), 401)
        assert "expired" in await refused(recado, issuer.token(exp=int(time.time()) - 1), 401)
        assert "no key of this id" in await refused(recado, issuer.token("two"), 401)
        await refused(recado, issuer.token(iss=AUTH0), 401)
        await refused(recado, issuer.token(topics="all"), 401)


async def slow_login(recado: Running, issuer: SomeIssuer) -> asyncio.Task[ClientConnection]:
    """A login that waits for the issuer's keys, which do not come yet."""

    async def login() -> ClientConnection:
        return await entering(recado, issuer.token())

    issuer.lets_through.clear()
    slow = asyncio.create_task(login())
    await issuer.asked.wait()
    return slow


async def test_while_an_issuer_is_slow_everything_else_goes_on(database: str) -> None:
    async with (
        issuing() as issuer,
        running(database, jwt_issuers=(issuer.setting(),)) as recado,
        recado.client("omar") as omar,
    ):
        await receive(omar, "connected")
        slow = await slow_login(recado, issuer)

        # The issuer answers only after all this: no step of it has waited for that.
        await (await omar.ping())
        async with recado.client("diego") as diego:
            assert "diego" == (await receive(diego, "connected"))["username"]
            await send(diego, action="message", topic_name="@omar", content="hello", id="1")
            await receive(diego, "message")
            assert "hello" == (await receive(omar, "message"))["content"]
        assert not slow.done()

        issuer.lets_through.set()
        async with await slow as ana:
            assert "ana" == (await receive(ana, "connected"))["username"]


async def test_an_issuer_that_is_away_says_come_back(database: str) -> None:
    async with issuing() as issuer:
        setting = issuer.setting()
    async with running(database, jwt_issuers=(setting,)) as recado:
        assert "Try again" in await refused(recado, issuer.token(), 503)
        async with recado.client("omar") as omar:
            await receive(omar, "connected")


async def test_a_session_ends_with_its_token(database: str) -> None:
    async with (
        issuing() as issuer,
        running(database, jwt_issuers=(issuer.setting(),)) as recado,
        entering(recado, issuer.token(exp=int(time.time()) + 3)) as ana,
    ):
        assert 4001 == await closed(ana)


async def test_a_revocation_ends_it(database: str) -> None:
    async with issuing() as issuer, running(database, jwt_issuers=(issuer.setting(prefix="fb:"),)) as recado:
        actions = recado.node.actions
        async with entering(recado, issuer.token(jti="j-1")) as one, entering(recado, issuer.token()) as two:
            for link in (one, two):
                assert "fb:ana" == (await receive(link, "connected"))["username"]
            await actions.revoke_token("j-1")
            assert 4501 == await closed(one)
            await (await two.ping())
            await actions.revoke_user("fb:ana")
            assert 4501 == await closed(two)
        assert "revoked" in await refused(recado, issuer.token(iat=int(time.time()) - 1), 401)


async def test_nobody_shut_out_by_a_slow_issuer_keeps_the_server_from_ending(database: str) -> None:
    async with issuing() as issuer:
        async with running(database, jwt_issuers=(issuer.setting(),)) as recado:
            slow = await slow_login(recado, issuer)
        with pytest.raises((OSError, InvalidStatus, InvalidMessage, EOFError)):
            await slow
