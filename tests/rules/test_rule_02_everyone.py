"""Rule 2: every member gets every message sent while it was a member, at least once, in order, on every device."""

from __future__ import annotations

import asyncio
import json

from websockets.frames import Opcode

from support.log import connected
from support.members import Log, Publisher, cursor, read_to_mark, read_until, until_confirmed
from support.raw_members import RawClient
from support.waiting import until
from support.ws import receive, running, send

TOPICS = ("noticias", "deporte", "clima")


async def test_everyone_gets_everything_live_and_after_absence(database: str) -> None:
    """Three topics, four members; two are there, one comes and goes, one comes when all is over."""
    async with running(database) as recado:
        for topic in TOPICS:
            await recado.topic(topic, "omar", "diego", "ana", "lucia")
        sent: dict[str, list[tuple[int, str]]] = {topic: [] for topic in TOPICS}

        async def publish(number: int) -> None:
            async with recado.client("omar") as omar:
                await receive(omar, "connected")
                for n in range(40):
                    topic = TOPICS[(n + number) % 3]
                    text = f"{number}/{n}"
                    await send(omar, action="message", topic_name=topic, content=text, id=text.replace("/", "-"))
                    answer = await receive(omar)
                    while "result" not in answer:
                        answer = await receive(omar)
                    assert answer["result"] == "ok"
                    sent[topic].append((answer["seq"], text))

        diegos, lucias, anas = Log(), Log(), [Log(), Log()]
        async with recado.client("diego") as diego:
            async with recado.client("ana") as ana:
                await asyncio.gather(publish(1), publish(2))
                for topic in TOPICS:
                    await read_until(ana, anas[0], topic, len(sent[topic]))
            await asyncio.gather(publish(3), publish(4))  # ana and lucia are away
            for topic in TOPICS:
                await read_until(diego, diegos, topic, len(sent[topic]))
        async with recado.client("ana") as ana, recado.client("lucia") as lucia:
            for topic in TOPICS:
                await read_until(ana, anas[1], topic, len(sent[topic]))
                await read_until(lucia, lucias, topic, len(sent[topic]))

        for topic in TOPICS:
            wanted = [text for _, text in sorted(sent[topic])]
            assert len(wanted) > 50
            assert [seq for seq, _ in sorted(sent[topic])] == list(range(1, len(wanted) + 1))
            assert diegos.contents(topic) == wanted
            assert lucias.contents(topic) == wanted
            first, second = (log.entries.get(topic, []) for log in anas)
            both = {entry["seq"]: entry["content"] for entry in [*first, *second]}
            assert [both[seq] for seq in sorted(both)] == wanted
            assert second[0]["seq"] <= first[-1]["seq"] + 1  # nothing between what it had and what it gets


async def test_each_device_gets_everything_and_starts_where_it_left_off(database: str) -> None:
    async with running(database) as recado:
        await recado.topic("noticias", "omar", "diego")
        press = Publisher(recado)
        async with recado.client("diego", "?device=phone") as phone, recado.client("diego", "?device=laptop") as laptop:
            await receive(phone, "connected")
            await receive(laptop, "connected")
            await press.publish("noticias", range(1, 11))
            log = await read_until(phone, Log(), "noticias", 10)
            assert log.contents("noticias") == list(range(1, 11))
            await until_confirmed(recado, "diego", "noticias", 10, "phone")
            log = await read_until(laptop, Log(), "noticias", 10)
            assert log.contents("noticias") == list(range(1, 11))
            await until_confirmed(recado, "diego", "noticias", 10, "laptop")
            # Only the phone stays: what it confirms is not the laptop's.
            await laptop.close()
            await press.publish("noticias", range(11, 21))
            await read_until(phone, Log(), "noticias", 20)
            await until_confirmed(recado, "diego", "noticias", 20, "phone")
        async with recado.client("diego", "?device=laptop") as laptop:
            assert (await receive(laptop))["pending"] == 10
            assert (await read_until(laptop, Log(), "noticias", 20)).seqs("noticias") == list(range(11, 21))
        async with recado.client("diego", "?device=phone") as phone:
            assert (await receive(phone))["pending"] == 0
            # A device that never was here begins where the furthest one is.
        async with recado.client("diego", "?device=watch") as watch:
            assert (await receive(watch))["pending"] == 0
            await press.publish("noticias", [21])
            assert (await read_until(watch, Log(), "noticias", 21)).seqs("noticias") == [21]


async def test_two_connections_of_one_device_both_get_everything(database: str) -> None:
    async with running(database) as recado:
        await recado.topic("noticias", "omar", "diego")
        async with recado.client("diego") as one, recado.client("diego") as two:
            for link in (one, two):
                await receive(link, "connected")
            await Publisher(recado).publish("noticias", range(100))
            for link in (one, two):
                assert (await read_until(link, Log(), "noticias", 100)).contents("noticias") == list(range(100))


async def test_what_no_pong_confirmed_comes_again(database: str) -> None:
    """A client that vanishes with frames unread gets them at its return, from its cursor on."""
    async with running(database) as recado:
        await recado.topic("noticias", "omar", "diego")
        press = Publisher(recado)
        async with await RawClient.connect(f"{recado.url}/{recado.token('diego')}") as diego:
            await diego.next("connected")
            await press.publish("noticias", range(1, 6))
            await until_pinged_behind(diego, 5)
            await diego.answer()
            await until_confirmed(recado, "diego", "noticias", 5)
            await press.publish("noticias", range(6, 11))
            await until_pinged_behind(diego, 10)  # it has them, and the ping behind them; its pong never leaves
            for payload in (b"", b"12345678", b"x" * 125):  # an answer to no ping of ours confirms nothing
                await diego.send(payload, Opcode.PONG)
            await diego.request(action="topics", ref="handled")
            while not any(frame.get("ref") == "handled" for frame in diego.frames):
                await diego.read(pong=False)
            assert await cursor(recado, "diego", "noticias") == 5
        async with recado.client("diego") as again:
            log = await read_until(again, Log(), "noticias", 10)
            assert log.seqs("noticias") == [6, 7, 8, 9, 10]


async def until_pinged_behind(link: RawClient, seq: int) -> None:
    while not any(frame.get("seq") == seq for frame in link.frames) or link.pinged < link.texts:
        await link.read(pong=False)


async def test_leaving_ends_the_claim_and_joining_again_begins_a_new_one(database: str) -> None:
    async with running(database) as recado:
        await recado.topic("noticias", "omar", "diego")
        await recado.topic("aparte", "omar", "diego")
        press = Publisher(recado)
        async with recado.client("diego") as diego:  # its nameless device is known from here on
            await receive(diego, "connected")
        await press.publish("noticias", range(1, 6))  # pending for diego
        async with recado.client("diego", "?device=other") as other, recado.client("omar") as omar:
            log = await read_until(other, Log(), "noticias", 5)
            await send(other, action="unsubscribe", topic_name="noticias")
            assert (await receive(other))["result"] == "ok"
            await press.publish("noticias", range(6, 11))
            await press.publish("aparte", ["mark"])
            await read_until(omar, Log(), "noticias", 10)
            await read_until(other, log, "aparte", 1)
            assert log.last("noticias") == 5  # nothing after leaving
            await send(other, action="subscribe", topic_name="noticias")
            assert (await receive(other))["result"] == "ok"
            await press.publish("noticias", [11])
            fresh = await read_until(other, Log(), "noticias", 11)
            assert fresh.seqs("noticias") == [11]  # never 6 … 10
        async with recado.client("diego") as diego:  # the nameless device: its cursor of before is gone
            log = await read_to_mark(diego, await read_until(diego, Log(), "aparte", 1), "m")
            await read_until(diego, log, "noticias", 11)
            assert log.seqs("noticias") == [11]


async def test_seq_goes_up_by_one_on_a_connection_gaps_included(database: str) -> None:
    """Behind, live, behind again: 3,000 messages while it reads, with 500 gone from the middle."""
    async with running(database) as recado, connected(database) as db:
        await recado.topic("noticias", "omar", "diego")
        press = Publisher(recado)
        await press.publish("noticias", [{"n": n, "x": "y" * 200} for n in range(1, 1501)])
        await db.execute("DELETE FROM recado.messages WHERE seq BETWEEN 501 AND 1000")
        log = Log()
        async with recado.client("diego") as diego:
            reading = asyncio.create_task(read_until(diego, log, "noticias", 3000))
            for start in range(1501, 3001, 100):
                await press.publish("noticias", [{"n": n, "x": "y" * 200} for n in range(start, start + 100)])
            await reading
        entries = log.entries["noticias"]
        assert entries[0]["seq"] == 1 and log.last("noticias") == 3000  # the log itself asserts +1
        [gap] = [entry for entry in entries if entry["action"] == "gap"]
        assert (gap["from"], gap["to"], gap["reason"]) == (501, 1000, "expired")
        assert [content["n"] for content in log.contents("noticias")] == [*range(1, 501), *range(1001, 3001)]


async def test_a_message_keeps_its_bytes_and_its_sender(database: str) -> None:
    async with running(database) as recado:
        await recado.topic("noticias", "omar", "diego")
        content = '{"b":1.0,"a":[1e5,"\\u00e9 é \\ud83d\\ude00"],"b":-0}'
        async with recado.client("omar") as omar, recado.client("diego") as diego:
            await receive(diego, "connected")
            await omar.send('{"action":"message","topic_name":"noticias","content":' + content + "}")
            raw = await diego.recv()
            assert isinstance(raw, str) and f'"content":{content},' in raw
            assert json.loads(raw)["user_source"] == "omar"
            assert (await receive(omar, "message"))["seq"] == 1  # the sender, a member, has its own
            await until(lambda: recado.node.appender.waiting_bytes == 0)
