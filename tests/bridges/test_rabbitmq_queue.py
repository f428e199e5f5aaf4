"""One queue that the operator names, read into a topic or an inbox."""

from __future__ import annotations

import json
from typing import Any

import aio_pika
import pytest

from bridges.config import RabbitIn
from bridges.rabbitmq.inlet import OneQueue
from messaging.actions import Actions
from messaging.errors import Unavailable, UnknownTopic
from messaging.store.bridges import BridgeStore, DeadLetter
from support.lanes import working
from support.rabbit_readers import LIMITED, Office, one_queue, reading
from support.rabbit_server import Rabbit, fresh
from support.waiting import until


async def test_any_json_as_it_is(rabbit: Rabbit, database: str) -> None:
    queue = fresh("orders")
    async with one_queue(rabbit, database, queue, "shop.orders", sender="till") as desk:
        await rabbit.put(queue, b'{"n": 1.50}', b'"text"', b"[]")
        assert await desk.has("shop.orders", 3) == [{"n": 1.5}, "text", []]
        messages = await desk.messages("shop.orders")
        assert messages[0].content == '{"n": 1.50}' and {message.sender for message in messages} == {"till"}
        standing = await desk.node.store.topic_view("shop.orders")
        assert standing is not None and standing.topic.kind == "public", "made, as anybody may be anyone here"


async def test_into_an_inbox(rabbit: Rabbit, database: str) -> None:
    queue = fresh("orders")
    async with one_queue(rabbit, database, queue, "@ana") as desk:
        await rabbit.put(queue, b"1", b"2")
        assert await desk.has("@ana", 2) == [1, 2]


async def test_a_lifetime_is_kept(rabbit: Rabbit, database: str) -> None:
    queue = fresh("orders")
    async with one_queue(rabbit, database, queue, "t") as desk:
        await rabbit.put(queue, b"1", expiration=3600)
        await desk.has("t", 1)
        async with desk.node.store.pool.connection() as connection:
            lives = await connection.fetchval("SELECT extract(epoch FROM expires_at - sent_at) FROM recado.messages")
        assert 3500 < lives <= 3600


async def test_a_bad_message_is_buried_and_stops_nothing(rabbit: Rabbit, database: str) -> None:
    queue = fresh("orders")
    async with one_queue(rabbit, database, queue, "t") as desk:
        await rabbit.put(queue, b"no json", b"1")
        assert await desk.has("t", 1) == [1]
        [(reason, remains)] = await desk.buried("mail", 1)
        assert "not JSON" in reason and remains == "no json"


async def test_tried_so_often_it_is_buried(rabbit: Rabbit, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    queue, aim, tried = fresh("orders"), Actions.aim, []

    async def failing(self: Actions, caller: Any, target: str) -> Any:
        tried.append(target)
        if len(tried) <= 3:
            raise UnknownTopic
        return await aim(self, caller, target)

    monkeypatch.setattr(Actions, "aim", failing)
    async with one_queue(rabbit, database, queue, "@ana", dead_after=3) as desk:
        await rabbit.put(queue, b"1")
        [(reason, _)] = await desk.buried("mail", 1)
        assert reason == "Topic not found" and len(tried) == 3
        await rabbit.put(queue, b"2")
        assert await desk.has("@ana", 1) == [2]


async def test_while_the_database_is_away_nothing_is_lost_or_overtaken(
    rabbit: Rabbit, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, aim, tried = fresh("orders"), Actions.aim, []

    async def failing(self: Actions, caller: Any, target: str) -> Any:
        tried.append(target)
        if 3 < len(tried) < 12:
            raise Unavailable
        return await aim(self, caller, target)

    monkeypatch.setattr(Actions, "aim", failing)
    async with one_queue(rabbit, database, queue, "@ana") as desk:
        await rabbit.put(queue, *(str(number).encode() for number in range(20)))
        assert await desk.has("@ana", 20) == list(range(20))
        assert await desk.node.bridge_store.buried("mail", 0, 10) == []


async def test_a_deleted_queue_is_made_again(rabbit: Rabbit, database: str) -> None:
    queue = fresh("orders")
    async with one_queue(rabbit, database, queue, "t") as desk:
        await until(lambda: desk.is_read(queue))
        async with rabbit.channel() as channel:
            await channel.queue_delete(queue)
        await until(lambda: desk.is_read(queue))
        await rabbit.put(queue, b"1")
        assert await desk.has("t", 1) == [1]


async def test_a_thousand_in_order_though_it_is_killed_in_the_middle(rabbit: Rabbit, database: str) -> None:
    queue = fresh("orders")
    await rabbit.put(queue, *_numbers(1000), message_ids=[str(number) for number in range(1000)])
    await rabbit.keeps(queue)
    async with one_queue(rabbit, database, queue, "t", prefetch=20) as desk:
        await desk.has("t", 50)
        await rabbit.restart()
        assert await desk.has("t", 1000, 60) == list(range(1000))
        await until(lambda: desk.is_drained(queue))


def _numbers(count: int) -> list[bytes]:
    return [json.dumps(number).encode() for number in range(count)]


async def test_no_more_than_its_prefetch_is_in_our_hands(
    rabbit: Rabbit, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: object) -> Any:
        raise Unavailable

    queue = fresh("orders")
    await rabbit.put(queue, *_numbers(30))
    monkeypatch.setattr(Actions, "aim", never)
    async with one_queue(rabbit, database, queue, "t", prefetch=10):
        await until(lambda: _is(rabbit, queue, 20))
    await until(lambda: _is(rabbit, queue, 30))  # given back


async def _is(rabbit: Rabbit, queue: str, count: int) -> bool:
    return await rabbit.waiting(queue) == count


async def test_a_server_that_hangs_up_on_us_is_found_again(rabbit: Rabbit, database: str) -> None:
    """Closed by its operator, as a management tool does it."""
    queue = fresh("orders")
    async with one_queue(rabbit, database, queue, "t") as desk:
        await until(lambda: desk.is_read(queue))
        await rabbit.restart()
        await _again(desk, rabbit, queue)
        assert await desk.has("t", 1) == [1]


async def _again(desk: Office, rabbit: Rabbit, queue: str) -> None:
    async with rabbit.channel() as channel:
        await channel.declare_queue(queue, durable=True)
        await channel.default_exchange.publish(aio_pika.Message(b"1"), queue)


@pytest.mark.faults
async def test_a_frozen_server_is_noticed_by_its_silence(
    rabbit: Rabbit, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    queue = fresh("orders")
    source = OneQueue(RabbitIn("mail", queue, "t"), rabbit.url + "?heartbeat=1", LIMITED)
    async with working(database) as node, reading(node, source):
        desk = Office(node, rabbit)
        await until(lambda: desk.is_read(queue))
        rabbit.freeze()
        try:
            await until(lambda: _says(caplog, "bridge mail is waiting"), within=60)
        finally:
            rabbit.thaw()
        await rabbit.put(queue, b"1")
        assert await desk.has("t", 1, 60) == [1]


async def _says(caplog: pytest.LogCaptureFixture, text: str) -> bool:
    return text in caplog.text


async def test_what_can_be_neither_stored_nor_buried_is_kept_by_the_server(
    rabbit: Rabbit, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, bury, publish, tried = fresh("orders"), BridgeStore.bury, Actions.publish, []

    async def away(self: BridgeStore, letter: DeadLetter) -> None:
        tried.append(letter.reason)
        if len(tried) < 4:
            raise Unavailable
        await bury(self, letter)

    def unanswered(self: Actions, *args: Any) -> None:
        tried.append("publish")
        if tried.count("publish") < 3:
            args[-2].on_result(args[-1], Unavailable())
        else:
            publish(self, *args)

    monkeypatch.setattr(BridgeStore, "bury", away)
    monkeypatch.setattr(Actions, "publish", unanswered)
    async with one_queue(rabbit, database, queue, "@ana") as desk:
        await rabbit.put(queue, b"no json", b"1")
        [(reason, _)] = await desk.buried("mail", 1)
        assert await desk.has("@ana", 1) == [1] and tried.count(reason) >= 2
        await until(lambda: desk.is_drained(queue))
