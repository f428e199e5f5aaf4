"""From topics to queues: the traps of RabbitMQ, and what is promised when it dies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import aio_pika
import pytest

from bridges.config import RabbitOut
from bridges.lane import Lane
from bridges.outlet import OutgoingMessage, Undeliverable, Unreachable
from bridges.rabbitmq.connection import ANSWER_TIME
from bridges.rabbitmq.outlet import RabbitOutlet
from messaging.model import Content, Message
from messaging.node import Node
from messaging.patterns import like
from support.lanes import QUICK, publish, serving, working
from support.rabbit_server import Rabbit, fresh
from support.waiting import until

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def parcel(topic: str, content: Any = "hola", seq: int = 1) -> OutgoingMessage:
    return OutgoingMessage(f"7.{seq}", topic, Message(seq, "bob", Content(json.dumps(content)), NOON))


@asynccontextmanager
async def outlet(rabbit: Rabbit, **given: Any) -> AsyncIterator[RabbitOutlet]:
    out = RabbitOutlet(RabbitOut("shop", "*", **given), rabbit.url)
    try:
        yield out
    finally:
        await out.close()


@asynccontextmanager
async def lane(rabbit: Rabbit, node: Node, **given: Any) -> AsyncIterator[None]:
    out = RabbitOut("shop", **given)
    user_id = await node.bridge_store.register("shop", "rabbitmq", like(out.topics))
    end = RabbitOutlet(out, rabbit.url)
    try:
        async with serving(Lane(user_id, end, node, schedule=QUICK)):
            yield
    finally:
        await end.close()


# --- what arrives ------------------------------------------------------------------------------------


async def test_a_message_arrives_persistent_and_with_its_id(rabbit: Rabbit) -> None:
    queue = fresh("news")
    async with outlet(rabbit) as out:
        await out.send(parcel(queue, {"a": "ñ"}))
    [message] = await rabbit.take(queue, 1)
    assert message.body == b'{"a": "\\u00f1"}'
    assert (message.message_id, message.delivery_mode, message.content_type) == ("7.1", 2, "application/json")
    assert message.timestamp == NOON


async def test_an_envelope_says_where_it_comes_from(rabbit: Rabbit) -> None:
    queue = fresh("news")
    async with outlet(rabbit, payload="envelope", queue="for.{topic}") as out:
        await out.send(parcel(queue, [1, 2]))
    [message] = await rabbit.take(f"for.{queue}", 1)
    assert json.loads(message.body) == {
        "topic_name": queue, "seq": 1, "user_source": "bob", "sent_at": "2026-05-01T12:00:00Z", "content": [1, 2],
    }  # fmt: skip


async def test_a_legacy_consumer_reads_an_inbox_as_it_always_did(rabbit: Rabbit, database: str) -> None:
    """The consumer declares its user's queue durable, without arguments, and parses what its producer used to send."""
    ana = fresh("ana")
    async with working(database) as node, lane(rabbit, node, topics=f"@{ana}", queue="{user}", payload="prontogram"):
        await node.actions.know(ana)
        await publish(node, f"@{ana}", '"Rome, 39 €"', '{"no":"text"}')
        await until(lambda: is_there(rabbit, ana, 2))
    first, second = [json.loads(message.body) for message in await rabbit.take(ana, 2)]
    assert list(first) == ["sender", "receiver", "body", "send_time"]
    assert (first["sender"], first["receiver"], first["body"]) == ("api", ana, "Rome, 39 €")
    assert datetime.fromisoformat(first["send_time"]).utcoffset() is not None
    assert second["body"] == '{"no":"text"}', "its browser shows texts alone"


async def is_there(rabbit: Rabbit, queue: str, count: int) -> bool:
    try:
        return await rabbit.waiting(queue) >= count
    except aio_pika.exceptions.ChannelNotFoundEntity:
        return False


async def test_a_thousand_in_order_though_it_is_killed_in_the_middle(rabbit: Rabbit, database: str) -> None:
    """Its queue is not of this second; what a young one may lose, another test says."""
    topic = fresh("news")
    await rabbit.put(topic)
    await rabbit.keeps(topic)
    contents = [str(number) for number in range(1000)]
    async with working(database) as node, lane(rabbit, node, topics=topic):
        await node.store.create_topic(topic, "public", await node.actions.know("ana"))
        await publish(node, topic, *contents[:500])
        await until(lambda: is_there(rabbit, topic, 100))
        await rabbit.kill()
        await publish(node, topic, *contents[500:])
        await rabbit.start()
        await until(lambda: is_done(node), within=60)
    got = await rabbit.take(topic, await rabbit.waiting(topic))
    ids: dict[str | None, str] = {}
    for message in got:
        ids.setdefault(message.message_id, message.body.decode())
    assert list(ids.values()) == contents, "in order, none lost, by their ids once"
    assert len(got) <= 1001, "only what was in flight came twice"


async def is_done(node: Node) -> bool:
    [report] = await node.bridge_store.reports("shop")
    return report.lag == 0 and report.state == "up"


# --- the traps ---------------------------------------------------------------------------------------


async def test_a_queue_that_somebody_deletes_is_made_again(rabbit: Rabbit) -> None:
    queue = fresh("news")
    async with outlet(rabbit) as out:
        await out.send(parcel(queue))
        async with rabbit.channel() as channel:
            await channel.queue_delete(queue)
        await out.send(parcel(queue, "again", 2))
    [message] = await rabbit.take(queue, 1)
    assert message.body == b'"again"'


async def test_a_queue_with_other_arguments_is_used_as_it_is(rabbit: Rabbit, caplog: pytest.LogCaptureFixture) -> None:
    queue = fresh("news")
    async with rabbit.channel() as channel:
        await channel.declare_queue(queue, durable=True, arguments={"x-message-ttl": 3_600_000})
    async with outlet(rabbit) as out:
        await out.send(parcel(queue))
        await out.send(parcel(queue, "again", 2))
    assert await rabbit.waiting(queue) == 2
    assert f"queue {queue} was declared otherwise" in caplog.text and "x-message-ttl" in caplog.text


async def test_a_full_queue_is_waited_for(rabbit: Rabbit) -> None:
    queue = fresh("news")
    limits: dict[str, Any] = {"x-max-length": 1, "x-overflow": "reject-publish"}
    async with rabbit.channel() as channel:
        await channel.declare_queue(queue, durable=True, arguments=limits)
    async with outlet(rabbit) as out:
        await out.send(parcel(queue))
        with pytest.raises(Unreachable, match="does not take it"):
            await out.send(parcel(queue, "again", 2))
        await rabbit.take(queue, 1)
        await out.send(parcel(queue, "again", 2))
    [message] = await rabbit.take(queue, 1)
    assert message.body == b'"again"'


async def test_a_queue_of_another_connection_alone_is_waited_for(rabbit: Rabbit) -> None:
    queue = fresh("news")
    async with outlet(rabbit) as out:
        async with rabbit.channel() as channel:
            await channel.declare_queue(queue, exclusive=True)
            with pytest.raises(Unreachable, match="RESOURCE_LOCKED"):
                await out.send(parcel(queue))
        await out.send(parcel(queue))
    assert await rabbit.waiting(queue) == 1


@pytest.mark.parametrize("topic", ["amq.gen", "a|b", "x" * 256])
async def test_a_name_that_no_queue_can_have_stops_nothing(rabbit: Rabbit, topic: str) -> None:
    queue = fresh("news")
    async with outlet(rabbit) as out:
        with pytest.raises(Undeliverable, match="RabbitMQ has no queue"):
            await out.send(parcel(topic))
        await out.send(parcel(queue))
    assert await rabbit.waiting(queue) == 1


async def test_where_nobody_listens_it_is_unreachable(rabbit: Rabbit) -> None:
    out = RabbitOutlet(RabbitOut("shop", "*"), "amqp://guest:guest@127.0.0.1:1/")
    with pytest.raises(Unreachable, match="refused"):
        await out.send(parcel("news"))
    await out.close()


async def test_a_wrong_password_is_said(rabbit: Rabbit) -> None:
    out = RabbitOutlet(RabbitOut("shop", "*"), rabbit.url.replace("guest@", "wrong@"))
    with pytest.raises(Unreachable, match=r"(?i)refused") as caught:
        await out.send(parcel("news"))
    assert "wrong" not in str(caught.value)
    await out.close()


async def test_a_frozen_server_is_noticed_and_used_again(rabbit: Rabbit, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = fresh("news")
    async with outlet(rabbit) as out:
        await out.send(parcel(queue))
        monkeypatch.setattr("bridges.rabbitmq.outlet.ANSWER_TIME", 1)
        rabbit.freeze()
        try:
            with pytest.raises(Unreachable, match="did not answer"):
                await out.send(parcel(queue, "again", 2))
        finally:
            rabbit.thaw()
        monkeypatch.setattr("bridges.rabbitmq.outlet.ANSWER_TIME", ANSWER_TIME)
        await out.send(parcel(queue, "again", 2))
    taken = await rabbit.take(queue, 2)
    assert [message.message_id for message in taken] == ["7.1", "7.2"]


async def test_what_a_young_queue_loses_is_still_in_the_log(rabbit: Rabbit, database: str) -> None:
    """A confirm is RabbitMQ's word that it has a message; killed within a second of making the queue, it may lose both.

    What is promised: the message stays in its topic, whose history and other members have it, and the bridge goes on.
    """
    topic = fresh("news")
    async with working(database) as node, lane(rabbit, node, topics=topic):
        await node.store.create_topic(topic, "public", await node.actions.know("ana"))
        await publish(node, topic, *map(str, range(20)))
        await until(lambda: is_there(rabbit, topic, 20))
        await rabbit.restart()
        await publish(node, topic, '"after"')
        await until(lambda: is_there(rabbit, topic, 1))
        await until(lambda: is_done(node))
        standing = await node.store.topic_view(topic)
        assert standing is not None
        history = await node.store.history(standing.topic.id, 0, 100, 100, None, newest=False)
    assert [message.content for message in history] == [*map(str, range(20)), '"after"']
    got = await rabbit.take(topic, await rabbit.waiting(topic))
    assert got[-1].body == b'"after"'


async def test_cancelled_it_lets_go(rabbit: Rabbit) -> None:
    queue = fresh("news")
    async with outlet(rabbit) as out:
        await out.send(parcel(queue))
        rabbit.freeze()
        try:
            sending = asyncio.ensure_future(out.send(parcel(queue, "again", 2)))
            await asyncio.sleep(0)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
        finally:
            rabbit.thaw()
        await out.send(parcel(queue, "third", 3))
