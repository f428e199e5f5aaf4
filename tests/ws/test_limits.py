"""How much a session, and a user, may send; and that whoever sends too much stops nobody else."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.protocol import Event

import ws_server.pace
from messaging.frames import CloseCode
from support.counted import reached
from support.raw_ws import PING, PONG, TEXT, RawClient, frame, raw_client, text
from support.waiting import until
from support.ws import receive, running, send
from ws_server.connection import MAX_FRAGMENTS, Connection
from ws_server.turns import MAX_FRAMES

CONT = 0
EMPTY = bytes([CONT, 0x80]) + bytes(4)  # a fragment of nothing that is not the last


def begun(payload: bytes) -> bytes:
    """The first fragment of a message."""
    return bytes([TEXT]) + frame(TEXT, payload)[1:]


async def receipts(link: ClientConnection, count: int) -> None:
    """Wait for so many."""
    while count:
        count -= (await receive(link, "message")).get("result") == "ok"


async def opened(client: RawClient) -> None:
    await client.greeted()
    await client.heard()


# --- frames per second -----------------------------------------------------------------------------


async def test_a_session_above_its_rate_is_read_slower_and_refused_nothing(database: str) -> None:
    async with running(database, rate_limit=40.0) as recado, recado.client("diego") as diego:
        await receive(diego, "connected")
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number in range(140):
            await send(diego, action="dance", ref=str(number))
        answers = [await receive(diego, "error") for _ in range(140)]
        assert loop.time() - began > 1.0  # the burst is 80
        assert [str(number) for number in range(140)] == [answer["ref"] for answer in answers]
        assert {"unknown_action"} == {answer["code"] for answer in answers}
        assert reached(recado, "rate_limit")


@pytest.mark.parametrize(
    ("frames", "count", "is_above"),
    [
        (frame(PING), 100, True),
        (EMPTY, 100, True),
        (text(action="dance"), 100, True),
        (frame(TEXT, b"{"), 100, True),
        (frame(PONG), 100, False),
        (text(action="ack", topic_name="plaza", seq=1), 100, False),
        (frame(PONG), 2000, True),
        (text(action="ack", topic_name="plaza", seq=1), 2000, True),
    ],
)
async def test_every_frame_counts_and_acks_and_pongs_a_twentieth(
    database: str, frames: bytes, count: int, is_above: bool
) -> None:
    async with running(database, rate_limit=40.0) as recado:
        await recado.topic("plaza", "diego")
        async with raw_client(recado.url, f"/{recado.token('diego')}") as diego:
            await diego.greeted()
            diego.write(text(action="message", topic_name="plaza", content=1))
            await diego.message(1)
            if frames is EMPTY:
                diego.write(begun(b"{"))
            diego.write(frames * count)
            diego.write(frame(CONT, b"}") if frames is EMPTY else b"", text(action="dance", ref="behind"))
            await diego.answer("behind")
        assert is_above == bool(reached(recado, "rate_limit"))


async def test_4029_for_one_that_is_above_its_rate_for_long(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ws_server.pace, "TOO_FAST_SECONDS", 0.5)
    async with (
        running(database, rate_limit=10.0) as recado,
        raw_client(recado.url, f"/{recado.token('diego')}") as diego,
    ):
        diego.write(text(action="dance") * 200)
        await diego.until(lambda: diego.closed)
        closing = next(frame for frame in diego.texts if frame["action"] == "closing")
        assert (4029, 4029, True) == (diego.closed, closing["code"], closing["reconnect"])


async def test_what_a_session_that_is_held_up_has_sent_is_read_when_it_closes(database: str) -> None:
    """Going is the end of every pause: descriptors do not wait for a rate."""
    async with running(database, rate_limit=1.0) as recado:
        async with raw_client(recado.url, f"/{recado.token('diego')}") as diego:
            await diego.greeted()
            diego.write(text(action="dance") * 20)
            await diego.until(lambda: len(diego.texts) > 1)
            [session] = recado.door.hub.sessions()
            session.connection.refuse(CloseCode.INTERNAL, "")
            await diego.until(lambda: diego.closed)
        async with asyncio.timeout(10):
            await session.connection.wait_closed()
        assert session.gone and not session.connection.unread_for


# --- one message -----------------------------------------------------------------------------------


async def test_a_message_has_at_most_1024_fragments(database: str) -> None:
    async with running(database) as recado:
        path, ask = f"/{recado.token('diego')}", b'{"action":"dance","ref":"whole"}'
        async with raw_client(recado.url, path) as diego:
            diego.write(begun(ask[:9]), EMPTY * (MAX_FRAGMENTS - 2), frame(CONT, ask[9:]))
            await diego.answer("whole")
            diego.write(begun(ask[:9]), EMPTY * (MAX_FRAGMENTS - 1), frame(CONT, ask[9:]))
            assert 1009 == await diego.until(lambda: diego.closed)
        assert 1 == reached(recado, "fragments")


# --- bytes per second ------------------------------------------------------------------------------


async def test_the_sessions_of_a_user_share_its_bytes_and_others_notice_nothing(database: str) -> None:
    async with running(database, rate_bytes=2**18) as recado:  # bursts of 2 MiB
        await recado.topic("plaza", "ana")
        loop = asyncio.get_running_loop()

        async def heard(link: ClientConnection, count: int) -> float:
            await receipts(link, count)
            return loop.time() - began

        async with recado.client("diego") as one, recado.client("diego") as other, recado.client("ana") as ana:
            for link in (one, other, ana):
                await receive(link, "connected")
            began = loop.time()
            for number in range(44):
                large = {"content": "y" * 60_000, "id": str(number)}
                await send((one, other)[number % 2], action="message", topic_name="@diego", **large)
            await send(ana, action="message", topic_name="plaza", content="hello", id="1")
            first, *last = await asyncio.gather(heard(ana, 1), heard(one, 22), heard(other, 22))
        assert 0.5 < max(last) and first < max(last)
        assert reached(recado, "rate_bytes")


# --- turns of the loop -----------------------------------------------------------------------------


@pytest.mark.parametrize("sessions", [1, 4])
async def test_a_user_has_a_bounded_part_of_a_turn_whatever_its_sessions_send(
    database: str, monkeypatch: pytest.MonkeyPatch, sessions: int
) -> None:
    flood, handled = 3000, 0
    process_event = Connection.process_event

    def counted(link: Connection, event: Event) -> None:
        nonlocal handled
        handled += 1
        process_event(link, event)

    async with running(database, rate_limit=0.0) as recado, AsyncExitStack() as stack:
        path = f"/{recado.token('diego')}"
        clients = [await stack.enter_async_context(raw_client(recado.url, path)) for _ in range(sessions)]
        for client in clients:
            await opened(client)
        monkeypatch.setattr(Connection, "process_event", counted)
        for client in clients:
            client.write(frame(PONG) * flood)
        most, before = 0, 0
        while before < sessions * flood:
            await asyncio.sleep(0)  # one turn
            most, before = max(most, handled - before), handled
        assert 0 < most <= 2 * MAX_FRAMES  # what is read in it, and what waited


async def test_a_message_in_pieces_is_read_in_whatever_turns_its_bytes_come(database: str) -> None:
    async with (
        running(database, rate_limit=0.0) as recado,
        raw_client(recado.url, f"/{recado.token('diego')}") as diego,
    ):
        await opened(diego)
        flood = frame(PING, b"x") * MAX_FRAMES + text(action="dance", ref="last", topic_name="y" * 60)
        for start in range(0, len(flood), 1000):
            diego.write(flood[start : start + 1000])
            await diego.writer.drain()
            await asyncio.sleep(0)
        await diego.answer("last")


async def test_what_came_before_a_close_frame_counts_though_it_takes_turns(database: str) -> None:
    async with running(database, rate_limit=0.0) as recado:
        await recado.topic("plaza", "diego")
        async with raw_client(recado.url, f"/{recado.token('diego')}") as diego:
            await opened(diego)
            publishes = [text(action="message", topic_name="plaza", content=n) for n in range(2 * MAX_FRAMES)]
            diego.write(*publishes, frame(8, (1000).to_bytes(2, "big")))
            await diego.until(lambda: diego.closed)
        await recado.node.settle()
        topic = await recado.node.store.topic_view("plaza")
        assert topic is not None and 2 * MAX_FRAMES == topic.head


@pytest.mark.skipif(sys.platform != "linux", reason="TCP_INFO is Linux's")
@pytest.mark.parametrize("limit", [{"rate_limit": 1.0}, {"rate_bytes": 2**14, "rate_limit": 0.0}])
async def test_a_session_that_is_held_up_and_was_reset_is_gone_at_once(database: str, limit: dict[str, Any]) -> None:
    """Not when all that it had sent would have been read: that takes minutes."""
    async with running(database, **limit) as recado, AsyncExitStack() as stack:
        await recado.node.actions.know("ana")  # nothing is written to who writes to her
        path = f"/{recado.token('diego')}"
        clients = [await stack.enter_async_context(raw_client(recado.url, path)) for _ in range(4)]
        for client in clients:
            await client.greeted()
            client.write(text(action="message", topic_name="@ana", content="y" * 10_000) * 50)
        await until(lambda: sum(bool(session.connection.unread_for) for session in recado.door.hub.sessions()) == 4)
        links = [session.connection for session in recado.door.hub.sessions()]
        links[0].transport.abort()
        for client in clients:
            client.reset()
        await until(lambda: not list(recado.door.hub.sessions()))
        await until(lambda: not links[0]._turns._shares)
