"""Every close code of the protocol, the frame before it, and that confirmations are stored before it goes out."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

import messaging.readers.cursors
import ws_server.feeds.membership_sync
import ws_server.feeds.ticker
import ws_server.server
from messaging.permissions import BACKEND
from support.counted import reached
from support.log import connected
from support.members import Log, Publisher, read_until, until_confirmed, until_sql
from support.raw_members import RawClient
from support.waiting import until
from support.ws import Running, receive, running, send
from ws_server.requests import Requests

NEVER = 3600.0


@pytest.fixture
async def recado(database: str) -> Any:
    async with running(database) as recado:
        yield recado


async def ends(link: Any, code: int, *, reconnect: bool | None = None, retry_after: int | None = None) -> None:
    """The connection closes with this code, and (for our own codes) says so in a frame before."""
    frames: list[dict[str, Any]] = []
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            frames.append(await receive(link, within=15))
    assert closed.value.rcvd is not None and closed.value.rcvd.code == code
    if code < 4000:
        assert not [frame for frame in frames if frame["action"] == "closing"]
        return
    closing = frames[-1]
    reason = closing.pop("reason")
    assert isinstance(reason, str) and reason == closed.value.rcvd.reason
    expected = {"action": "closing", "code": code, "reconnect": reconnect}
    assert closing == (expected if retry_after is None else {**expected, "retry_after": retry_after})


# --- ours to mend ----------------------------------------------------------------------------------


async def test_1011_for_whom_we_fail_and_for_nobody_else(
    recado: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(*_: Any) -> None:
        raise ValueError("what was" + " asked for")

    await recado.topic("noticias", "omar", "diego")
    async with recado.client("diego") as diego, recado.client("omar") as omar:
        monkeypatch.setattr(recado.node.actions, "history", fails)
        await send(diego, action="history", topic_name="noticias")
        await ends(diego, 1011)
        await send(omar, action="topics")
        await receive(omar, "topics")
    assert "History: ValueError" in caplog.text and "what was asked for" not in caplog.text


# --- come back -------------------------------------------------------------------------------------


async def test_4001_when_the_token_expires(recado: Running) -> None:
    token = recado.token("diego", lifetime=2)
    async with connect(f"{recado.url}/{token}", proxy=None) as diego, recado.client("diego") as other:
        await receive(diego, "connected")
        await ends(diego, 4001, reconnect=True)
        await send(other, action="topics")  # of the same user, with a token that lasts
        await receive(other, "topics")


async def test_4008_for_one_that_takes_nothing(database: str) -> None:
    """It reads nothing and pongs nothing; then it reads what was written for it."""
    async with running(database, stuck_after=0.5) as recado:
        await recado.topic("noticias", "omar", "diego")
        async with await RawClient.connect(f"{recado.url}/{recado.token('diego')}") as diego:
            await diego.next("connected")
            await Publisher(recado).publish("noticias", ["hola"])
            await until(
                lambda: any(session.closing for session in recado.door.hub.sessions()) or not recado.door.hub.users
            )
            assert await diego.end() == 4008
            assert [frame["action"] for frame in diego.frames] == ["message", "closing"]
            assert {**diego.frames[-1], "reason": ""} == {
                "action": "closing", "code": 4008, "reason": "", "reconnect": True,
            }  # fmt: skip
            assert not diego.after_close


async def test_one_that_pongs_is_not_stuck(database: str) -> None:
    """Answered pings are forgotten, however long the silence after them."""
    async with running(database, stuck_after=0.3) as recado:
        await recado.topic("noticias", "omar", "diego")
        async with recado.client("diego") as diego:
            log = Log()
            for number in range(1, 4):
                await Publisher(recado).publish("noticias", [number])
                await read_until(diego, log, "noticias", number)
                await until_confirmed(recado, "diego", "noticias", number)
            await asyncio.sleep(0.9)  # the clock of the stuck goes round three times
            await send(diego, action="topics")
            assert (await receive(diego))["action"] == "topics"


async def test_4012_when_the_server_drains(recado: Running) -> None:
    async with recado.client("diego") as diego, recado.client("ana") as ana:
        for link in (diego, ana):
            await receive(link, "connected")
        drained = asyncio.create_task(recado.door.drain())
        await ends(diego, 4012, reconnect=True, retry_after=1)
        await ends(ana, 4012, reconnect=True, retry_after=1)
        await drained
    with pytest.raises(OSError):
        async with recado.client("diego"):
            pass


async def test_4012_for_a_session_that_is_being_opened_when_the_server_drains(recado: Running, database: str) -> None:
    await recado.topic("noticias", "diego")
    async with connected(database) as db:
        await db.execute("BEGIN")
        await db.execute("LOCK TABLE recado.devices")  # the opening waits
        async with recado.client("diego") as diego:
            drained = asyncio.create_task(recado.door.drain())
            await until(lambda: recado.door._server is not None and not recado.door._server.is_serving())
            await db.execute("COMMIT")
            await ends(diego, 4012, reconnect=True, retry_after=1)
            await drained


# --- stay away -------------------------------------------------------------------------------------


async def test_4501_when_a_user_is_revoked(database: str) -> None:
    """All sessions of it, at once: the sweep, which would find it in seconds, is off."""
    async with (
        running(database, sweep_every=NEVER) as recado,
        recado.client("diego") as one,
        recado.client("diego", "?device=b") as two,
        recado.client("ana") as ana,
    ):
        for link in (one, two, ana):
            await receive(link, "connected")
        await recado.node.actions.revoke_user("diego")
        async with asyncio.timeout(1):
            await asyncio.gather(ends(one, 4501, reconnect=False), ends(two, 4501, reconnect=False))
        await send(ana, action="topics")
        await receive(ana, "topics")
        async with recado.client("diego") as again:  # a new token works at once
            await receive(again, "connected")


async def test_4501_when_a_token_is_revoked(database: str) -> None:
    async with running(database, sweep_every=NEVER) as recado:
        token = recado.token("diego")
        async with connect(f"{recado.url}/{token}", proxy=None) as diego, recado.client("diego") as other:
            await receive(diego, "connected")
            await receive(other, "connected")
            await recado.node.actions.revoke_token((await recado.tokens.verify(token)).jti)
            async with asyncio.timeout(1):
                await ends(diego, 4501, reconnect=False)
            await send(other, action="topics")
            await receive(other, "topics")


async def test_what_a_revoked_session_still_waits_for_is_not_done(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes none of its replies, so what it has asked for behind them waits until the connection is cut off."""
    monkeypatch.setattr(ws_server.server, "CLOSE_TIMEOUT", 0.5)
    async with running(database) as recado:
        await recado.topic("noticias", "omar", "diego")
        await Publisher(recado).publish("noticias", ["x" * 50_000] * 10)
        async with await RawClient.connect(f"{recado.url}/{recado.token('diego')}", receive_buffer=4096) as diego:
            await diego.next("connected")
            for _ in range(60):
                await diego.send(json.dumps({"action": "history", "topic_name": "noticias"}))
            await diego.send(json.dumps({"action": "message", "topic_name": "noticias", "content": "late"}))
            [link] = recado.door._alive
            await until(lambda: "replies" in link.unread_for)
            await recado.node.actions.revoke_user("diego")
            requests = link.reader
            assert isinstance(requests, Requests)
            await until(lambda: not recado.door._alive and not requests._working)
            await Publisher(recado).publish("noticias", ["behind it"])
        messages, _, _ = await recado.node.actions.history(BACKEND, "noticias", None, None, 2)
        assert "late" not in [json.loads(message.content) for message in messages]


async def test_4503_for_a_device_too_many(recado: Running) -> None:
    async with AsyncExitStack() as stack:
        for number in range(16):
            link = await stack.enter_async_context(recado.client("diego", f"?device=d{number}"))
            await receive(link, "connected")
        link = await stack.enter_async_context(recado.client("diego", "?device=d16"))
        await ends(link, 4503, reconnect=False)
        assert 1 == reached(recado, "devices")
        again = await stack.enter_async_context(recado.client("diego", "?device=d3"))
        await receive(again, "connected")


async def test_4529_for_too_many_connections(database: str) -> None:
    async with running(database, max_connections_per_user=2) as recado, AsyncExitStack() as stack:
        links = [await stack.enter_async_context(recado.client("diego")) for _ in range(3)]
        for link in links[:2]:
            await receive(link, "connected")
        await ends(links[2], 4529, reconnect=False)
        await receive(await stack.enter_async_context(recado.client("ana")), "connected")
        await links[0].close()  # its place is free again
        await until(lambda: len(list(recado.door.hub.sessions())) == 2)
        await receive(await stack.enter_async_context(recado.client("diego")), "connected")


async def test_connections_that_end_in_any_way_are_no_longer_counted(database: str) -> None:
    async with running(database, max_connections_per_user=2) as recado:
        url = f"{recado.url}/{recado.token('diego')}"
        for how in range(9):
            async with await RawClient.connect(url) as one, await RawClient.connect(url) as two:
                for link in (one, two):
                    assert (await link.next())["action"] == "connected", how
                if how % 3 == 1:
                    await one.send(b"", Opcode.BINARY)
                elif how % 3 == 2:
                    await two.send_bytes(b"\xff\xff\xff\xff")
            await until(lambda: not recado.door._per_user and not len(recado.node.connections))
        assert recado.node.metrics.registry.get_sample_value("recado_sessions") == 0


# --- the library's own -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (Frame(Opcode.BINARY, b"hello"), 1003),
        (Frame(Opcode.TEXT, b'{"action":"\xff"}'), 1007),
        (Frame(Opcode.TEXT, b'"\xed\xa0\x80"'), 1007),  # a surrogate, encoded
        (Frame(Opcode.TEXT, b'"' + b"y" * 70_000 + b'"'), 1009),
        (Frame(Opcode.CONT, b"hello"), 1002),
        (Frame(Opcode.CLOSE, b"\x03\xe8bye"), 1000),
        (Frame(Opcode.CLOSE, b"\x0f\xa0"), 4000),
    ],
    ids=["binary", "not UTF-8", "surrogate", "too large", "continues nothing", "closes", "closes"],
)
async def test_what_fails_a_connection_fails_it_alone(recado: Running, data: Frame, code: int) -> None:
    await recado.topic("noticias", "omar", "diego")
    async with recado.client("diego") as diego, await RawClient.connect(f"{recado.url}/{recado.token('omar')}") as omar:
        await receive(diego, "connected")
        await omar.next("connected")
        await omar.request(action="message", topic_name="noticias", content="before")
        await omar.next("message")
        await omar.send_bytes(data.serialize(mask=True))
        await omar.request(action="message", topic_name="noticias", content="behind the end")
        assert await omar.end() == code
        assert not omar.after_close and not omar.frames
        await Publisher(recado).publish("noticias", ["after"])
        log = await read_until(diego, Log(), "noticias", 2)
        assert log.contents("noticias") == ["before", "after"]


async def test_a_fragment_of_a_binary_message_is_enough(recado: Running) -> None:
    async with await RawClient.connect(f"{recado.url}/{recado.token('omar')}") as omar:
        await omar.next("connected")
        await omar.send(b"hel", Opcode.BINARY, fin=False)
        assert await omar.end() == 1003


async def test_too_large_in_fragments(recado: Running) -> None:
    async with await RawClient.connect(f"{recado.url}/{recado.token('omar')}") as omar:
        await omar.next("connected")
        await omar.send('"' + "y" * 40_000, fin=False)
        await omar.send("y" * 40_000 + '"', Opcode.CONT)
        assert await omar.end() == 1009


async def test_max_frame_is_the_limit_to_the_byte(recado: Running) -> None:
    await recado.topic("noticias", "omar")
    head, tail = '{"action":"message","topic_name":"noticias","content":"', '"}'
    room = 65536 - len(head) - len(tail)
    async with recado.client("omar") as omar:
        await receive(omar, "connected")
        await omar.send(head + "y" * room + tail)
        assert len((await receive(omar, "message"))["content"]) == room
        await omar.send(head + "y" * (room + 1) + tail)
        await ends(omar, 1009)


# --- before the close frame ------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["disconnect", "revoked", "drained", "expired"])
async def test_confirmations_are_stored_before_the_close_frame(
    database: str, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """No timer flushes them here: who has the close frame finds its cursor where it was."""
    monkeypatch.setattr(messaging.readers.cursors, "FLUSH_EVERY", NEVER)
    async with running(database) as recado, connected(database) as db:
        await recado.topic("noticias", "omar", "diego")
        token = recado.token("diego", lifetime=3 if how == "expired" else 60)
        async with connect(f"{recado.url}/{token}", proxy=None) as diego:
            await Publisher(recado).publish("noticias", range(1, 4))
            await read_until(diego, Log(), "noticias", 3)
            await until(lambda: any(seq == 3 for seq in recado.node.cursors._moves.values()))  # the pong came
            question = "SELECT max(seq) FROM recado.cursors"
            assert await db.fetchval(question) == 0
            drained = None
            if how == "disconnect":
                await send(diego, action="disconnect")
            elif how == "revoked":
                await recado.node.actions.revoke_user("diego")
            elif how == "drained":
                drained = asyncio.create_task(recado.door.drain())
            with pytest.raises(ConnectionClosed):
                while True:
                    await receive(diego)
            assert await db.fetchval(question) == 3
            if drained is not None:
                await drained


async def test_what_a_session_published_is_stored_though_it_has_gone(recado: Running, database: str) -> None:
    await recado.topic("noticias", "omar")
    async with connected(database) as db, await RawClient.connect(f"{recado.url}/{recado.token('omar')}") as omar:
        await omar.next("connected")
        await db.execute("BEGIN")
        await db.execute("SELECT FROM recado.heads FOR UPDATE")  # the append must wait
        for number in range(10):
            await omar.request(action="message", topic_name="noticias", content=number)
        await until(lambda: recado.node.appender.waiting_bytes > 10 * 512)
        omar.close()
        await until(lambda: not recado.door.hub.users)
        await db.execute("COMMIT")
        await until_sql(db, "SELECT count(*) = 10 FROM recado.messages")


async def test_leaving_the_topic_owner_is_told_like_others(recado: Running) -> None:
    """Deleted, removed by the owner, left on another connection: each is a `removed`, and the session stays open."""
    for topic in ("uno", "dos", "tres"):
        await recado.topic(topic, "omar", "diego")
    async with recado.client("diego") as diego, recado.client("diego") as other:
        await receive(diego, "connected")
        await receive(other, "connected")
        await recado.node.actions.delete_topic(BACKEND, "uno")
        assert (await receive(diego))["topic_name"] == "uno"
        await recado.node.actions.unsubscribe(BACKEND, await recado.node.actions.user("diego"), "dos")
        assert json.loads(await diego.recv()) == {"action": "removed", "topic_name": "dos"}
        for _ in range(2):
            await receive(other, "removed")
        await send(other, action="unsubscribe", topic_name="tres")
        assert await receive(diego) == {"action": "removed", "topic_name": "tres"}
