"""To NATS: the right bytes on the right subject, confirmed by whoever can confirm."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from nats.aio.msg import Msg
from nats.js.api import StreamConfig

from bridges.config import NatsOut
from bridges.nats import outlet as nats_out
from bridges.nats.connection import servers_of
from bridges.nats.outlet import NatsOutlet, headers_of, weight
from bridges.outlet import OutgoingMessage, Undeliverable, Unreachable
from bridges.subjects import check_filter, covers, subject_of
from messaging.bus import nats_connection
from messaging.bus.nats_connection import shown
from messaging.model import Content, Message
from support.nats_server import Nats, nats_server, outlet_to
from support.waiting import until

TIME = 20
NOW = datetime(2026, 11, 22, tzinfo=UTC)


def parcel(number: int = 1, topic: str = "orders.rome", content: str = '"hi"') -> OutgoingMessage:
    return OutgoingMessage(f"7.{number}", topic, Message(number, "ana", Content(content), NOW))


class Subscriber:
    """A plain one, of core NATS."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[Msg] = asyncio.Queue()

    async def heard(self, message: Msg) -> None:
        await self.messages.put(message)

    async def next(self) -> Msg:
        return await asyncio.wait_for(self.messages.get(), TIME)


# --- subjects --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "topic"),
    [
        ("{topic}", "a..b"), ("{topic}", "a."), ("{topic}", ".a"), ("x.{topic}.", "a"), ("{topic}.*", "a"),
        ("{topic}.>", "a"), ("a b", "a"), ("a\n", "a"), ("a\x7f", "a"), ("$JS.{topic}", "a"), ("{topic}", "_INBOX.a"),
        ("{topic}" * 20, "a" * 120), ("", "a"),
    ],
)  # fmt: skip
def test_what_makes_no_subject_is_refused(template: str, topic: str) -> None:
    with pytest.raises(ValueError, match=r"subject of NATS|keeps for itself"):
        subject_of(template, topic)


def test_names_of_topics_make_subjects() -> None:
    assert subject_of("{topic}", "updates.store.3c6e") == "updates.store.3c6e"
    assert subject_of("shops.{topic}.news", "a/b:c@d+e|f%20g-h_i") == "shops.a/b:c@d+e|f%20g-h_i.news"


@pytest.mark.parametrize(
    ("wide", "narrow", "does"),
    [
        ("a.b", "a.b", True), ("a.*", "a.b", True), ("a.>", "a.b.c", True), ("a.>", "a", False), (">", "a", True),
        ("a.*", "a.b.c", False), ("a.*.c", "a.b.c", True), ("a.b", "a.c", False), ("*.b", "a.*", False),
        ("a.*", "a.*", True), ("a.*", "a.>", False), ("a.>", "a.>", True), ("a.>", "a.*.b", True), ("a", "*", False),
        ("a.b", "a", False), ("a", "a.b", False),
    ],
)  # fmt: skip
def test_what_a_filter_covers(wide: str, narrow: str, does: bool) -> None:
    assert covers(wide, narrow) is does


def test_filters() -> None:
    for good in ("a", "a.*", "a.>", ">", "*", "a.*.b"):
        check_filter(good)
    for bad in ("", "a.", "a..b", ">.a", "a*", "a b", "a.>b"):
        with pytest.raises(ValueError, match="subject of NATS"):
            check_filter(bad)


# --- with a server ---------------------------------------------------------------------------------


async def test_core_subscribers_get_the_bytes_of_the_content(tmp_path: Path) -> None:
    async with nats_server() as server, server.client() as client:
        subscriber, outlet = Subscriber(), outlet_to(server.url)
        await client.subscribe("orders.>", cb=subscriber.heard)
        await client.flush()
        await outlet.send(parcel(content='{"a": 1.50, "b":"\\u00e8"}'))
        message = await subscriber.next()
        assert (message.subject, message.data) == ("orders.rome", b'{"a": 1.50, "b":"\\u00e8"}')
        assert message.headers == {
            "Nats-Msg-Id": "7.1", "Recado-Topic": "orders.rome", "Recado-Seq": "1", "Recado-Sender": "ana",
            "Recado-Origin": "here",
        }  # fmt: skip
        await outlet.close()


async def test_an_envelope_has_what_stands_around_the_content() -> None:
    async with nats_server() as server, server.client() as client:
        subscriber, outlet = Subscriber(), outlet_to(server.url, payload="envelope", subject="all.{topic}")
        await client.subscribe("all.>", cb=subscriber.heard)
        await client.flush()
        await outlet.send(parcel(content="[1.50]"))
        message = await subscriber.next()
        assert message.subject == "all.orders.rome"
        assert b'"content":[1.50]' in message.data
        assert msgspec.json.decode(message.data) == {
            "topic_name": "orders.rome", "seq": 1, "user_source": "ana", "sent_at": "2026-11-22T00:00:00Z",
            "content": [1.5],
        }  # fmt: skip
        await outlet.close()


async def test_a_stream_keeps_one_copy_of_what_is_sent_twice(tmp_path: Path) -> None:
    async with nats_server(folder=tmp_path) as server:
        await server.make_stream("ORDERS", "orders.>")
        for _ in range(2):  # as after an answer that was lost
            outlet = outlet_to(server.url)
            await outlet.send(parcel())
            await outlet.close()
        outlet = outlet_to(server.url)
        await outlet.send(parcel(2))
        await outlet.close()
        assert [m.headers["Nats-Msg-Id"] for m in await server.stored("ORDERS", "orders.rome", 2) if m.headers] == [
            "7.1", "7.2",
        ]  # fmt: skip


async def test_a_stream_that_is_made_later_is_found(tmp_path: Path) -> None:
    """A stream that may not store another message says so: by that it shows that it is asked."""
    async with nats_server(folder=tmp_path) as server:
        outlet = outlet_to(server.url, ask_again=0.0)
        await outlet.send(parcel())
        async with server.client() as client:
            await client.jetstream().add_stream(
                StreamConfig(name="ORDERS", subjects=["orders.>"], max_msgs=1, discard="new")  # type: ignore[arg-type]
            )
        await outlet.send(parcel(2))
        with pytest.raises(Unreachable, match="the stream refuses it"):
            await outlet.send(parcel(3))
        await outlet.close()


async def test_a_stream_that_is_demanded_is_waited_for(tmp_path: Path) -> None:
    async with nats_server(folder=tmp_path) as server:
        outlet = outlet_to(server.url, jetstream="always", ask_again=0.0)
        with pytest.raises(Unreachable, match=r"no stream holds orders\.rome"):
            await outlet.send(parcel())
        await server.make_stream("ORDERS", "orders.>")
        await outlet.send(parcel())
        assert len(await server.stored("ORDERS", "orders.rome", 1)) == 1
        await outlet.close()


async def test_a_stream_that_goes_is_not_waited_for(tmp_path: Path) -> None:
    async with nats_server(folder=tmp_path) as server:
        await server.make_stream("ORDERS", "orders.>")
        outlet = outlet_to(server.url)
        await outlet.send(parcel())
        async with server.client() as client:
            await client.jetstream().delete_stream("ORDERS")
        with pytest.raises(Unreachable, match="has gone"):
            await outlet.send(parcel(2))
        await outlet.send(parcel(2))  # to core NATS
        await outlet.close()


async def test_without_jetstream_a_subject_that_had_a_stream_is_not_given_to_core(tmp_path: Path) -> None:
    """It would be taken for delivered, and the stream would never have it."""
    server = Nats(folder=tmp_path)
    await server.start()
    try:
        await server.make_stream("ORDERS", "orders.>")
        outlet = outlet_to(server.url)
        await outlet.send(parcel())
        await server.kill()
        without = Nats()
        without.port = server.port
        await without.start()
        try:
            for _ in range(2):  # the first may find the broken line
                with pytest.raises(Unreachable):
                    await outlet.send(parcel(2))
        finally:
            await without.kill()
        await outlet.close()
    finally:
        await server.kill()


async def test_what_is_too_large_is_given_up(tmp_path: Path) -> None:
    config = tmp_path / "small.conf"
    config.write_text("max_payload: 2048")
    async with nats_server("-c", str(config), folder=tmp_path / "js") as server:
        outlet = outlet_to(server.url)
        fits = parcel(content="1" * (2048 - weight(headers_of(parcel(), "here"), b"")))
        await outlet.send(fits)
        over = parcel(content=fits.message.content + "1")
        with pytest.raises(Undeliverable, match="2049 bytes"):
            await outlet.send(over)
        await outlet.send(fits)  # the line was not lost by it
        async with server.client() as client:
            await client.jetstream().add_stream(StreamConfig(name="SMALL", subjects=["small"], max_msg_size=300))
        with pytest.raises(Undeliverable, match="the stream refuses it"):
            await outlet.send(parcel(topic="small", content="1" * 400))
        await outlet.close()


async def test_a_subscriber_that_answers_is_not_taken_for_a_stream(tmp_path: Path) -> None:
    async with nats_server(folder=tmp_path) as server, server.client() as client:

        async def answer(message: Msg) -> None:
            if message.reply:
                await message.respond(b'{"stream": "mine", "seq": 1}')

        subscriber = Subscriber()
        await client.subscribe("orders.>", cb=answer)
        await client.subscribe("orders.>", cb=subscriber.heard)
        await client.flush()
        outlet = outlet_to(server.url)
        await outlet.send(parcel())
        assert (await subscriber.next()).reply == "", "it was published, not asked"
        await outlet.close()


async def test_a_dead_server_is_named_without_its_password() -> None:
    outlet = outlet_to("nats://me:secret@127.0.0.1:1")
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1 can't be reached: .*refused") as failure:
        await outlet.send(parcel())
    assert "secret" not in str(failure.value)
    assert shown(servers_of("nats://a:b@one:1, two")) == "one:1, two:4222"


async def test_what_a_bridge_in_reads_is_left_out() -> None:
    skipped: list[int] = []

    async def origin() -> str:
        return "here"

    bridge = NatsOut("out", "*")
    outlet = NatsOutlet(bridge, ["nats://127.0.0.1:1"], origin, lambda s: s == "orders.rome", lambda: skipped.append(1))
    await outlet.send(parcel())
    await outlet.send(parcel(2))
    assert len(skipped) == 2
    with pytest.raises(Unreachable):
        await outlet.send(parcel(topic="orders.milan"))


# --- the order on the wire -------------------------------------------------------------------------


async def test_the_confirmation_speaks_of_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that answers every PING, and notes what it had got before: the last PONG must follow the PUB."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"headers": true, "max_payload": 1048576, "version": "2.10.0"}\r\n')
        while line := await reader.readline():
            word = line.split()[0]
            if word in (b"PUB", b"HPUB"):
                await reader.readexactly(int(line.split()[-1]) + 2)
            seen.append(word)
            if word == b"PING":
                writer.write(b"PONG\r\n")
        writer.close()

    async def no_stream(client: Any, subject: str) -> list[str]:
        return []

    monkeypatch.setattr(nats_out, "streams_of", no_stream)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    outlet = outlet_to(f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    after = []
    for number in range(1, 4):
        await outlet.send(parcel(number))
        after.append(seen[len(seen) - seen[::-1].index(b"HPUB") :] if b"HPUB" in seen else [])
    await outlet.close()
    server.close()
    assert seen.count(b"HPUB") == 3 and all(b"PING" in words for words in after), seen


async def test_a_server_without_jetstream_is_not_asked_for_it() -> None:
    """It says so itself. A bystander on ">" would swallow each question, so that nobody ever answered."""
    async with nats_server() as server, server.client() as client:
        heard: list[str] = []

        async def hear(message: Any) -> None:
            heard.append(message.subject)

        await client.subscribe(">", cb=hear)
        await client.flush()
        outlet = outlet_to(server.url)
        for number in range(3):
            await asyncio.wait_for(outlet.send(parcel(number)), nats_connection.ANSWER_SECONDS - 1)
        await outlet.close()
        await until(lambda: len(heard) >= 3)
        assert {*heard} == {"orders.rome"}
