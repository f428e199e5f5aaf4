"""Programs that behave as the clients of the four older systems do, against a real Recado. See docs/differences.md."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from support.ezout import GOLDEN, event
from support.nats_server import nats_server
from support.places import free_port
from support.programs import Program, Recado, recado
from support.rabbit_server import Rabbit, fresh

HERE = Path(__file__).parent
SECRET = "the secret of both services, of 32 bytes or more"
SHOP = "3c6e0b8a-9c15-424a-8d1e-1f2a3b4c5d6e"
# As deployed: a key is asked of everybody but the older systems' programs, and these are here.
LOCKED = {"AUTH_MODE": "key", "API_KEY": "the key of these tests", "LEGACY_NETS": "127.0.0.0/8"}


@asynccontextmanager
async def program(name: str, *arguments: str) -> AsyncIterator[Program]:
    started = await Program.start(sys.executable, str(HERE / f"{name}.py"), *arguments)
    try:
        yield started
    finally:
        await started.end(signal.SIGKILL)


def ask(address: str, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
    """A request without any credential."""
    line = http.client.HTTPConnection(address.rpartition("/")[2], timeout=30)
    data = None if body is None else json.dumps(body).encode()
    line.request(method, path, data, {"Content-Type": "application/json"})
    answer = line.getresponse()
    found = answer.status, answer.read()
    line.close()
    return found


async def frame(socket: ClientConnection) -> Any:
    return json.loads(await asyncio.wait_for(socket.recv(), 30))


async def test_the_first_websocket_service_keeps_its_topics_and_what_is_pending_here() -> None:
    async with recado(JWT_SECRET=SECRET) as server:
        port = free_port()
        async with program("first_service", str(port), server.api, SECRET) as service:
            await service.line("^ready$")
            tokens = {user: json.loads(ask(server.api, "GET", f"/api/v1/gen_token?user={user}")[1])["token"]
                      for user in ("omar", "diego")}  # fmt: skip
            urls = {user: f"ws://127.0.0.1:{port}/{token}" for user, token in tokens.items()}
            topic = {"topic_name": "noticias", "user": "omar", "is_private": True}
            assert ask(server.api, "POST", "/api/v1/topics", topic) == (201, b'{"message":"Topic created"}')
            async with connect(urls["omar"], proxy=None) as omar:
                assert await frame(omar) == {"action": "heartbeat"}
                await omar.send('{"action":"invite","topic_name":"noticias","username":"diego"}')
                assert await frame(omar) == {"action": "invite", "topic_name": "noticias", "result": "ok"}
                for content in ("hola", {"n": 1}, "¿sigues?"):  # diego is not there
                    await omar.send(json.dumps({"action": "message", "topic_name": "noticias", "content": content}))
                    assert await frame(omar) == {"topic_name": "noticias", "content": content}
                await omar.send('{"action":"message","topic_name":"nada","content":1}')
                assert await frame(omar) == {"topic": "error", "topic_name": "nada", "message": "Topic not found"}
            async with connect(urls["diego"], proxy=None) as diego:
                kept = [await frame(diego) for _ in range(3)]
                old = [{name: each[name] for name in ("action", "topic_name", "content")} for each in kept]
                assert old == [
                    {"action": "message", "topic_name": "noticias", "content": content}
                    for content in ("hola", {"n": 1}, "¿sigues?")
                ]
                assert await frame(diego) == {"action": "heartbeat"}
            async with connect(urls["diego"], proxy=None) as diego:
                assert await frame(diego) == {"action": "heartbeat"}, "what was confirmed does not come again"


async def test_a_client_of_the_first_socket_speaks_to_this_one() -> None:
    async with recado() as server, contextlib.AsyncExitStack() as stack:
        topic = {"topic_name": "noticias", "user": "omar", "is_private": False}
        assert ask(server.api, "POST", "/api/v1/topics", topic)[0] == 201
        omar, diego = [
            await stack.enter_async_context(connect(server.url_of(user), proxy=None)) for user in ("omar", "diego")
        ]
        await diego.send('{"action":"subscribe","topic_name":"noticias"}')
        assert (await old_frame(diego, "result")) == {"action": "subscribe", "topic_name": "noticias", "result": "ok"}
        await omar.send('{"action":"message","topic_name":"noticias","content":"hola"}')
        for socket in (omar, diego):
            found = await old_frame(socket, "content")
            assert (found["topic_name"], found["content"]) == ("noticias", "hola")
        for text, said in (("{", "No action received"), ('{"action":"sing"}', "Unknown action received")):
            await omar.send(text)
            found = await old_frame(omar, "message")
            assert found["topic"] == "error" and found["message"].startswith(said)
        await omar.send('{"action":"disconnect"}')
        await omar.wait_closed()
        assert omar.close_code == 1000


async def old_frame(socket: ClientConnection, name: str) -> Any:
    """The next one with a field that older clients look for: what they do not know they pass over."""
    while name not in (found := await frame(socket)):
        pass
    return found


async def test_prontograms_page_shows_what_its_callers_post(rabbit: Rabbit, tmp_path: Path) -> None:
    ana = fresh("ana")
    config = tmp_path / "bridges.toml"
    config.write_text(f'[[rabbitmq.out]]\nname = "page"\ntopics = "@{ana}"\nqueue = "{ana}"\npayload = "prontogram"\n')
    async with recado(**LOCKED, RABBITMQ_URL=rabbit.url, BRIDGES_FILE=str(config)) as server:
        offer = {"sender": "ACMESky", "receiver": ana, "body": "Roma, 39 €", "send_time": "2021-02-01T10:00:00Z"}
        assert await asyncio.to_thread(ask, server.api, "POST", "/messages", offer) == (200, b"")
        async with program("prontogram_page", rabbit.url, ana) as page:
            await page.line("^ready$")
            again = offer | {"body": "Oslo"}
            assert await asyncio.to_thread(ask, server.api, "POST", "/messages", again) == (200, b"")
            shown = [json.loads((await page.line(r"^(\{.*\})$", 60))[1]) for _ in range(2)]
        assert [(each["sender"], each["receiver"], each["body"]) for each in shown] == [
            ("ACMESky", ana, "Roma, 39 €"), ("ACMESky", ana, "Oslo"),
        ]  # fmt: skip
        assert (await asyncio.to_thread(ask, server.api, "POST", "/messages", {"sender": "x"}))[0] == 400


async def test_ezouts_publisher_reaches_a_plain_subscriber_of_nats(tmp_path: Path) -> None:
    async with nats_server(folder=tmp_path) as broker, recado(**LOCKED, NATS_URL=broker.url) as server:
        port = broker.url.rpartition(":")[2]
        async with program("nats_subscriber", "127.0.0.1", port, "updates.store.*") as subscriber:
            await subscriber.line("^ready$")
            status, said = await asyncio.to_thread(ask, server.api, "POST", f"/publish/{SHOP.upper()}", event())
            assert (status, json.loads(said)) == (200, {"status": f"Message sent to shop ID {SHOP}"})
            heard = await subscriber.line(r"^updates\.store\.(\S+) (.*)$", 60)
            assert (heard[1], heard[2].encode()) == (SHOP, GOLDEN)
        status, said = await asyncio.to_thread(ask, server.api, "POST", f"/publish/{SHOP}", {**event(), "UPC": 1})
        assert status == 422 and json.loads(said)["detail"][0]["loc"] == ["body", "UPC"]


class Buas:
    """One application's process."""

    def __init__(self, name: str, token: str) -> None:
        self.name, self.token, self.port = name, token, free_port()

    @property
    def listed(self) -> dict[str, Any]:
        endpoint = f"http://127.0.0.1:{self.port}/api/"
        audio = {"supportAudio": "True", "supportImage": "False"}
        return {"id": self.port, "name": self.name, "endpoint": endpoint, **audio, "token": self.token}

    @asynccontextmanager
    async def running(self, server: Recado) -> AsyncIterator[Buas]:
        async with program("buas_app", self.name, str(self.port), self.token, f"{server.api}/") as self.program:
            self.platforms = json.loads((await self.program.line("^ready (.*)$"))[1])
            yield self

    async def do(self, path: str, **body: Any) -> list[Any]:
        stdin = self.program.process.stdin
        assert stdin is not None
        stdin.write(json.dumps([path, body]).encode() + b"\n")
        return list(json.loads((await self.program.line(r'^\{"answered": (.*)\}$'))[1]))

    async def hears(self, path: str) -> dict[str, Any]:
        """The next thing of this kind; it makes something of it."""
        while (found := json.loads((await self.program.line(r'^(\{"heard".*\})$', 60))[1]))["heard"] != path:
            pass
        assert found["taken"], found
        return dict(found["body"])


async def test_two_buas_apps_talk_in_a_room(tmp_path: Path) -> None:
    one, two = Buas("BuasApp", "3333"), Buas("BuasApp2", "4444")
    file = tmp_path / "platforms.json"
    file.write_text(json.dumps([one.listed, two.listed]))
    async with recado(**LOCKED, PLATFORMS_FILE=str(file)) as server, one.running(server), two.running(server):
        assert one.platforms == two.platforms == {"BuasApp": True, "BuasApp2": True, "recado": False}
        assert await one.do("user", id=7, name="Ana") == [200, "success"]
        assert await two.hears("user") == {"id": 7, "name": "Ana", "platform": "BuasApp"}
        users = [{"BuasApp": [7]}, {"BuasApp2": [1]}]
        assert await one.do("room", id=5, name="Ana - first", type="private", users=users) == [200, "success"]
        room = {"id": 5, "name": "Ana - first", "platform": "BuasApp", "users": users, "type": "private"}
        assert await two.hears("room") == room
        said = {"roomOriginalPlatform": "BuasApp", "roomId": 5}
        assert await one.do("message", **said, senderId=7, text="ciao") == [200, "success"]
        first = {**said, "senderId": 7, "senderPlatform": "BuasApp", "text": "ciao"}
        assert first.items() <= (await two.hears("message")).items()
        assert await two.do("message", **said, senderId=1, text="hola") == [200, "success"]
        second = {**said, "senderId": 1, "senderPlatform": "BuasApp2", "text": "hola"}
        assert second.items() <= (await one.hears("message")).items()
