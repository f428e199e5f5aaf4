"""Work is at most linear in the bytes that came: of each route and each frame, asked at the doors by their bytes."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from asking import WebSocket, frame, http, request
from growth import MOST, TIMES, growth_beside
from inputs import TEXTS, Make, Text, as_bytes, documents

from api.endpoint import ENVELOPE
from api.route import Route
from api.routes import all_routes
from messaging.frames import AnyCommand
from support import ws as ws_support
from support.doors import KEY, Door, running

LINE = 8000  # bytes of a target or a header that a door lets in
PARTS = 4  # of the routes, each a test, that they are spread over the processes
ENOUGH = 130_000  # bytes of a body, where a door lets in more
FRAME = 64 * 1024
TEXTS_OF_LINES = [f"{run!r} again and again" for run in ("1", "a/", "%2F", ";", "=&")]

ROUTES = {f"{route.method} {route.path}": route for route in all_routes()}
COMMANDS: dict[str, type[msgspec.Struct]] = {kind.__struct_config__.tag: kind for kind in AnyCommand.__args__}


async def grown(name: str, ask: Callable[[bytes], object], make: Make, most: int) -> list[str]:
    times = await growth_beside(lambda data: asyncio.to_thread(ask, data), make(most // TIMES), make(most))
    return [f"{name}: {times:.0f} times the work for {TIMES} times the bytes"] if times > MOST else []


# --- routes ----------------------------------------------------------------------------------------


@pytest.fixture
async def door(database: str) -> AsyncIterator[Door]:
    async with running(database, auth_mode="key", api_key=KEY) as opened:
        await opened.node.registry.register("GWT_CHAT", "pull", None)
        await opened.node.actions.know("ana")
        yield opened


def fields_of(kind: Any) -> list[str]:
    return [each.encode_name for each in msgspec.structs.fields(kind)] if isinstance(kind, type) else []


def targets(route: Route) -> Iterator[tuple[str, Callable[[str], str]]]:
    """Where in a route's address a text may stand."""
    for part in route.path.split("/"):
        if part.startswith("{"):
            yield part, partial(_in_path, route, part)
    for name in fields_of(route.query):
        yield f"?{name}", partial(_in_query, route, name)


def _in_path(route: Route, part: str, text: str) -> str:
    return route.path.replace(part, quote(text, safe="%=&;"))


def _in_query(route: Route, name: str, text: str) -> str:
    return f"{_plain(route)}?{name}={quote(text, safe='%=&;')}"


def _plain(route: Route) -> str:
    return "/".join("1" if part.startswith("{") else part for part in route.path.split("/"))


@pytest.mark.parametrize("part", range(PARTS))
async def test_each_route_works_no_more_than_its_input_is_long(door: Door, part: int) -> None:
    mine = list(ROUTES.items())[part::PARTS]
    assert [f"{name}, {each}" for name, route in mine for each in await grown_at(door, route)] == []


async def grown_at(door: Door, route: Route) -> list[str]:
    """The inputs for which a route's work grows too fast."""
    port = door.settings.api_port
    headers: dict[str, Any] = {"Authorization": f"Bearer {KEY}"}
    found: list[str] = []
    for where, target in targets(route):
        for attack in TEXTS_OF_LINES:

            def ask(data: bytes, target: Callable[[str], str] = target) -> object:
                return http(port, request(route.method, target(data.decode())[:LINE], **headers))

            found += await grown(f"{where}: {attack}", ask, as_bytes(TEXTS[attack]), LINE)
    for header in route.headers:
        for attack in TEXTS_OF_LINES[:2]:

            def ask_with(data: bytes, header: str = header) -> object:
                return http(port, request(route.method, _plain(route), **headers | {header: data.decode()}))

            found += await grown(f"{header}: {attack}", ask_with, as_bytes(TEXTS[attack]), LINE)
    if route.body is not None:
        assert route.example is not None, "an example says where its dear parts may stand"
        more = [each for each in fields_of(route.body) if each not in route.example]

        def post(data: bytes) -> object:
            return http(port, request(route.method, _plain(route), data, **headers), [data])

        most = min(ENOUGH, (route.body_limit or door.settings.max_frame + ENVELOPE) - ENVELOPE)
        for attack, make in documents(route.example, more):
            found += await grown(attack, post, make, most)
    return found


async def test_a_body_in_small_chunks_is_read_in_linear_time(door: Door) -> None:
    def chunked(data: bytes) -> object:
        head = request(
            "PUT", "/api/v1/messages", Authorization=f"Bearer {KEY}", Content_Type="application/json",
            Transfer_Encoding="chunked",
        )  # fmt: skip
        return http(door.settings.api_port, head, [b"1\r\n \r\n" * len(data), b"0\r\n\r\n"])

    assert await grown("chunks", chunked, lambda size: b" " * size, 256 * 1024) == []


HEADERS = ["Authorization", "Content-Type", "Origin", "Host", "Accept", "Cookie", "X-Forwarded-For"]


async def test_each_header_is_read_in_linear_time(door: Door) -> None:
    found = []
    for header, (attack, text) in itertools.product(HEADERS, TEXTS.items()):

        def ask(data: bytes, header: str = header) -> object:
            given = {"Authorization": f"Bearer {KEY}", header: data.decode().strip()}
            return http(door.settings.api_port, request("POST", "/messages", b"{}", **given), [b"{}"])

        name = f"{header}: {attack}"
        found += await grown(name, ask, as_bytes(text), LINE)
    assert found == []


# --- the WebSocket door ----------------------------------------------------------------------------


@pytest.fixture
async def people(database: str) -> AsyncIterator[ws_support.Running]:
    async with ws_support.running(database, rate_limit=10**9) as running:
        await running.topic("plans", "ana")
        yield running


def port_of(people: ws_support.Running) -> int:
    return int(people.url.rpartition(":")[2])


def example_of(kind: type[msgspec.Struct]) -> dict[str, Any]:
    values = {"topic_name": "plans", "content": {"a": [1]}, "username": "ana", "seq": 1}
    required = [each.encode_name for each in msgspec.structs.fields(kind) if each.required]
    return {"action": kind.__struct_config__.tag, **{name: values[name] for name in required}}


@pytest.mark.parametrize("action", COMMANDS)
async def test_each_frame_costs_no_more_than_it_is_long(people: ws_support.Running, action: str) -> None:
    kind = COMMANDS[action]
    lines: list[WebSocket] = []

    def ask(data: bytes) -> None:
        if not lines:
            lines.append(WebSocket(port_of(people), f"/{people.token('ana')}?ack=explicit"))
            assert lines[0].status == 101
        if not lines[0].ask([frame(1, data)]):
            lines.pop().close()

    found = []
    example = example_of(kind)
    for attack, make in documents(example, [name for name in fields_of(kind) if name not in example]):
        found += await grown(f"{action}, {attack}", ask, make, FRAME - 256)
    for line in lines:
        line.close()
    assert found == []


BEGIN = frame(1, b"", fin=False)
PIECES: dict[str, Callable[[bytes], list[bytes]]] = {
    "fragments of a byte": lambda data: [BEGIN, frame(0, b" ", fin=False) * len(data), frame(0, b"{}")],
    "empty fragments": lambda data: [BEGIN, frame(0, b"", fin=False) * len(data), frame(0, b"{}")],
    "pings": lambda data: [frame(9, b"x") * len(data)],
    "pongs": lambda data: [frame(10, b"12345678") * len(data)],
    "small frames": lambda data: [frame(1, b"{}") * len(data)],
    "a frame in small segments": lambda data: [frame(1, data)[at : at + 8] for at in range(0, len(data) + 8, 8)],
}


async def test_a_stream_of_pieces_costs_no_more_than_it_is_long(people: ws_support.Running) -> None:
    found = []
    for name, pieces in PIECES.items():

        def ask(data: bytes, pieces: Callable[[bytes], list[bytes]] = pieces) -> None:
            line = WebSocket(port_of(people), f"/{people.token('ana')}?ack=explicit")
            assert line.status == 101
            line.ask(pieces(data))
            line.close()

        found += await grown(name, ask, lambda size: b" " * size, FRAME // 4)
    assert found == []


HANDSHAKES: dict[str, Callable[[str], tuple[str, str]]] = {
    "token": lambda text: (f"/{quote(text)}", ""),
    "query": lambda text: (f"/x?{quote(text, safe='=&;')}", ""),
    "device": lambda text: (f"/x?device={quote(text)}", ""),
    "Authorization": lambda text: ("/", f"Authorization: Bearer {text.strip()}\r\n"),
    "Origin": lambda text: ("/x", f"Origin: {text.strip()}\r\n"),
    "X-Forwarded-For": lambda text: ("/x", f"X-Forwarded-For: {text.strip()}\r\n"),
    "Sec-WebSocket-Protocol": lambda text: ("/", f"Sec-WebSocket-Protocol: bearer, {text.strip()}\r\n"),
    "Sec-WebSocket-Extensions": lambda text: ("/x", f"Sec-WebSocket-Extensions: {text.strip()}\r\n"),
}


def _half(text: Text, size: int) -> bytes:
    return text(size // 2).encode()


async def test_a_handshake_costs_no_more_than_it_is_long(people: ws_support.Running) -> None:
    found = []
    for part, (attack, text) in itertools.product(HANDSHAKES, TEXTS.items()):

        def ask(data: bytes, part: str = part) -> None:
            try:
                target, headers = HANDSHAKES[part](data.decode())
                WebSocket(port_of(people), target[:LINE], headers).close()
            except (OSError, IndexError):  # it hung up without a word
                return

        name = f"{part}: {attack}"
        found += await grown(name, ask, partial(_half, text), LINE)
    assert found == []


# --- the harness itself ----------------------------------------------------------------------------


async def test_a_quadratic_route_is_caught(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    from api.routes.legacy import pydantic_compat

    monkeypatch.setattr(pydantic_compat, "_NUMBER", re.compile(r"\d+\.?\d*x\Z"))
    route = ROUTES["POST /publish/{shop_id}"]

    def post(data: bytes) -> object:
        target = "/publish/" + route.example["shop_id"]
        return http(door.settings.api_port, request("POST", target, data, Authorization=f"Bearer {KEY}"), [data])

    def make(size: int) -> bytes:
        return json.dumps(route.example | {"product_price": "1" * size}).encode()

    assert await grown("planted", post, make, 8_000)
