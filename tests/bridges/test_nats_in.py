"""From NATS: each message of a stream once and in order; what can't be kept stops nothing; nothing goes in circles."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from nats.js.api import RetentionPolicy, StreamConfig

from bridges.config import Nats as NatsConfig
from bridges.config import NatsIn, NatsOut
from bridges.deliveries import MAX_HELD_BYTES
from bridges.nats import consumer as nats_consumer
from bridges.nats import inlet as nats_in
from bridges.nats.bridges import nats_bridges
from bridges.nats.inlet import NatsSource
from bridges.running import Bridging
from messaging.actions import Actions
from messaging.bridge.inlet import Inlet, SourceLost
from messaging.errors import Unavailable
from messaging.node import Node
from messaging.settings.settings import Settings, SettingsError
from support.lanes import QUICK, publish, working
from support.nats_server import Nats, nats_server
from support.tasks import at_work
from support.waiting import until

TIME = 30
IN = NatsIn("in", "orders.>")
OPEN = Settings(auth_mode="open")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nats_in, "HEARTBEAT", 0.3)
    monkeypatch.setattr(nats_consumer, "HEARTBEAT", 0.3)
    monkeypatch.setattr(nats_in, "ASK_AGAIN", 0.3)


async def origin() -> str:
    return "here"


@contextlib.asynccontextmanager
async def reading(node: Node, server: Nats, bridge: NatsIn = IN, settings: Settings = OPEN) -> AsyncIterator[None]:
    source = NatsSource(bridge, [server.url], origin, settings, lambda: None)
    async with at_work(Inlet(bridge.name, "nats", source, node, settings, schedule=QUICK).run()):
        yield


async def eventually(node: Node, topic: str, condition: Callable[[list[str]], bool]) -> list[str]:
    """The contents of a topic, once they are as wanted."""
    async with asyncio.timeout(TIME):
        while True:
            found = await contents(node, topic)
            if condition(found):
                return found
            await asyncio.sleep(0.02)


async def contents(node: Node, topic: str) -> list[str]:
    found = await node.store.topic_view(topic)
    if found is None:
        return []
    messages = await node.store.history(found.topic.id, 0, 10**9, 10_000, None, newest=False)
    return [message.content for message in messages]


async def have(node: Node, topic: str, count: int) -> list[str]:
    return await eventually(node, topic, lambda found: len(found) >= count)


async def put(server: Nats, *payloads: Any, subject: str = "orders.rome") -> None:
    """Into the stream."""
    async with server.client() as client:
        for payload in payloads:
            data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
            await client.jetstream().publish(subject, data)


async def have_listener(client: Client, subject: str) -> None:
    """Until somebody listens there."""
    async with asyncio.timeout(TIME):
        while True:
            try:
                await client.request(subject, b"null", timeout=0.05)
            except TimeoutError:
                return
            except Exception:  # nobody yet
                await asyncio.sleep(0.02)


async def pending(server: Nats) -> int:
    async with server.client() as client:
        [consumer] = await client.jetstream().consumers_info("ORDERS")
        return (consumer.num_ack_pending or 0) + (consumer.num_pending or 0)


# --- from a stream ---------------------------------------------------------------------------------


async def test_a_stream_is_stored_in_order_byte_for_byte_and_acknowledged(database: str, tmp_path: Path) -> None:
    async with nats_server(folder=tmp_path) as server, working(database) as node:
        await server.make_stream("ORDERS", "orders.>")
        await put(server, b'{"a":  1.50}', *range(200))
        await put(server, "other", subject="orders.milan")
        async with reading(node, server):
            found = await have(node, "orders.rome", 201)
            assert found == ['{"a":  1.50}', *map(str, range(200))]
            assert await have(node, "orders.milan", 1) == ['"other"']
            standing = await node.store.topic_view("orders.rome")
            assert standing is not None and standing.topic.kind == "public"
            await until(lambda: pending(server), lambda found: not found)


async def test_a_user_of_the_same_name_does_not_get_it(database: str, tmp_path: Path) -> None:
    async with nats_server(folder=tmp_path) as server, working(database) as node:
        await server.make_stream("ORDERS", "orders.>")
        await node.actions.know("orders.rome")
        await put(server, 1)
        async with reading(node, server, settings=Settings(auth_mode="key", api_key="k")), asyncio.timeout(TIME):
            while not (buried := await node.bridge_store.buried("in", 0, 100)):  # noqa: ASYNC110 (a table tells nobody)
                await asyncio.sleep(0.02)
        assert [each.letter.content for each in buried] == ["1"]
        assert await contents(node, "@orders.rome") == []


async def test_what_was_not_acknowledged_comes_again_in_order_and_is_there_once(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first ten are stored and their acknowledgements lost; the next ten come before the server would repeat."""
    async with nats_server(folder=tmp_path) as server, working(database) as node:
        await server.make_stream("ORDERS", "orders.>")
        await put(server, *range(10))

        async def lost(message: Any) -> None:
            return

        with monkeypatch.context() as patch:
            patch.setattr("nats.aio.msg.Msg.ack", lost)
            async with reading(node, server):
                await have(node, "orders.rome", 10)
        assert await pending(server) == 10
        await put(server, *range(10, 20))
        async with reading(node, server):
            assert await have(node, "orders.rome", 20) == [str(number) for number in range(20)]
            await until(lambda: pending(server), lambda found: not found)
        assert len(await contents(node, "orders.rome")) == 20


async def test_while_the_database_is_away_nothing_is_acknowledged(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with nats_server(folder=tmp_path) as server, working(database) as node:
        await server.make_stream("ORDERS", "orders.>")
        tried = asyncio.Event()

        async def away(*args: Any) -> Any:
            tried.set()
            raise Unavailable

        with monkeypatch.context() as patch:
            patch.setattr(Actions, "aim", away)
            async with reading(node, server):
                await put(server, 1, 2, 3)
                await asyncio.wait_for(tried.wait(), TIME)
        assert await pending(server) == 3
        await put(server, 4)  # it waits behind those that nobody acknowledged
        async with reading(node, server):
            assert await have(node, "orders.rome", 4) == ["1", "2", "3", "4"]


async def test_what_cannot_be_kept_is_a_dead_letter_and_stops_nothing(database: str, tmp_path: Path) -> None:
    async with nats_server(folder=tmp_path) as server, working(database) as node:
        await server.make_stream("ORDERS", "orders.>")
        bad = [b"no JSON", b'"\\u0000"', b"\xff\x00", b'"' + b"x" * OPEN.max_frame + b'"', b""]
        await put(server, 1, *bad, 2)
        await put(server, 3, subject="orders.§")
        async with reading(node, server):
            assert await have(node, "orders.rome", 2) == ["1", "2"]
            await until(lambda: pending(server), lambda found: not found)
        letters = [each.letter for each in await node.bridge_store.buried("in", 0, 100)]
        rome = [letter for letter in letters if letter.topic == "orders.rome"]
        assert rome[0].content == '"no JSON"' and "not JSON" in rome[0].reason and len(rome) == 5
        [other] = [letter for letter in letters if letter.topic == "orders.§"]
        assert "not a name" in other.reason


@pytest.mark.parametrize("retention", [RetentionPolicy.LIMITS, RetentionPolicy.WORK_QUEUE], ids=["limits", "queue"])
async def test_a_consumer_that_is_deleted_is_made_again_where_it_was(
    database: str, tmp_path: Path, retention: RetentionPolicy
) -> None:
    async with nats_server(folder=tmp_path) as server, working(database) as node, server.client() as client:
        await client.jetstream().add_stream(StreamConfig(name="ORDERS", subjects=["orders.>"], retention=retention))
        async with reading(node, server):
            await put(server, 1, 2)
            await have(node, "orders.rome", 2)
            [consumer] = await client.jetstream().consumers_info("ORDERS")
            await client.jetstream().delete_consumer("ORDERS", consumer.name)
            await put(server, 3)
            assert await have(node, "orders.rome", 3) == ["1", "2", "3"]
            again = (await client.jetstream().consumers_info("ORDERS"))[0].config.opt_start_seq
            assert again == (3 if retention == RetentionPolicy.LIMITS else None)


async def test_a_stream_that_is_made_again_is_another_one(database: str, tmp_path: Path) -> None:
    """Its numbers begin anew: they must not be taken for those of the first."""
    async with nats_server(folder=tmp_path) as server, working(database) as node:
        await server.make_stream("ORDERS", "orders.>")
        async with reading(node, server), server.client() as client:
            await put(server, "a")
            await have(node, "orders.rome", 1)
            await client.jetstream().delete_stream("ORDERS")
            await server.make_stream("ORDERS", "orders.>")
            await put(server, "a", "b")
            assert await have(node, "orders.rome", 3) == ['"a"', '"a"', '"b"']


async def test_only_what_is_new_where_that_is_wanted(database: str, tmp_path: Path) -> None:
    async with nats_server(folder=tmp_path) as server, working(database) as node:
        await server.make_stream("ORDERS", "orders.>")
        await put(server, "old")
        async with reading(node, server, NatsIn("in", "orders.>", start="new")), server.client() as client:
            await until(lambda: client.jetstream().consumers_info("ORDERS"))
            await put(server, "new")
            assert await have(node, "orders.rome", 1) == ['"new"']


async def test_the_server_killed_and_frozen(database: str, tmp_path: Path) -> None:
    async with nats_server(folder=tmp_path) as server, working(database) as node:
        await server.make_stream("ORDERS", "orders.>")
        async with reading(node, server):
            await put(server, *range(50))
            await have(node, "orders.rome", 10)
            await server.kill()
            await server.start()
            await put(server, *range(50, 60))
            await have(node, "orders.rome", 60)
            server.freeze()
            await asyncio.sleep(1.5)  # longer than it may be silent
            server.thaw()
            await put(server, *range(60, 70))
            assert await have(node, "orders.rome", 70) == [str(number) for number in range(70)]


async def test_of_a_consumer_that_is_deleted_nothing_new_is_lost_where_only_that_is_wanted(
    database: str, tmp_path: Path
) -> None:
    """Nothing was acknowledged yet: a consumer that begins with what is new would leave out what came meanwhile."""
    async with nats_server(folder=tmp_path) as server, working(database) as node:
        await server.make_stream("ORDERS", "orders.>")
        await put(server, "old")
        async with reading(node, server, NatsIn("in", "orders.>", start="new")), server.client() as client:
            for remade in (False, True):
                consumers = await until(lambda: client.jetstream().consumers_info("ORDERS"))
                if remade:
                    await client.jetstream().delete_stream("ORDERS")
                    await server.make_stream("ORDERS", "orders.>")
                else:
                    await client.jetstream().delete_consumer("ORDERS", consumers[0].name)
                await put(server, f"remade: {remade}")
                assert (await have(node, "orders.rome", 1 + remade))[-1] == f'"remade: {remade}"'


async def test_what_comes_late_is_not_left_out_where_its_consumer_is_deleted(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers before 2.14 deliver what was left unacknowledged behind newer messages."""

    async def cannot(*_: Any) -> None:
        return

    monkeypatch.setattr(nats_consumer, "_set_back", cannot)
    async with nats_server(folder=tmp_path) as server, working(database) as node, server.client() as client:
        await server.make_stream("ORDERS", "orders.>")
        away, publish_, asked = [True], Actions.publish, asyncio.Event()

        def refused(actions: Actions, *args: Any) -> None:
            asked.set()
            if away[0]:
                raise Unavailable
            publish_(actions, *args)

        monkeypatch.setattr(Actions, "publish", refused)
        source = NatsSource(IN, [server.url], origin, OPEN, lambda: None)
        task = asyncio.create_task(Inlet("in", "nats", source, node, OPEN, schedule=QUICK).run())
        try:
            await put(server, 1)
            await asyncio.wait_for(asked.wait(), TIME)
            assert source._client is not None
            await source._client.close()
            away[0] = False
            await put(server, 2)
            assert await have(node, "orders.rome", 1) == ["2"]
            [consumer] = await client.jetstream().consumers_info("ORDERS")
            assert consumer.num_ack_pending == 1
            await client.jetstream().delete_consumer("ORDERS", consumer.name)
            assert await have(node, "orders.rome", 2) == ["2", "1"]
        finally:
            task.cancel()
            await asyncio.wait([task])


# --- from core NATS --------------------------------------------------------------------------------


async def test_without_a_stream_a_plain_subscription_will_do(database: str) -> None:
    async with nats_server() as server, working(database) as node, server.client() as client:
        async with reading(node, server, NatsIn("in", "orders.*", topic="from/nats/{subject}", sender="shop")):
            await have_listener(client, "orders.probe")
            for number in range(50):
                await client.publish("orders.rome", str(number).encode())
            assert await have(node, "from/nats/orders.rome", 50) == [str(number) for number in range(50)]
            for _ in range(2):
                await client.publish("orders.milan", b"1", headers={"Nats-Msg-Id": "m1"})
            await client.publish("orders.milan", b"2", headers={"Nats-Msg-Id": "m1"})
            replies = await client.subscribe("replies")
            await client.publish("orders.milan", b"3", reply="replies")
            assert await have(node, "from/nats/orders.milan", 2) == ["1", "3"]
            await client.publish("orders.milan", b"4")
            await have(node, "from/nats/orders.milan", 3)
            await client.flush()
            assert replies.pending_msgs == 0, "it is for somebody else"
        [letter] = [each.letter for each in await node.bridge_store.buried("in", 0, 10)]
        assert letter.content == "2", "the same id, other bytes"


async def test_core_waits_for_the_database_and_keeps_the_order(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with nats_server() as server, working(database) as node, server.client() as client:
        fails, real = [3], Actions.aim

        async def shaky(*args: Any) -> Any:
            if fails[0]:
                fails[0] -= 1
                raise Unavailable
            return await real(*args)

        async with reading(node, server):
            await have_listener(client, "orders.probe")
            await have(node, "orders.probe", 1)
            monkeypatch.setattr(Actions, "aim", shaky)
            for number in range(20):
                await client.publish("orders.rome", str(number).encode())
            assert await have(node, "orders.rome", 20) == [str(number) for number in range(20)]


async def test_a_stream_that_is_made_later_is_read_from_then_on(database: str, tmp_path: Path) -> None:
    async with (
        nats_server(folder=tmp_path) as server,
        working(database) as node,
        server.client() as client,
        reading(node, server),
    ):
        await have_listener(client, "orders.probe")
        await client.jetstream().add_stream(StreamConfig(name="ORDERS", subjects=["orders.>"]))
        await until(lambda: client.jetstream().consumers_info("ORDERS"))
        await put(server, 1)
        assert (await have(node, "orders.rome", 1))[-1] == "1"


async def test_what_came_before_a_stream_was_found_is_given_out_first(tmp_path: Path) -> None:
    async with nats_server(folder=tmp_path) as server, server.client() as client:
        source = NatsSource(IN, [server.url], origin, OPEN, lambda: None)
        await source.open()
        try:
            await have_listener(client, "orders.probe")
            for number in range(3):
                await client.publish("orders.rome", str(number).encode())
            await client.flush()
            assert source._client is not None
            await source._client.flush()
            await server.make_stream("ORDERS", "orders.>")
            await asyncio.sleep(nats_in.ASK_AGAIN)
            given = []
            with pytest.raises(SourceLost, match="holds it now"):
                while True:
                    given += [arrival.raw for arrival in await source.receive()]
            assert given[-3:] == [b"0", b"1", b"2"]
        finally:
            await source.close()


async def test_what_core_gives_ahead_of_us_is_bounded_in_bytes() -> None:
    async with nats_server() as server, server.client() as client:
        source = NatsSource(IN, [server.url], origin, OPEN, lambda: None)
        await source.open()
        try:
            await have_listener(client, "orders.probe")
            for number in range(20):
                await client.publish("orders.rome", b"%d" % number * 500_000)
            await client.flush()
            assert source._client is not None
            await source._client.flush()
            sizes: list[int] = []
            while sum(sizes) < 15_000_000:
                sizes.append(sum(len(arrival.raw) for arrival in await source.receive()))
            assert max(sizes) < MAX_HELD_BYTES + 1_000_001
        finally:
            await source.close()


async def test_several_streams_are_not_taken_for_one(
    database: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with nats_server(folder=tmp_path) as server, working(database) as node:
        await server.make_stream("ROME", "orders.rome")
        await server.make_stream("MILAN", "orders.milan")
        async with reading(node, server), server.client() as client:
            await have_listener(client, "orders.probe")
            await put(server, 1)
            await put(server, 2, subject="orders.milan")
            await client.publish("orders.naples", b"3")
            for topic in ("orders.rome", "orders.milan", "orders.naples"):
                await have(node, topic, 1)
        assert "hold only some of orders.>" in caplog.text


# --- no loops --------------------------------------------------------------------------------------


def bridges(server: str, *, outs: tuple[NatsOut, ...] = (), ins: tuple[NatsIn, ...] = ()) -> Any:
    return NatsConfig(outs, ins), Settings(auth_mode="open", nats_url=server)


@pytest.mark.parametrize(
    ("out", "filter_"),
    [
        (NatsOut("out", "orders.rome"), "orders.>"),
        (NatsOut("out", "orders.*"), "orders.>"),
        (NatsOut("out", "*", subject="all"), "*"),
        (NatsOut("out", "*", subject="all.{topic}"), "all.*"),
    ],
)
async def test_what_is_read_is_not_written(database: str, out: NatsOut, filter_: str) -> None:
    async with working(database) as node:
        config, settings = bridges("nats://127.0.0.1:1", outs=(out,), ins=(NatsIn("in", filter_),))
        with pytest.raises(SettingsError, match="one direction"):
            nats_bridges(config, settings, node)
        elsewhere = NatsIn("in", filter_, url="nats://127.0.0.1:2")
        config, settings = bridges("nats://127.0.0.1:1", outs=(out,), ins=(elsewhere,))
        nats_bridges(config, settings, node)


async def test_both_directions_of_one_topic_end_after_one_round(database: str) -> None:
    """By another name of the same server, which nobody can see through: what we have sent is not taken back."""
    async with nats_server() as server, working(database) as node, server.client() as client:
        alias = server.url.replace("127.0.0.1", "localhost")
        config, settings = bridges(
            server.url, outs=(NatsOut("out", "orders.*"),), ins=(NatsIn("in", "orders.>", url=alias),)
        )
        outs, inlets = nats_bridges(config, settings, node)
        work = asyncio.create_task(Bridging(node, outs, inlets).run())
        await have_listener(client, "orders.probe")
        heard: asyncio.Queue[bytes] = asyncio.Queue()

        async def hear(message: Any) -> None:
            await heard.put(message.data)

        await client.subscribe("orders.rome", cb=hear)
        await client.flush()
        await node.actions.make_unowned("orders.rome", "ana")
        await publish(node, "orders.rome", '"from within"')
        assert await asyncio.wait_for(heard.get(), TIME) == b'"from within"'
        await client.publish("orders.rome", b'"from without"')
        assert await have(node, "orders.rome", 2) == ['"from within"', '"from without"']
        assert await asyncio.wait_for(heard.get(), TIME) == b'"from without"', "as it was published"
        await client.publish("orders.rome", b'"end"')
        await have(node, "orders.rome", 3)
        assert await contents(node, "orders.rome") == ['"from within"', '"from without"', '"end"']
        assert node.metrics.registry.get_sample_value("recado_bridge_skipped_total", {"bridge": "in"})
        work.cancel()
        await asyncio.wait([work])
