"""nats-py, tamed: whatever peers send is given out, and whatever ends, ends the line and nothing else."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import ConnectionClosedError
from nats.protocol.parser import Parser

from messaging.bus import nats_connection
from messaging.bus.nats_connection import TROUBLE, confirm, connect, fault_of, has_jetstream, let_go, ping
from messaging.errors import Unavailable
from support.nats_server import nats_server
from support.places import free_port

TIME = 15
INFO = b'INFO {"server_id":"x","version":"2.15.1","headers":true,"max_payload":1048576}\r\n'


@asynccontextmanager
async def line_to(port: int, **options: Any) -> AsyncIterator[Client]:
    client = await connect([f"nats://127.0.0.1:{port}"], "test", **options)
    try:
        yield client
    finally:
        await let_go(client)


class Heard:
    def __init__(self) -> None:
        self.messages: asyncio.Queue[Msg] = asyncio.Queue()

    async def take(self, message: Msg) -> None:
        self.messages.put_nowait(message)

    async def next(self) -> Msg:
        async with asyncio.timeout(TIME):
            return await self.messages.get()


async def say(port: int, *lines: bytes) -> None:
    """A peer that speaks the protocol by hand, and is answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b'CONNECT {"verbose":false,"headers":true}\r\n' + b"".join(lines) + b"PING\r\n")
    async with asyncio.timeout(TIME):
        await reader.readuntil(b"PONG\r\n")
    writer.close()


@pytest.mark.parametrize(
    "subject", [b"ny.\xff", b"ny.\xed\xa0\x80", b"ny.\x0bfoo", b"ny.\x0c7", b"ny.a\rb", b"ny.\x00", b"ny.\x85"]
)
async def test_a_subject_of_any_bytes_is_given_out_and_the_line_goes_on(subject: bytes) -> None:
    heard = Heard()
    async with nats_server() as server, line_to(server.port) as client:
        await client.subscribe("ny.>", cb=heard.take)
        await confirm(client)
        await say(server.port, b"PUB " + subject + b" 3\r\nodd\r\nPUB ny.good 2\r\nok\r\n")

        odd, good = await heard.next(), await heard.next()
        assert (subject, b"odd") == (odd.subject.encode(errors="surrogateescape"), odd.data)
        assert (fault_of(odd) is None) == is_text(subject)
        assert ("ny.good", b"ok", None) == (good.subject, good.data, fault_of(good))


def is_text(data: bytes) -> bool:
    return data.decode(errors="replace").encode() == data


@pytest.mark.parametrize(
    "headers", [b"N", b"NATS/1.0", b"NATS/1.0 \xff\xff\xff x\r\n\r\n", b"NATS/1.0 100 \xff\r\n\r\n"]
)
async def test_headers_that_are_none_are_named_and_the_line_goes_on(headers: bytes) -> None:
    heard = Heard()
    async with nats_server() as server, line_to(server.port) as client:
        await client.subscribe("ny", cb=heard.take)
        await confirm(client)
        size = len(headers)
        await say(server.port, b"HPUB ny %d %d\r\n%bodd\r\nPUB ny 2\r\nok\r\n" % (size, size + 3, headers))

        odd, good = await heard.next(), await heard.next()
        assert (b"odd", "its headers are none") == (odd.data, fault_of(odd))
        assert (b"ok", None) == (good.data, fault_of(good))


async def test_a_subject_in_pieces_and_headers_in_pieces_are_put_together() -> None:
    heard = Heard()
    whole = b"HMSG a.b 1 back 27 31\r\nNATS/1.0\r\nname: a value\r\n\r\nfour\r\nMSG a.b 1 0\r\n\r\nPING\r\n"
    async with (
        spoken(lambda writer, number: writer.write(whole[number : number + 1]), len(whole)) as port,
        line_to(port) as client,
    ):
        await client.subscribe("a.b", cb=heard.take)
        first, second = await heard.next(), await heard.next()
    assert ("a.b", "back", b"four", {"name": "a value"}) == (first.subject, first.reply, first.data, first.headers)
    assert ("a.b", "", b"", None) == (second.subject, second.reply, second.data, second.headers)


@asynccontextmanager
async def spoken(say: Callable[[asyncio.StreamWriter, int], None], times: int) -> AsyncIterator[int]:
    """A server that greets, and once it was subscribed to says something, so often."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, RuntimeError):  # uvloop, of a line that the peer has reset: the handler is closed
            writer.write(INFO)
            await reader.readuntil(b"PING\r\n")
            writer.write(b"PONG\r\n")
            await reader.readuntil(b"SUB ")
            for number in range(times):
                say(writer, number)
                await asyncio.sleep(0)
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.mark.parametrize(
    "nonsense",
    [b"HELLO\r\n", b"-ERR\r\n", b"-ERR '\xff'\r\n", b"INFO {\r\n", b"INFO []\r\n", b"MSG a\r\n", b"MSG a x 1\r\n",
     b"\r\n", b"HMSG a 1 3\r\n", b'INFO {"connect_urls":["[x:1"]}\r\n'],
)  # fmt: skip
async def test_a_server_that_talks_nonsense_has_ended_the_line(nonsense: bytes) -> None:
    ended = asyncio.Event()
    async with (
        spoken(lambda writer, _: writer.write(nonsense), 1) as port,
        line_to(port, closed=ended.set) as client,
    ):
        await client.subscribe("a", cb=Heard().take)
        async with asyncio.timeout(nats_connection.PING_SECONDS - 1):  # its own pings are not what finds it
            await ended.wait()
        assert not client.is_connected
        with pytest.raises(TROUBLE):
            await client.publish("a", b"")


@pytest.mark.parametrize("greeting", [b"", b"HELLO\r\n", b"INFO {\r\n", b"INFOX\r\n", b"INFO []\r\n", b"x" * 100_000])
async def test_who_is_no_server_is_one_that_cannot_be_reached(greeting: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    with pytest.raises(Unavailable, match=r"NATS at 127\.0\.0\.1:\d+ can't be reached"):
        await connect([f"nats://user:secret@127.0.0.1:{server.sockets[0].getsockname()[1]}"], "test")
    server.close()


@pytest.mark.parametrize("turns", range(4))
async def test_the_end_of_a_line_whose_transport_is_gone_is_quiet(turns: int) -> None:
    """uvloop's transports raise RuntimeError when they are written to after their end."""
    async with nats_server() as server, line_to(server.port) as client:
        await client.subscribe("a", cb=Heard().take)
        await confirm(client)
        line: Any = client
        line._transport._io_writer.transport.abort()
        for _ in range(turns):
            await asyncio.sleep(0)
        line._pending.append(b"PUB a 1\r\nx\r\n")
        line._pending_data_size = 12
        await let_go(client)
        with pytest.raises(TROUBLE):
            await client.publish("a", b"")


async def test_a_cancellation_in_the_turn_of_its_result_is_heard() -> None:
    """Where it is not, whoever cancelled waits for a task that goes on for ever."""
    async with nats_server("-js") as server, line_to(server.port) as client:
        for ask in (lambda: client.flush(5), lambda: client.request("$JS.API.INFO", b"", timeout=5)):
            task = asyncio.ensure_future(ask())
            await cancel_with_result(client, task)
            with pytest.raises(asyncio.CancelledError):
                await task
        await confirm(client)  # and the line is as good as before


async def test_who_was_cancelled_before_it_asks_is_cancelled_and_the_line_is_not_blamed() -> None:
    async with nats_server() as server, line_to(server.port) as client:

        async def ask() -> None:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await ping(client)

        task = asyncio.ensure_future(ask())
        await asyncio.wait([task], timeout=TIME)
        assert task.cancelled()


async def cancel_with_result(client: Any, task: asyncio.Future[Any]) -> None:
    """Cancel it in the very turn in which what it waits for is there, as the network may."""
    while not (futures := [*client._pongs, *client._resp_map.values()]):  # noqa: ASYNC110 (the library has no event)
        await asyncio.sleep(0)
    futures[-1].add_done_callback(lambda _: task.cancel())
    async with asyncio.timeout(TIME):
        await asyncio.wait([task])


async def test_a_connecting_that_is_cancelled_in_the_turn_of_its_result_leaves_nothing() -> None:
    async with nats_server() as server:
        before = asyncio.all_tasks()
        for turns in range(1, 60):
            task = asyncio.ensure_future(connect([server.url], "test"))
            for _ in range(turns):
                await asyncio.sleep(0.0002)
            task.cancel()
            done, _ = await asyncio.wait([task], timeout=TIME)
            assert done
            if not task.cancelled():
                assert task.result().is_connected  # it was there before
                await let_go(task.result())
        assert before == asyncio.all_tasks()


async def test_whether_a_server_has_jetstream_is_what_it_says_itself() -> None:
    async with nats_server("-js") as server, line_to(server.port) as client:
        assert has_jetstream(client)
    async with nats_server() as server, line_to(server.port) as client:
        assert not has_jetstream(client)


@pytest.mark.filterwarnings("ignore:parameter 'timeout' of type 'float'")  # how the library calls aiohttp
async def test_a_line_over_a_websocket_is_let_go_of_at_once(tmp_path: Path) -> None:
    port = free_port()
    settings = tmp_path / "nats.conf"
    settings.write_text(f'websocket {{ host: "127.0.0.1", port: {port}, no_tls: true }}\n')
    before = asyncio.all_tasks()
    async with nats_server("-c", str(settings)):
        client = await connect([f"ws://127.0.0.1:{port}"], "test")
        await client.subscribe("a", cb=Heard().take)
        await ping(client)
        await let_go(client)
        assert not client.is_connected
    assert before == asyncio.all_tasks()


def test_what_is_put_right_in_the_library_is_still_how_it_was() -> None:
    """A new version that calls or names it differently must be read before it is used."""
    ours, theirs = nats_connection._Connection, Client
    wrapped = {"__init__", "connect", "publish", "subscribe", "request", "flush", "_to_the_end"}
    for name in vars(ours).keys() - wrapped:
        if inspect.isfunction(vars(ours)[name]):
            assert [*inspect.signature(getattr(ours, name)).parameters] == [
                *inspect.signature(getattr(theirs, name)).parameters
            ], name
    assert [*inspect.signature(Parser.parse).parameters] == ["self", "data"]
    called = [*inspect.signature(theirs._process_msg).parameters]
    assert called == ["self", "sid", "subject", "reply", "data", "headers"]
    fresh: Any = Client()
    assert (type(fresh._ps), fresh._server_info, fresh._subs, fresh._pending) == (Parser, {}, {}, [])
    assert (fresh._pending_data_size, fresh._transport) == (0, None)
    assert {"needed", "header_needed", "msg_arg", "state", "buf"} <= vars(fresh._ps).keys()


async def test_what_ends_by_itself_is_closed_once_for_all() -> None:
    ended = asyncio.Event()
    async with nats_server() as server, line_to(server.port, closed=ended.set) as client:
        raw: Any = client
        await raw._process_op_err(ConnectionClosedError())
        assert ended.is_set()
        with pytest.raises(TROUBLE):
            await ping(client)
