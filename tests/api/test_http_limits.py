"""Connections, heads and answers at the HTTP door have limits, and whoever meets one stands in nobody else's way."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import ip_network
from typing import Any

import pytest
from aiohttp import web
from listener import NEWS, listening, news

from api import connection
from api.slow_peers import SlowPeers
from messaging.limits import strangers
from messaging.permissions import BACKEND
from support.counted import reached
from support.doors import KEY, Door, Opener
from support.waiting import until

NOWHERE = b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
STREAM = f"GET {NEWS}/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n"
HISTORY = f"GET {NEWS}/messages?after=0&limit=100 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
LARGE = "y" * 60_000
Held = SlowPeers[connection.Connection]


@pytest.fixture
def held() -> Held:
    """What a door holds for slow peers."""
    return SlowPeers()


class Line:
    """A peer that says bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    async def say(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def hear(self, what: bytes) -> bytes:
        async with asyncio.timeout(10):
            return await self.reader.readuntil(what)

    async def ends(self) -> bytes:
        """Wait until the door has ended it; what it said before."""
        said = bytearray()
        async with asyncio.timeout(10):
            try:
                while part := await self.reader.read(65536):
                    said += part
            except ConnectionError:
                pass
        return bytes(said)


@asynccontextmanager
async def line(door: Door, address: str = "127.0.0.1", *, small: bool = False) -> AsyncIterator[Line]:
    """A connection from an address; ``small``: its buffer takes little, so that what it does not read waits."""
    sock = socket.socket()
    sock.setblocking(False)
    if small:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.bind((address, 0))
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", door.settings.api_port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=1024 if small else 1 << 20)
    try:
        yield Line(reader, writer)
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)


# --- heads -----------------------------------------------------------------------------------------


async def test_headers_that_do_not_come_in_time_end_the_connection(open_door: Opener) -> None:
    """Also where a byte comes now and then, and before a second request."""
    door = await open_door(bounds={"head_time": 0.2})
    async with line(door) as silent, line(door) as half, line(door) as again, line(door) as drips:
        await half.say(HEALTH[:20])
        await again.say(HEALTH + HEALTH[:20])
        await again.hear(b'{"status":"ok"}')
        await again.say(HEALTH[20:30])
        dripping = asyncio.create_task(drip(drips))
        for each in (silent, half, again, drips):
            assert await each.ends() == b""
        dripping.cancel()


async def drip(peer: Line) -> None:
    while True:
        await peer.say(b"x")
        await asyncio.sleep(0.02)


async def test_a_head_that_is_too_long_ends_the_connection(door: Door) -> None:
    async with line(door) as peer:
        await peer.say(b"GET / HTTP/1.1\r\n" + b"".join(b"A%d: %b\r\n" % (n, b"x" * 8000) for n in range(10)))
        assert b"200" not in await peer.ends()


@pytest.mark.parametrize(
    "before",
    [
        b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\n",
        b"POST /api/v1/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n",
    ],
    ids=["behind a late body", "trailers"],
)
async def test_what_is_no_body_is_of_a_head_wherever_it_comes(door: Door, before: bytes) -> None:
    async with line(door) as peer:
        await peer.say(before)
        if before.startswith(b"GET"):
            await peer.hear(b'{"status":"ok"}')
            await peer.say(b"12345GET / HTTP/1.1\r\n")
        with pytest.raises(ConnectionError):
            for number in range(120):
                await peer.say(b"A%d: %b\r\n" % (number, b"x" * 8000))
                await asyncio.sleep(0.001)


async def test_one_that_was_answered_is_not_hurried(open_door: Opener) -> None:
    door = await open_door(bounds={"head_time": 0.05})
    async with line(door) as peer:
        await peer.say(HEALTH)
        await peer.hear(b'{"status":"ok"}')
        await asyncio.sleep(0.2)
        await peer.say(HEALTH)
        await peer.hear(b'{"status":"ok"}')


# --- connections of an address ---------------------------------------------------------------------


async def test_an_address_has_so_many_connections_and_others_are_served(open_door: Opener) -> None:
    door = await open_door(max_connections_per_address=3)
    door.http._connector._force_close = True  # type: ignore[union-attr]  # the test's own do not stay
    await news(door)
    async with AsyncExitStack() as stack:
        for _ in range(3):
            busy = await stack.enter_async_context(line(door, "127.0.0.2"))
            await busy.say(STREAM.encode() + b"\r\n")
            await busy.hear(b":0\n\n")
        async with line(door, "127.0.0.2") as fourth:
            assert await fourth.ends() == b""
        assert reached(door, "max_connections_per_address") == 1
        await door.ask("GET", "/healthz")
    await until(lambda: not len(door.node.connections))
    async with line(door, "127.0.0.2") as peer:
        await peer.say(HEALTH)
        await peer.hear(b"200 OK")


async def test_who_says_nothing_gives_way_to_who_comes(open_door: Opener) -> None:
    """Silent, with half a head, or kept alive after an answer."""
    door = await open_door(max_connections_per_address=3)
    async with line(door, "127.0.0.2") as kept, line(door, "127.0.0.2") as half, line(door, "127.0.0.2") as silent:
        await kept.say(HEALTH)
        await kept.hear(b'{"status":"ok"}')
        await half.say(HEALTH[:20])
        async with AsyncExitStack() as stack:
            for _ in range(3):
                peer = await stack.enter_async_context(line(door, "127.0.0.2"))
                await peer.say(HEALTH)
                await peer.hear(b"200 OK")
            for each in (kept, half, silent):
                await each.ends()
    assert reached(door, "max_connections_per_address") == 0


HALF = (  # of a request; the door answers 100 where it begins to wait for the rest
    b"POST /api/v1/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 98\r\n"
    b"Expect: 100-continue\r\n\r\n"
)
BEGUN = b" 100 Continue\r\n\r\n"


@pytest.mark.parametrize("limits", ["max_connections_per_address", "descriptors"])
async def test_half_a_body_of_nobody_gives_way_to_who_comes(open_door: Opener, limits: str) -> None:
    door = await open_door(max_connections_per_address=3 if limits != "descriptors" else 0)
    door.node.connections._most = 3
    async with AsyncExitStack() as stack:
        halves = [await stack.enter_async_context(line(door, "127.0.0.2")) for _ in range(3)]
        for half in halves:
            await half.say(HALF)
            await half.hear(BEGUN)
        peer = await stack.enter_async_context(line(door, "127.0.0.2" if limits != "descriptors" else "127.0.0.1"))
        await peer.say(HEALTH)
        await peer.hear(b"200 OK")
        await halves[0].ends()
        await halves[1].say(b'{"ticket":"' + b"x" * 85 + b'"}')
        await halves[1].hear(b'"code"')
    assert reached(door, limits) == 0


async def test_an_answer_that_nobody_takes_gives_way_to_who_comes(open_door: Opener, held: Held) -> None:
    door = await open_door(bounds={"slow_peers": held})
    door.http._connector._force_close = True  # type: ignore[union-attr]  # the test's own do not stay
    await filled(door, 10)
    await until(lambda: not len(door.node.connections))
    door.node.connections._most = 2
    async with line(door, "127.0.0.2", small=True) as slow, line(door, "127.0.0.2") as kept:
        await slow.say(HISTORY * 100)
        await until(lambda: held.total)
        await kept.say(HEALTH)
        await kept.hear(b"200 OK")
        async with line(door) as peer:
            await peer.say(HEALTH)
            await peer.hear(b"200 OK")
            await slow.ends()


@pytest.mark.parametrize("body", [b"", b"."])
async def test_who_waits_to_be_refused_gives_way_to_who_comes(open_door: Opener, body: bytes) -> None:
    """The end of its body changes nothing."""
    door = await open_door(auth_mode="key", api_key=KEY, rate_strangers=0.05, max_connections_per_address=2)
    async with line(door) as first, line(door) as second:
        await second.say(NOWHERE * 2)
        await second.hear(b"429")
        await first.say(b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body))
        await until(lambda: reached(door, "rate_strangers") == 2)
        await first.say(body)
        await second.say(NOWHERE)
        await until(lambda: reached(door, "rate_strangers") == 3)
        async with line(door) as third:
            await third.say(f"GET /metrics HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode())
            await third.hear(b"200 OK")
            assert b"429" not in await first.ends()


async def test_a_stop_waits_for_nobody_who_waits_to_be_refused(
    open_door: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strangers, "REFUSED_WITHIN", 3600.0)
    door = await open_door(auth_mode="key", api_key=KEY, rate_strangers=0.05)
    async with line(door) as held:
        await held.say(NOWHERE * 3)
        await until(lambda: reached(door, "rate_strangers") == 2)
        [found] = [each for each in gc.get_objects() if isinstance(each, connection.Connection) and each._held]
        found.close()
        assert 2 == (await held.ends()).count(b"HTTP/1.1 429")


async def test_half_bodies_of_a_user_are_bounded_as_its_requests_are(open_door: Opener) -> None:
    """They do not give way, for it is known whose they are."""
    door = await open_door(max_connections_per_user=2, auth_mode="key", api_key="k" * 16)
    token = (await door.token("ana")).encode()
    half = HALF.replace(b"/api/v1/login", b"/api/v1/messages/batch")
    half = half.replace(b"Expect", b"Authorization: Bearer %b\r\nExpect" % token)
    async with line(door) as one, line(door) as two, line(door) as three:
        for each in (one, two):
            await each.say(half)
        await until(lambda: sum(door.node.under_way._counts.values()) == 2)
        door.node.connections._most = 3
        await three.say(half)
        await three.hear(b" 429 ")
        await until(lambda: bool(door.node.connections._waiting))
        async with line(door, "127.0.0.2") as peer:  # for which the third gives way
            await peer.say(HEALTH)
            await peer.hear(b"200 OK")
            await three.ends()
            assert sum(door.node.under_way._counts.values()) == 2


async def test_behind_a_trusted_proxy_whom_it_names_counts(open_door: Opener) -> None:
    door = await open_door(
        max_connections_per_address=2, trusted_proxies=(ip_network("127.0.0.2"),), auth_mode="key", api_key="k" * 16
    )
    key = f"Authorization: Bearer {'k' * 16}\r\n"
    await door.node.actions.create_topic(BACKEND, "news", await door.node.actions.know("ana"), "public")
    async with AsyncExitStack() as stack:

        async def ask(client: str, answer: bytes, head: str = STREAM) -> Line:
            peer = await stack.enter_async_context(line(door, "127.0.0.2"))
            await peer.say(f"{head}{key}X-Forwarded-For: {client}\r\n\r\n".encode())
            await peer.hear(answer)
            return peer

        for _ in range(2):
            await ask("192.0.2.1", b":0\n\n")
        third = await ask("192.0.2.1", b" 429 ")
        assert b'"code":"rate_limited"' in await third.hear(b"}")
        await ask("192.0.2.2", b":0\n\n")


# --- answers ---------------------------------------------------------------------------------------


async def filled(door: Door, count: int) -> None:
    await news(door)
    items = [{"topic_name": "news", "content": LARGE} for _ in range(5)]
    for _ in range(count // 5):
        await door.ask("POST", "/api/v1/messages/batch", json=items)


async def test_a_history_is_cut_at_128_kib_and_goes_on(door: Door) -> None:
    await filled(door, 10)
    pages: list[Any] = []
    after = 0
    while not pages or pages[-1]["more"]:
        text = await door.ask("GET", f"{NEWS}/messages?after={after}&limit=100")
        assert len(json.dumps(text)) < 129 * 1024
        pages.append(text)
        after = text["messages"][-1]["seq"]
    assert [message["seq"] for page in pages for message in page["messages"]] == list(range(1, 11))
    assert [len(page["messages"]) for page in pages] == [2] * 5
    newest = await door.ask("GET", f"{NEWS}/messages?limit=100")
    assert [message["seq"] for message in newest["messages"]] == [9, 10] and newest["more"]


async def test_a_message_that_is_larger_than_a_page_comes_alone(open_door: Opener) -> None:
    door = await open_door(max_frame=131072)
    await news(door)
    for _ in range(2):
        await door.ask("POST", f"{NEWS}/messages", 201, json={"content": "y" * 131_000, "sender": "ana"})
    page = await door.ask("GET", f"{NEWS}/messages?after=0")
    assert ([message["seq"] for message in page["messages"]], page["more"]) == ([1], True)
    page = await door.ask("GET", f"{NEWS}/messages?after=1")
    assert ([message["seq"] for message in page["messages"]], page["more"]) == ([2], False)


async def test_who_takes_nothing_of_an_answer_is_cut_off(open_door: Opener) -> None:
    door = await open_door(bounds={"stalled_after": 0.2})
    await filled(door, 10)
    async with line(door, small=True) as peer:
        await peer.say(HISTORY * 100)
        await until(lambda: reached(door, "slow_peers"))


async def test_who_takes_an_answer_slowly_gets_it(open_door: Opener) -> None:
    """As long as it takes something, it may take longer than whoever takes nothing has."""
    door = await open_door(bounds={"stalled_after": 0.3})
    await filled(door, 10)
    async with line(door, small=True) as peer, asyncio.timeout(60):
        await peer.say(HISTORY * 20)
        for _ in range(20):
            head = (await peer.reader.readuntil(b"\r\n\r\n")).decode()
            left = int(head.partition("Content-Length: ")[2].split()[0])
            while left:
                left -= len(await peer.reader.readexactly(min(left, 16_000)))
                await asyncio.sleep(0.01)


async def test_what_is_held_for_who_takes_nothing_is_the_rest_and_the_answer(open_door: Opener, held: Held) -> None:
    door = await open_door(bounds={"slow_peers": held})
    await filled(door, 10)
    async with line(door, small=True) as peer:
        await peer.say(HISTORY * 100)
        await until(lambda: held.total)
        assert held.total > 2 * len(LARGE)


async def test_an_answer_that_is_not_taken_is_under_way(open_door: Opener, held: Held) -> None:
    """So a user has no more of them than it may have requests."""
    door = await open_door(bounds={"slow_peers": held}, max_connections_per_user=2)
    await filled(door, 10)
    token = await door.token("ana")
    asking = HISTORY.removesuffix(b"\r\n") + f"Authorization: Bearer {token}\r\n\r\n".encode()
    async with line(door, small=True) as one, line(door, small=True) as another:
        await one.say(asking * 60)
        await another.say(asking * 60)
        await until(lambda: len(held._addresses) == 2)
        assert (await door.ask("GET", f"{NEWS}/messages", 429, token=token))["code"] == "rate_limited"
    await until(lambda: not held.total)
    await door.ask("GET", f"{NEWS}/messages", token=token)


async def test_a_request_that_is_cancelled_is_under_way_no_longer(open_door: Opener) -> None:
    door = await open_door(max_connections_per_user=1)
    await news(door)
    async with listening(door, token=await door.token("ana")):
        for task in asyncio.all_tasks():
            if "_handle_request" in repr(task.get_coro()):
                task.cancel()
        await until(lambda: not door.node.under_way._counts)


async def test_an_answer_that_has_left_is_kept_no_longer(door: Door) -> None:
    """Nor by a connection that stays."""
    await filled(door, 5)
    await door.ask("GET", f"{NEWS}/messages")
    gc.collect()
    answers = [each for each in gc.get_objects() if isinstance(each, web.Response)]
    assert answers and not any(each.body for each in answers)


async def test_requests_behind_one_that_lasts_are_read_few_ahead(door: Door) -> None:
    await news(door)
    async with line(door) as peer:
        await peer.say(STREAM.encode() + b"\r\n" + HEALTH * 30)
        await peer.hear(b":0\n\n")
        connections = [each for each in gc.get_objects() if isinstance(each, connection.Connection)]
        assert max(len(each._messages) for each in connections) <= connection.READ_AHEAD


@pytest.fixture
async def narrow(open_door: Opener) -> Door:
    """A door that holds little for slow peers."""
    door = await open_door(bounds={"slow_peers": SlowPeers(400_000)})
    await filled(door, 10)
    return door


async def test_answers_that_wait_are_bounded_and_those_of_the_greediest_are_cut_off(narrow: Door) -> None:
    async with AsyncExitStack() as stack:
        modest = await stack.enter_async_context(line(narrow, small=True))
        await modest.say(HISTORY * 60)
        for _ in range(6):
            greedy = await stack.enter_async_context(line(narrow, "127.0.0.2", small=True))
            await greedy.say(HISTORY * 60)
        await until(lambda: reached(narrow, "slow_peers") >= 2)
        await narrow.ask("GET", f"{NEWS}/messages")
        async with asyncio.timeout(30):
            for _ in range(60):
                head = (await modest.reader.readuntil(b"\r\n\r\n")).decode()
                await modest.reader.readexactly(int(head.partition("Content-Length: ")[2].split()[0]))


async def test_bodies_that_do_not_come_to_their_end_are_bounded_too(narrow: Door) -> None:
    head = (
        b"POST /api/v1/messages/batch HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Content-Length: 1000000\r\n\r\n"
    )
    async with AsyncExitStack() as stack:
        for _ in range(12):
            greedy = await stack.enter_async_context(line(narrow, "127.0.0.2"))
            await greedy.say(head + b" " * 100_000)
        await until(lambda: reached(narrow, "slow_peers") >= 6)
        await narrow.ask("POST", f"{NEWS}/messages", 201, json={"content": LARGE, "sender": "ana"})


async def test_dead_letters_are_cut_at_a_mebibyte_and_go_on(door: Door) -> None:
    async with door.node.store.pool.connection() as db:
        await db.execute(
            "INSERT INTO recado.dead_letters (bridge, topic, topic_id, seq, sender, content, reason)"
            " SELECT 'intake', 'news', 0, n, 'ana', to_json(repeat('y', 60000)), 'test' FROM generate_series(1, 40) n"
        )
    seen: list[int] = []
    path = "/api/v1/dead-letters?bridge=intake&limit=500&after="
    while page := await door.ask("GET", f"{path}{seen[-1] if seen else 0}"):
        assert len(json.dumps(page)) < 1.2 * 1024 * 1024
        seen += [letter["id"] for letter in page]
    assert len(seen) == 40


# --- requests of a user ----------------------------------------------------------------------------


async def test_a_user_has_so_many_requests_under_way_and_others_as_many(open_door: Opener) -> None:
    """Streams, which last, are among them; a backend has no such limit."""
    door = await open_door(max_connections_per_user=2)
    await news(door, "omar")
    ana, omar = await door.token("ana"), await door.token("omar")
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(listening(door, token=ana))
        for path in (f"{NEWS}/stream", NEWS):
            async with door.send("GET", path, token=ana) as response:
                assert (response.status, response.headers["Retry-After"]) == (429, "1")
                assert (await response.json())["code"] == "rate_limited"
        assert reached(door, "max_connections_per_user") == 2
        await stack.enter_async_context(listening(door, token=omar))
        for _ in range(3):
            await stack.enter_async_context(listening(door))
    assert not door.node.under_way._counts or await gone(door)
    await door.ask("GET", NEWS, token=ana)


async def gone(door: Door) -> bool:
    """Who left a stream is noticed when something is said on it."""
    async with asyncio.timeout(30):
        while door.node.under_way._counts:
            await door.ask("POST", f"{NEWS}/messages", 201, json={"content": 1, "sender": "ana"})
            await asyncio.sleep(0.02)
    return True


async def test_a_platform_asks_for_its_news_so_often_at_a_time(open_door: Opener) -> None:
    door = await open_door(max_connections_per_user=2)
    one, other = [(await door.node.registry.register(name, "pull", None)).token for name in ("one", "other")]
    waiting = [asyncio.ensure_future(door.ask("GET", "/events?wait=30", token=one)) for _ in range(2)]
    await until(lambda: len(door.node.pulling._waiting) == 2)
    assert (await door.ask("GET", "/events?wait=30", 429, token=one))["code"] == "rate_limited"
    assert (await door.ask("GET", "/events?wait=0", token=other))["events"] == []
    door.node.pulling.close()
    await asyncio.gather(*waiting)
    await door.ask("GET", "/events?wait=0", token=one)
