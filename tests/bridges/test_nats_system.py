"""EzOut's whole way with real programs: REST, the log, NATS, and a member on a socket."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from nats.aio.msg import Msg
from websockets.asyncio.client import ClientConnection, connect

from support.ezout import GOLDEN, event
from support.nats_server import Nats, nats_server
from support.programs import Recado, kill_everything, recado

TIME = 60
SHOPS = [f"3c6e0b8a-9c15-424a-8d1e-{number:012x}" for number in range(50)]


class Till:
    """Publishes, and asks again with the same key until it is told that it is stored."""

    def __init__(self, server: Recado, http: aiohttp.ClientSession) -> None:
        self.server = server
        self._http = http

    async def publish(self, shop: str, number: int = 1) -> None:
        headers = {"Idempotency-Key": f"e{number}"}
        async with asyncio.timeout(TIME):
            while True:
                try:
                    url = f"{self.server.api}/publish/{shop}"
                    async with self._http.post(url, json=event(number), headers=headers) as answer:
                        if answer.status == 200:
                            assert await answer.json() == {"status": f"Message sent to shop ID {shop}"}
                            return
                        assert answer.status == 503, await answer.text()
                except (aiohttp.ClientError, ConnectionError):
                    await asyncio.sleep(0.05)


@asynccontextmanager
async def member(server: Recado, user: str) -> AsyncIterator[ClientConnection]:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{server.api}/api/v1/gen_token", params={"user": user}) as answer,
    ):
        token = (await answer.json())["token"]
    async with connect(f"ws://127.0.0.1:{server.environ['WS_PORT']}/{token}", proxy=None, max_queue=None) as link:
        yield link


async def content(link: ClientConnection) -> Any:
    async with asyncio.timeout(TIME):
        while True:
            frame = json.loads(await link.recv())
            if frame["action"] == "message" and "content" in frame:
                return frame["content"]


async def test_what_a_till_posts_reaches_nats_byte_for_byte_and_members_now_or_later() -> None:
    shop = "3c6e0b8a-9c15-424a-8d1e-1f2a3b4c5d6e"
    topic = f"updates.store.{shop}"
    async with nats_server() as server, recado(NATS_URL=server.url) as program, server.client() as client:
        heard: asyncio.Queue[Msg] = asyncio.Queue()

        async def hear(message: Msg) -> None:
            await heard.put(message)

        await client.subscribe(topic, cb=hear)
        await client.flush()
        async with member(program, "bea") as bea:  # before there is anything
            await bea.send(json.dumps({"action": "subscribe", "topic_name": topic}))
            while json.loads(await bea.recv())["action"] != "subscribe":
                pass
        async with aiohttp.ClientSession() as http, member(program, "ana") as ana:
            await ana.send(json.dumps({"action": "subscribe", "topic_name": topic}))
            while (answer := json.loads(await ana.recv()))["action"] != "subscribe":
                pass
            assert answer["result"] == "ok"
            await Till(program, http).publish(shop)
            assert await content(ana) == json.loads(GOLDEN)
            message = await asyncio.wait_for(heard.get(), TIME)
            assert (message.subject, message.data) == (topic, GOLDEN)
        async with member(program, "bea") as bea:
            assert await content(bea) == json.loads(GOLDEN)


async def test_with_nats_down_publishing_goes_on_and_all_of_it_arrives(tmp_path: Path) -> None:
    server = Nats(folder=tmp_path)
    await server.start()
    await server.make_stream("NEWS", "updates.store.*")
    await server.kill()
    try:
        async with recado(NATS_URL=server.url) as program, aiohttp.ClientSession() as http:
            for number in range(1, 31):
                await Till(program, http).publish(SHOPS[number % 3], number)
            async with http.get(f"{program.api}/api/v1/bridges/ezout") as answer:
                assert (await answer.json())["lag"] == 30
            await server.start()
            async with asyncio.timeout(TIME):
                stored = await server.stored("NEWS", "updates.store.*", 30)
            assert by_shop(stored) == {shop: [n for n in range(1, 31) if SHOPS[n % 3] == shop] for shop in SHOPS[:3]}
    finally:
        await server.kill()


def by_shop(messages: list[Msg]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for message in messages:
        found[message.subject.rpartition(".")[2]].append(json.loads(message.data)["action_id"])
    return dict(found)


@pytest.mark.faults
async def test_a_thousand_events_while_everything_is_killed(tmp_path: Path) -> None:
    """NATS three times, Recado with its database once, in the midst of it: each is in the stream once, and in order."""
    published = 0
    async with (
        nats_server(folder=tmp_path) as server,
        recado(NATS_URL=server.url) as program,
        aiohttp.ClientSession() as http,
    ):
        await server.make_stream("NEWS", "updates.store.*")
        till = Till(program, http)

        async def sell(shop: str) -> None:
            nonlocal published
            for number in range(1, 21):
                await till.publish(shop, number)
                published += 1

        async def reach(count: int) -> None:
            while published < count:  # noqa: ASYNC110 (it is also waited for while everything is down)
                await asyncio.sleep(0.01)

        async with asyncio.TaskGroup() as tasks:
            for shop in SHOPS:
                tasks.create_task(sell(shop))
            for count in (200, 450, 700):
                await reach(count)
                await server.kill()
                if count == 450:
                    kill_everything(program)
                    await program.process.wait()
                    till.server = await program.again()
                await server.start()
        try:
            async with asyncio.timeout(TIME):
                stored = await server.stored("NEWS", "updates.store.*", 1000)
        finally:
            await till.server.end()
        assert by_shop(stored) == {shop: list(range(1, 21)) for shop in SHOPS}
