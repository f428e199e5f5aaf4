"""aio-pika and aiormq, tamed: what a producer chose costs one message, and what ends a line ends nothing else."""

from __future__ import annotations

import asyncio
import inspect
import re
import struct
from collections.abc import Callable
from typing import Any

import aio_pika
import aiormq
import pytest
from aio_pika.abc import UnderlayConnection
from aiormq.channel import Channel
from aiormq.connection import FrameReceiver
from pamqp import frame as pamqp_frame
from pamqp.commands import Basic
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from bridges.rabbitmq import connection as amqp_connection
from bridges.rabbitmq import inlet as rabbitmq_in
from bridges.rabbitmq.connection import TROUBLE, AmqpConnection, _Lenient
from bridges.rabbitmq.frames import HEADER, MAX_FRAME_BYTES, METHOD, frame_head, harmless
from messaging.actions import Actions
from messaging.bridge.inlet import Inlet
from messaging.errors import Unavailable
from messaging.settings.settings import Settings
from support.lanes import QUICK, working
from support.rabbit_readers import Office, inboxes_of, offers, office, one_queue, reading
from support.rabbit_server import TIME, Rabbit, fresh
from support.waiting import until


def flags(*names: str) -> bytes:
    known = [
        "content_type", "content_encoding", "headers", "delivery_mode", "priority", "correlation_id", "reply_to",
        "expiration", "message_id", "timestamp", "type", "user_id", "app_id", "cluster_id",
    ]  # fmt: skip
    return struct.pack(">H", sum(1 << 15 - known.index(name) for name in names))


def text(value: bytes) -> bytes:
    return bytes([len(value)]) + value


def table(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


# --- frames, without a server ------------------------------------------------------------------------


def read(properties: bytes, body_size: int = 5) -> tuple[str | None, str | None, str | None]:
    """The id, expiration and fault that the library reads of what is left of these properties."""
    payload = struct.pack(">HHQ", 60, 0, body_size) + properties
    head = struct.pack(">BHI", HEADER, 3, len(payload))
    size, channel, found = pamqp_frame.unmarshal(whole := harmless(HEADER, head, payload + b"\xce"))
    assert isinstance(found, ContentHeader)
    assert (size, channel, found.body_size) == (len(whole), 3, body_size)
    left = dict(found.properties)
    given = (left.pop("message_id"), left.pop("expiration"), left.pop("message_type"))
    assert not any(left.values())
    return given  # type: ignore[return-value]


def test_of_properties_the_id_and_the_expiration_are_kept() -> None:
    given = Basic.Properties(
        content_type="a", content_encoding="b", headers={"c": [1, {"d": "e"}]}, delivery_mode=2, priority=3,
        correlation_id="f", reply_to="g", expiration="60000", message_id="é", message_type="forged", user_id="h",
        app_id="i",
    )  # fmt: skip
    payload = ContentHeader(body_size=0, properties=given).marshal()
    assert read(payload[12:]) == ("é", "60000", None)
    assert read(b"\0\0") == (None, None, None)


@pytest.mark.parametrize(
    ("properties", "fault"),
    [
        (flags("timestamp") + struct.pack(">Q", 1_764_000_000_000_000), "its timestamp is no time"),
        (flags("content_type") + text(b"\xff"), "its content_type is no UTF-8"),
        (flags("message_id") + text(b"\xed\xa0\x80"), "its message_id is no UTF-8"),
        (flags("headers") + struct.pack(">i", -5), "its headers is cut off"),
        (flags("headers", "message_id") + table(b"") + b"\x09abc", "its message_id is cut off"),
        (flags("delivery_mode"), "its delivery_mode is cut off"),
        (b"\0\1\0\0", "it has properties that nobody knows"),
        (b"\0", "its properties are cut off"),
    ],
)
def test_what_cannot_be_read_is_said(properties: bytes, fault: str) -> None:
    message_id, expiration, said = read(properties)
    assert (message_id, expiration) == (None, None) and said is not None and said.startswith(fault)


def test_a_time_in_seconds_or_milliseconds_is_one() -> None:
    for number in (0, 1_764_000_000, 1_764_000_000_000):
        assert read(flags("timestamp") + struct.pack(">Q", number)) == (None, None, None)


def test_a_table_is_not_looked_into() -> None:
    """Nested, endless by negative lengths, or of types that nobody knows: it is as long as it says."""
    for inside in (b"\xff" * 300, b"\1aA" * 1000, text(b"a") + b"S" + struct.pack(">i", -6), b"\1aZ"):
        assert read(flags("headers", "message_id") + table(inside) + text(b"id")) == ("id", None, None)


def test_a_delivery_has_no_route() -> None:
    delivery = Basic.Deliver("tag", 2**40, True, "exchange", "key")
    payload = delivery.marshal()
    odd = struct.pack(">HH", 60, 60) + payload.replace(b"key", b"\xff\xfe\xfd") + b"\xce"
    _, _, found = pamqp_frame.unmarshal(harmless(METHOD, struct.pack(">BHI", METHOD, 1, len(odd) - 1), odd))
    assert isinstance(found, Basic.Deliver)
    assert (found.consumer_tag, found.delivery_tag, found.redelivered) == ("tag", 2**40, True)
    assert (found.exchange, found.routing_key) == ("", "")


def test_a_frame_of_no_sensible_size_is_not_waited_for() -> None:
    with pytest.raises(ConnectionError):
        frame_head(b"AMQP\0\0\x09")
    assert frame_head(struct.pack(">BHI", 8, 0, MAX_FRAME_BYTES)) == (8, MAX_FRAME_BYTES)


# --- with a server -----------------------------------------------------------------------------------


async def test_what_a_producer_chose_stops_neither_what_is_behind_nor_beside_it(rabbit: Rabbit, database: str) -> None:
    ana, bob = fresh("ana"), fresh("bob")
    async with office(rabbit, database) as desk:
        await desk.know(ana, bob)
        await rabbit.put_raw(ana, offers(["?"])[0], flags("timestamp") + struct.pack(">Q", 1_764_000_000_000_000))
        await rabbit.put_raw(ana, offers(["?!"])[0], flags("content_type") + text(b"\xff"))
        await rabbit.put(ana, *offers(["Rome"]))
        await rabbit.put(bob, *offers(["Oslo"]))
        assert await desk.has(f"@{ana}", 1) == ["Rome"] and await desk.has(f"@{bob}", 1) == ["Oslo"]
        reasons = [reason for reason, _ in await desk.buried("prontogram", 2)]
        assert "its timestamp is no time" in reasons[0] and "its content_type is no UTF-8" in reasons[1]
        [report] = await desk.node.bridge_store.reports("prontogram")
        assert report.state == "up", "the line went on"


async def test_a_routing_key_of_any_bytes_is_no_matter(rabbit: Rabbit, database: str) -> None:
    queue, exchange = fresh("orders"), fresh("all")
    async with one_queue(rabbit, database, queue, "t") as desk, rabbit.channel() as channel:
        declared = await channel.declare_queue(queue, durable=True)
        made = await channel.declare_exchange(exchange, "fanout")
        await declared.bind(made)
        underlay: Any = await channel.get_underlay_channel()
        publish = Basic.Publish(exchange=exchange, routing_key="??")
        frames = [publish, ContentHeader(body_size=1), aio_pika.message.Message(b"1")]
        payload = b"".join(pamqp_frame.marshal(frame, underlay.number) for frame in frames[:2])  # type: ignore[arg-type]
        body = struct.pack(">BHI", 3, underlay.number, 1) + b"1\xce"
        await underlay.write_queue.put(aiormq.abc.ChannelFrame(payload.replace(b"??", b"\xff\xfe") + body, False, None))
        await rabbit.put(queue, b"2")
        assert await desk.has("t", 2) == [1, 2]


@pytest.mark.parametrize("turns", range(6))
async def test_a_cancellation_in_the_turn_of_the_answer_is_heard(rabbit: Rabbit, turns: int) -> None:
    """Python 3.11's `wait_for` keeps it to itself; whoever cancelled would wait for ever."""
    line = AmqpConnection(rabbit.url, "test")
    underlay: Any = await (await line.channel()).get_underlay_channel()
    answers, put = underlay.rpc_frames, underlay.rpc_frames.put

    async def put_and_cancel(frame: Any) -> None:
        answers.put = put
        await put(frame)
        _after(turns, task.cancel)

    answers.put = put_and_cancel
    task = asyncio.ensure_future(_talk(line))
    done, _ = await asyncio.wait([task], timeout=3)
    task.cancel()
    await asyncio.wait([task], timeout=3)
    await line.close()
    assert done


def _after(turns: int, call: Callable[[], object]) -> None:
    if turns:
        asyncio.get_running_loop().call_soon(_after, turns - 1, call)
    else:
        call()


async def test_who_was_cancelled_before_it_asks_is_cancelled_and_the_line_is_not_blamed(rabbit: Rabbit) -> None:
    line = AmqpConnection(rabbit.url, "test")
    await line.declare("talk")

    async def ask() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await line.declare("talk")

    task = asyncio.ensure_future(ask())
    await asyncio.wait([task], timeout=TIME)
    assert task.cancelled()
    await line.close()


async def _talk(line: AmqpConnection) -> None:
    while True:
        await line.declare("talk")


async def test_a_defect_of_ours_beside_the_line_is_not_taken_for_its_end(
    rabbit: Rabbit, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RuntimeError is one of aio-pika's CONNECTION_EXCEPTIONS: it would be tried again for ever."""

    async def broken(*_: Any) -> Any:
        raise RuntimeError("ours")

    async with working(database) as node:
        monkeypatch.setattr(node.store, "users_page", broken)
        inlet = Inlet("prontogram", "rabbitmq", inboxes_of(node, rabbit), node, Settings(), schedule=QUICK)
        with pytest.raises(ExceptionGroup) as failure:
            await asyncio.wait_for(inlet.run(), TIME)
        assert failure.group_contains(RuntimeError, match="ours")


async def test_what_a_broken_line_raises_is_trouble_and_another_one_is_made(rabbit: Rabbit) -> None:
    line = AmqpConnection(rabbit.url, "test")
    await line.declare("talk")
    connection: Any = line._connection
    connection._writer.transport.abort()
    with pytest.raises(TROUBLE):
        while True:
            await line.declare("talk")
    line.drop()
    await line.declare("talk")
    await line.close()
    await until(lambda: not [task for task in asyncio.all_tasks() if "aiormq" in repr(task)])


async def test_while_there_is_no_room_nothing_is_read_and_the_peer_counts_as_alive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(amqp_connection, "HEARTBEAT", 0.01)
    has_room, stream = asyncio.Event(), asyncio.StreamReader()
    stream.feed_data(pamqp_frame.marshal(Basic.Ack(7), 1))
    stream.feed_eof()
    frames = FrameReceiver(_Lenient(stream, has_room))  # type: ignore[arg-type]
    assert [type((await anext(frames))[2]) for _ in range(3)] == [Heartbeat] * 3
    has_room.set()
    [_, _, acknowledged] = await anext(frames)
    assert isinstance(acknowledged, Basic.Ack) and acknowledged.delivery_tag == 7
    with pytest.raises(TROUBLE):  # an end between two frames is one too
        await anext(frames)


async def test_more_than_there_is_room_for_stays_with_the_server(
    rabbit: Rabbit, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many queues there are: each may deliver a window, and together they fill the room."""
    monkeypatch.setattr(rabbitmq_in, "MAX_UNSETTLED_BYTES", 200_000)
    users, asked = [fresh("ana") for _ in range(8)], asyncio.Event()

    def away(*_: Any) -> Any:
        asked.set()
        raise Unavailable

    async with working(database) as node:
        source = inboxes_of(node, rabbit)
        async with reading(node, source):
            desk = Office(node, rabbit)
            await desk.know(*users)
            with monkeypatch.context() as patch:
                patch.setattr(Actions, "publish", away)
                for user in users:
                    await rabbit.put(user, *offers(["x" * 1000] * 100))
                await asyncio.wait_for(asked.wait(), TIME)
                assert source._weight < 200_000 + 64 * 1024, "and no more than what was read already"
            for user in users:
                await desk.has(f"@{user}", 100)


# --- what is known of the libraries ------------------------------------------------------------------


async def test_what_is_used_of_the_libraries_is_still_how_it_was() -> None:
    """A new version that calls or names it differently must be read before it is used."""
    connection = aio_pika.Connection(aio_pika.connection.make_url("amqp://localhost"))
    assert isinstance(connection.kwargs, dict) and "transport_factory" not in connection.kwargs
    assert "**self.kwargs" in inspect.getsource(aio_pika.Connection.connect)
    assert "aiormq.connect(url, **kwargs)" in inspect.getsource(UnderlayConnection.make_connection)
    assert "transport_factory" in inspect.signature(aiormq.Connection.__init__).parameters
    used = set(re.findall(r"self\.reader\.(\w+)", inspect.getsource(FrameReceiver)))
    assert used == {"at_eof", "readexactly", "read"}, "the last one only for what is no frame at all"
    assert [*inspect.signature(Channel.basic_consume).parameters][:3] == ["self", "queue", "consumer_callback"]
    assert [*inspect.signature(Channel.basic_ack).parameters] == ["self", "delivery_tag", "multiple", "wait"]
    assert "self.create_task(consumer(message))" in inspect.getsource(Channel._on_deliver_frame), "tasks keep the order"
    assert "consumer_tag" in Basic.Cancel.__slots__
