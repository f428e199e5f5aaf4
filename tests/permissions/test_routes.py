"""Each route of the route table, asked by everybody, in every way to come: what docs/permissions.md decides."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiohttp
import pytest
from cases import ROUTES, Ask, asks_of, filled, make_case, target_of, uses_topic, uses_user
from doors import KEY, Door, running
from page import check

from api.route import Route
from messaging.access import WrongCredentials

pytest_plugins = ["doors"]

METER = "a token for the counters alone"
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
REFUSED = ("401", "403", "421")
PROXY = {"X-Forwarded-For": "192.0.2.1"}


@dataclass
class House:
    """One database behind three doors, each with another rule of who may ask."""

    locked: Door
    legacy: Door
    opened: Door
    old: aiohttp.ClientSession  # speaks HTTP/1.0
    tokens: dict[str, str]


@pytest.fixture
async def house(database: str) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        key = {"auth_mode": "key", "api_key": KEY, "metrics_token": METER}
        doors = [
            await stack.enter_async_context(running(database, WrongCredentials(lambda _: None, most=10_000), **given))
            for given in (key, {**key, "legacy_nets": LOOPBACK}, {"api_key": KEY, "metrics_token": METER})
        ]
        old = await stack.enter_async_context(aiohttp.ClientSession(version=aiohttp.HttpVersion10))
        locked = doors[0]
        for user in ("ana", "bob"):
            await locked.node.actions.know(user)
        platform = await locked.node.registry.register("Fourth", "pull", None)
        narrow = locked.tokens.issue("ana", payload={"topics": {"read": ["other"], "write": ["other"]}})[0]
        tokens = {"user": await locked.token("ana"), "narrowed": narrow, "platform": platform.token}
        yield House(*doors, old, tokens)


async def said(house: House, door: Door, route: Route, ask: Ask, *, token: str = "", old: bool = False,
               headers: dict[str, str] | None = None, **case: Any) -> tuple[int, str, str]:  # fmt: skip
    """What is answered: the status, the type, and, where that ends by itself, the text, without the topic's name."""
    made = await make_case(house.locked, route, ask, token=house.tokens["platform"], **case)
    body = {} if ask.body is None else {"json": filled(ask.body, made)}
    given = {**(ask.headers or {}), **(headers or {}), **({"Authorization": f"Bearer {token}"} if token else {})}
    http, url = house.old if old else door.http, door.url + target_of(route, ask, made)
    async with http.request(route.method, url, headers=given, allow_redirects=False, **body) as response:
        goes_on = response.content_type == "text/event-stream"
        text = "" if goes_on else (await response.text()).replace(made.topic or "?", "TOPIC")
        return response.status, response.content_type, text


async def answer(house: House, door: Door, route: Route, ask: Ask, **how: Any) -> str:
    """The status, with its code where there is one."""
    status, kind, text = await said(house, door, route, ask, **how)
    found = json.loads(text) if kind == "application/json" and text else None
    inner = found[0] if isinstance(found, list) and found else found
    code = inner.get("code") if isinstance(inner, dict) else None
    return f"{status} {code}" if code else str(status)


def rows() -> list[tuple[str, Route, Ask]]:
    """Every route that is described; the files of the pages are asked for beside them."""
    return [
        (f"`{name}`" + (f" ({ask.note})" if ask.note else ""), route, ask)
        for name, route in ROUTES.items() if route.group
        for ask in asks_of(route)
    ]  # fmt: skip


async def test_each_route_by_who_asks(house: House) -> None:
    table: dict[str, dict[str, str]] = {}
    for name, route, ask in rows():
        by = partial(answer, house, house.locked, route, ask)
        topic, user, tokens = uses_topic(route, ask), uses_user(route, ask), house.tokens
        table[name] = {
            "nobody": await by(),
            "a user": await by(token=tokens["user"]),
            "… of another's": await by(token=tokens["user"], who="bob") if topic or user else "–",
            "… of a public topic": await by(token=tokens["user"], kind="public") if topic else "–",
            "… by a narrowed token": await by(token=tokens["narrowed"]),
            "a platform": await by(token=tokens["platform"]),
            "a backend": await by(token=KEY),
        }
    check("callers", "route", table)


async def test_each_route_by_how_one_comes(house: House) -> None:
    """Whether one is let in; routes that are all the same stand in one row."""
    locked, legacy, opened = house.locked, house.legacy, house.opened
    ways: dict[str, tuple[Door, dict[str, Any]]] = {
        "the key, through a proxy": (locked, {"token": KEY, "headers": PROXY}),
        "`METRICS_TOKEN`": (locked, {"token": METER}),
        "`LEGACY_NETS`": (legacy, {}),
        "…, through a proxy": (legacy, {"headers": PROXY}),
        "…, over HTTP/1.0": (legacy, {"old": True}),
        "open mode": (opened, {}),
        "… through a proxy": (opened, {"headers": PROXY}),
        "… over HTTP/1.0": (opened, {"old": True}),
        "… by another `Host`": (opened, {"headers": {"Host": "recado.example"}}),
    }
    alike: dict[tuple[str, ...], list[str]] = {}
    for name, route, ask in rows():
        answers = [(await answer(house, door, route, ask, **how))[:3] for door, how in ways.values()]
        alike.setdefault(tuple(each if each in REFUSED else "yes" for each in answers), []).append(name)
    check("ways", "routes", {", ".join(names): dict(zip(ways, cells, strict=True)) for cells, names in alike.items()})


async def test_a_private_topic_of_anothers_is_answered_as_one_that_is_not_there(house: House) -> None:
    """To the byte; but that its name is taken shows where one makes a topic."""
    for name, route, ask in rows():
        if uses_topic(route, ask) and not name.startswith("`PUT /api/v1/topics/{topic}`"):
            by = partial(said, house, house.locked, route, ask, token=house.tokens["user"], who="bob")
            assert await by() == await by(exists=False), name


async def test_the_files_of_pages_are_for_everybody_but_in_open_mode_for_who_is_inside(house: House) -> None:
    for name, route in ROUTES.items():
        if not route.group:
            assert "200" == await answer(house, house.locked, route, Ask(), headers=PROXY), name
            assert "200" == await answer(house, house.opened, route, Ask()), name
            assert "403 forbidden" == await answer(house, house.opened, route, Ask(), headers=PROXY), name


async def test_wrong_keys_and_tokens_are_told_to_wait_and_right_ones_never(locked: Door) -> None:
    async def guess(path: str) -> int:
        async with locked.send("GET", path, token="guess") as response:
            return int(response.status)

    paths = ("/api/v1/users", "/platforms", "/metrics")
    statuses = await asyncio.gather(*(guess(path) for path in paths * 20))
    assert set(statuses) == {401, 429} and statuses.count(401) >= 10
    await locked.ask("GET", paths[0], token=KEY)
    await locked.ask("GET", paths[0], 401)
