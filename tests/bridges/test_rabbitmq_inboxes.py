"""The queues called like known users, read into their inboxes: what a legacy producer sends, somebody reads."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractIncomingMessage

from bridges.config import Rabbit as RabbitConfig
from bridges.config import RabbitIn, RabbitOut
from bridges.rabbitmq.connection import Reader, _Connection
from bridges.rabbitmq.inlet import Inboxes
from messaging.store.append import LogWriter
from support.lanes import working
from support.rabbit_readers import LIMIT, LIMITED, inboxes_of, offers, office, reading
from support.rabbit_server import Rabbit, fresh
from support.waiting import until
from support.ws import receive, running


async def test_what_a_legacy_producer_sends_is_in_the_inbox(rabbit: Rabbit, database: str) -> None:
    ana = fresh("ana")
    async with office(rabbit, database) as desk:
        await desk.know(ana)
        await rabbit.put(ana, *offers(["Rome, 39 €", "Oslo"]))
        assert await desk.has(f"@{ana}", 2) == ["Rome, 39 €", "Oslo"]
        assert {message.sender for message in await desk.messages(f"@{ana}")} == {"ACMESky"}


async def test_a_queue_is_called_as_its_user_is_called_there(rabbit: Rabbit, database: str) -> None:
    mario = fresh("Mario Rossi")
    name = mario.replace(" ", "%20")
    async with office(rabbit, database) as desk:
        await desk.know(mario)
        await rabbit.put(mario, *offers(["Rome, 39 €"]))
        assert await desk.has(f"@{name}", 1) == ["Rome, 39 €"]
        assert [each for _, each in await desk.node.store.users_page("", 10)] == [name]


async def test_who_is_connected_sees_it_at_once(rabbit: Rabbit, database: str) -> None:
    ana = fresh("ana")
    async with running(database) as door, door.client(ana) as link:
        await receive(link, "connected")
        async with reading(door.node, inboxes_of(door.node, rabbit)):
            await rabbit.put(ana, *offers(["Rome"]))
            frame = await receive(link, "message")
        assert (frame["topic_name"], frame["user_source"], frame["content"]) == (f"@{ana}", "ACMESky", "Rome")


async def test_what_lay_in_the_queue_before_its_user_was_known(rabbit: Rabbit, database: str) -> None:
    ana, bob = fresh("ana"), fresh("bob")
    async with office(rabbit, database) as desk:
        await desk.know(bob)
        await rabbit.put(ana, *offers(range(30)))
        await desk.node.actions.know(ana)
        assert await desk.has(f"@{ana}", 30) == [str(number) for number in range(30)]


async def test_a_thousand_in_order_though_it_is_killed_in_the_middle(rabbit: Rabbit, database: str) -> None:
    ana = fresh("ana")
    await rabbit.put(ana, *offers(range(1000)), message_ids=[str(number) for number in range(1000)])
    await rabbit.keeps(ana)
    async with office(rabbit, database) as desk:
        await desk.node.actions.know(ana)
        await desk.has(f"@{ana}", 50)
        await rabbit.restart()
        assert await desk.has(f"@{ana}", 1000, 60) == [str(number) for number in range(1000)]
        await until(lambda: desk.is_drained(ana))
    assert await rabbit.waiting(ana) == 0, "all were acknowledged"


async def test_one_queue_comes_in_by_windows(rabbit: Rabbit, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a COMMIT and an acknowledgement for each message, a thousand took a minute."""
    ana, words, acknowledge, commits = fresh("ana"), [], Reader.acknowledge, []
    append = LogWriter.append

    async def counted(reader: Reader, tags: list[int], oldest: int | None) -> None:
        words.append(len(tags))
        await acknowledge(reader, tags, oldest)

    async def appended(log: LogWriter, drafts: Any) -> Any:
        commits.append(len(drafts))
        return await append(log, drafts)

    monkeypatch.setattr(Reader, "acknowledge", counted)
    monkeypatch.setattr(LogWriter, "append", appended)
    await rabbit.put(ana, *offers(range(1000)))
    async with office(rabbit, database) as desk:
        await desk.node.actions.know(ana)
        assert await desk.has(f"@{ana}", 1000) == [str(number) for number in range(1000)]
    assert len(words) < 200 and len(commits) < 200, "on the whole, several at once"


# --- the same message again --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "time", "stored"),
    [
        (["one"], "2026-05-01T12:00:00+00:00", 1),
        (["any form € " * 5], "2026-05-01T12:00:00+00:00", 1),
        (None, "2026-05-01T12:00:00.123456+00:00", 1),
        (None, "2026-05-01T12:00:00+00:00", 2),  # nothing tells it from another one like it: stored, rather than lost
    ],
    ids=["id", "odd id", "moment", "neither"],
)
async def test_stored_but_not_acknowledged_it_comes_again(
    rabbit: Rabbit, database: str, monkeypatch: pytest.MonkeyPatch, ids: list[str] | None, time: str, stored: int
) -> None:
    """As if we were killed between COMMIT and the acknowledgement."""
    ana, broken = fresh("ana"), asyncio.Event()
    acknowledge = Reader.acknowledge

    async def dying(reader: Reader, tags: list[int], oldest: int | None) -> None:
        if not broken.is_set():
            broken.set()
            raise ConnectionError("killed")
        await acknowledge(reader, tags, oldest)

    monkeypatch.setattr(Reader, "acknowledge", dying)
    async with office(rabbit, database) as desk:
        await desk.node.actions.know(ana)
        await rabbit.put(ana, *offers(["Rome"], send_time=time), message_ids=ids)
        await asyncio.wait_for(broken.wait(), 20)
        await rabbit.put(ana, *offers(["last"]))
        assert await desk.has(f"@{ana}", stored + 1) == [*["Rome"] * stored, "last"]


async def test_another_message_with_the_same_id_is_not_lost(rabbit: Rabbit, database: str) -> None:
    ana = fresh("ana")
    async with office(rabbit, database) as desk:
        await desk.know(ana)
        await rabbit.put(ana, *offers(["Rome", "Oslo"]), message_ids=["1", "1"])
        [(reason, remains)] = await desk.buried("prontogram", 1)
        assert "used for other content" in reason and remains == "Oslo"
        assert (await desk.node.bridges.replay("prontogram", None)).count == 1
        assert await desk.has(f"@{ana}", 2) == ["Rome", "Oslo"]


# --- what can't be stored ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"no json", "not JSON"),
        (b"[]", "not JSON"),
        (b'{"sender":"a"}', "not JSON"),
        (b"\xff\xfe\0", "not JSON"),
        (b'{"sender":"@/ /","body":"x"}', "not a name"),
        (b'{"sender":"a","body":""}', "empty"),
        (b'{"sender":"a","body":"\\u0000"}', "NUL"),
        (b'{"sender":"a","body":5}', "not JSON"),
        (json.dumps({"sender": "a", "body": "x" * LIMIT}).encode(), "bytes; the most is"),
        (b"[" * 100_000, "not JSON"),
    ],
    ids=["text", "list", "no body", "bytes", "sender", "empty", "nul", "number", "large", "deep"],
)
async def test_a_bad_message_is_buried_and_stops_nothing(rabbit: Rabbit, database: str, body: bytes, why: str) -> None:
    ana = fresh("ana")
    async with office(rabbit, database) as desk:
        await desk.know(ana)
        await rabbit.put(ana, body, *offers(["good"]))
        assert await desk.has(f"@{ana}", 1) == ["good"]
        [(reason, remains)] = await desk.buried("prontogram", 1)
        assert why in reason and "\0" not in remains and remains[:4] == body[:4].decode(errors="backslashreplace")[:4]
    assert await rabbit.waiting(ana) == 0, "it does not come again"


# --- queues ------------------------------------------------------------------------------------------


async def test_names_that_no_queue_has_are_left_out(
    rabbit: Rabbit, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    odd, reserved, ana = fresh("a|"), fresh("amq.x"), fresh("zoe")
    async with office(rabbit, database) as desk:
        await desk.node.store.know([odd, reserved])
        await desk.know(ana)
        await desk.know(fresh("zoe"))  # another look at all users
    for name in (odd, reserved):
        assert caplog.text.count(f"the queue of {name} ") == 1


async def test_a_queue_that_somebody_deletes_is_made_again(rabbit: Rabbit, database: str) -> None:
    ana, bob = fresh("ana"), fresh("bob")
    async with office(rabbit, database) as desk:
        await desk.know(ana, bob)
        async with rabbit.channel() as channel:
            await channel.queue_delete(ana)
        await until(lambda: desk.is_read(ana))
        await rabbit.put(ana, *offers(["Rome"]))
        await rabbit.put(bob, *offers(["Oslo"]))
        assert await desk.has(f"@{ana}", 1) == ["Rome"] and await desk.has(f"@{bob}", 1) == ["Oslo"]


async def test_a_queue_with_other_arguments_is_read_as_it_is(rabbit: Rabbit, database: str) -> None:
    ana, bob = fresh("ana"), fresh("bob")
    kinds: dict[str, dict[str, Any]] = {ana: {"x-message-ttl": 3_600_000}, bob: {"x-queue-type": "quorum"}}
    for name, arguments in kinds.items():
        async with rabbit.channel() as channel:
            declared = await channel.declare_queue(name, durable=True, arguments=arguments)
            await channel.default_exchange.publish(aio_pika.Message(offers(["Rome"])[0]), declared.name)
    async with office(rabbit, database) as desk:
        await desk.node.store.know([ana, bob])
        assert await desk.has(f"@{ana}", 1) == await desk.has(f"@{bob}", 1) == ["Rome"]


async def test_a_queue_that_is_refused_leaves_the_others_alone(rabbit: Rabbit, database: str) -> None:
    bob, zoe, ana = fresh("a-bob"), fresh("a-zoe"), fresh("ana")  # users are looked at in the order of their names
    async with office(rabbit, database) as desk, rabbit.channel() as channel:
        await channel.declare_queue(bob, exclusive=True)  # declaring it is refused
        taken = await channel.declare_queue(zoe, durable=True)
        await taken.consume(ignore, exclusive=True)
        await desk.node.store.know([bob, zoe])
        await desk.know(ana)
        await rabbit.put(ana, *offers(["Rome"]))
        assert await desk.has(f"@{ana}", 1) == ["Rome"]


async def ignore(message: AbstractIncomingMessage) -> None:
    return


async def test_queues_that_other_bridges_fill_or_read_are_left_to_them(rabbit: Rabbit, database: str) -> None:
    out, other, ana = fresh("out"), fresh("in"), fresh("zoe")
    config = RabbitConfig((RabbitOut("a", f"@{out}", "{user}"),), (RabbitIn("b", other, "news"),))
    async with office(rabbit, database, config) as desk:
        await desk.node.store.know([out, other])
        await desk.know(ana)
        assert [await desk.consumers(name) for name in (out, other, ana)] == [0, 0, 1]


async def test_hundreds_of_users_are_read_in_time(rabbit: Rabbit, database: str) -> None:
    prefix = fresh("many")
    names = [f"{prefix}-{number:04}" for number in range(300)]
    async with working(database) as node:
        await node.store.know(names)
        async with reading(node, inboxes_of(node, rabbit)):
            await rabbit.put(names[-1], *offers(["Rome"]))
            await rabbit.put(names[0], *offers(["Oslo"]))

            async def both() -> bool:
                standings = [await node.store.topic_view(f"@{name}") for name in (names[0], names[-1])]
                return all(standing is not None and standing.head == 1 for standing in standings)

            await until(both, within=60)
    async with rabbit.channel() as channel:
        for name in names:
            await channel.queue_delete(name)


async def test_a_user_who_becomes_known_while_the_line_is_closed_opens_no_other(
    rabbit: Rabbit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frozen server takes its time to close: whoever declares a queue meanwhile makes a line that nobody ends."""
    known, closing, made = [fresh("ana")], asyncio.Event(), asyncio.Event()
    let_go, connect = _Connection.let_go, _Connection.connect

    class Users:
        async def users_page(self, after: str, limit: int) -> list[tuple[int, str]]:
            return [(1, name) for name in sorted(known) if name > after]

    async def slowly(connection: _Connection) -> None:
        if not closing.is_set():
            closing.set()
            await asyncio.wait_for(made.wait(), 20)
        await let_go(connection)

    async def connecting(connection: _Connection, *args: Any, **options: Any) -> None:
        await connect(connection, *args, **options)
        opened.append(connection)
        if closing.is_set():
            made.set()

    opened: list[_Connection] = []
    monkeypatch.setattr(_Connection, "let_go", slowly)
    monkeypatch.setattr(_Connection, "connect", connecting)
    source = Inboxes(rabbit.url, Users(), LIMITED, lambda name: True)  # type: ignore[arg-type]
    await source.open()
    closed = asyncio.ensure_future(source.close())
    await closing.wait()
    known.append(fresh("bob"))
    await closed
    assert all(connection.is_closed for connection in opened)
