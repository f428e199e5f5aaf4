"""Each route of the route table, asked by everybody, in every way to come: what docs/permissions.md decides."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiohttp
import pytest
from cases import ANOTHERS, FILES, ROWS, STANDINGS, Ask, make_case, state, uses_topic, uses_user
from page import check

from api.route import Route
from messaging.auth.access import WrongCredentials
from support.doors import KEY, Door, running

METER = "a token for the counters alone"
REFUSED = ("401", "403", "421")
PROXY = {"X-Forwarded-For": "192.0.2.1"}
FOREIGN = {"Origin": "https://evil.example"}


@dataclass
class House:
    """One database behind four doors, each with another rule of who may ask."""

    locked: Door
    legacy: Door
    opened: Door
    outer: Door
    old: aiohttp.ClientSession  # speaks HTTP/1.0
    platform: str  # its token

    def token(self, claim: Any = None) -> str:
        """One of ana's."""
        return self.locked.tokens.issue("ana", payload={"topics": claim} if claim else None)[0]


@pytest.fixture
async def house(database: str) -> AsyncIterator[House]:
    key: dict[str, Any] = {"api_key": KEY, "metrics_token": METER}
    nets = (ipaddress.ip_network("127.0.0.0/8"),)
    async with AsyncExitStack() as stack:
        doors = [
            await stack.enter_async_context(
                running(database, WrongCredentials(lambda _: None, most=10_000), **key, **given)
            )
            for given in ({"auth_mode": "key"}, {"auth_mode": "key", "legacy_nets": nets}, {}, {"open_nets": ()})
        ]
        old = await stack.enter_async_context(aiohttp.ClientSession(version=aiohttp.HttpVersion10))
        for user in ("ana", "bob", "eve"):
            await doors[0].node.actions.know(user)
        platform = await doors[0].node.registry.register("Fourth", "pull", None)
        yield House(doors[0], doors[1], doors[2], doors[3], old, platform.token)


async def said(house: House, door: Door, route: Route, ask: Ask, *, token: str = "", old: bool = False,
               headers: dict[str, str] | None = None, **case: Any) -> tuple[int, str, str]:  # fmt: skip
    """What is answered: the status, the type, and, where that ends by itself, the text, without the topic's name."""
    topic, target, body = await make_case(house.locked, route, ask, token=house.platform, **case)
    given = {**(ask.headers or {}), **(headers or {}), **({"Authorization": f"Bearer {token}"} if token else {})}
    http = house.old if old else door.http
    watched = "standing" in case and token != KEY  # a backend makes users known, whatever comes then
    before = await state(door) if watched else None
    async with http.request(route.method, door.url + target, headers=given, allow_redirects=False, **body) as response:
        goes_on = response.content_type == "text/event-stream"
        text = "" if goes_on else (await response.text()).replace(topic, "TOPIC")
        assert not watched or response.status < 400 or before == await state(door), "a refusal changes nothing"
        return response.status, response.content_type, text


async def answer(house: House, door: Door, route: Route, ask: Ask, **how: Any) -> str:
    """The status, with its code where there is one."""
    status, kind, text = await said(house, door, route, ask, **how)
    found = json.loads(text) if kind == "application/json" and text else None
    inner = found[0] if isinstance(found, list) and found else found
    code = inner.get("code") if isinstance(inner, dict) else None
    return f"{status} {code}" if code else str(status)


async def test_each_route_by_who_asks(house: House) -> None:
    user, narrowed = house.token(), house.token({"read": ["other"], "write": ["other"]})
    table: dict[str, dict[str, str]] = {}
    for name, route, ask in ROWS:
        by = partial(answer, house, house.locked, route, ask)
        table[name] = {
            "nobody": await by(),
            "a user": await by(token=user),
            "… of another's": await by(token=user, who="bob", standing=ANOTHERS)
            if uses_topic(route, ask) or uses_user(route, ask) else "–",
            "… by a narrowed token": await by(token=narrowed),
            "… by one that grants all": await by(token=house.token({"read": ["*"], "write": ["*"]})),
            "a platform": await by(token=house.platform),
            "a backend": await by(token=KEY),
        }  # fmt: skip
    check("callers", "route", table)


async def test_each_route_by_how_one_stands_to_its_topic(house: House) -> None:
    table: dict[str, dict[str, str]] = {}
    for name, route, ask in ROWS:
        if uses_topic(route, ask) or ask.note == "a new one":
            by = partial(answer, house, house.locked, route, ask)
            table[name] = {
                how: await by(token=house.token(standing.claim), standing=standing)
                for how, standing in STANDINGS.items()
            }
            table[name]["a backend, an inbox"] = await by(token=KEY, standing=STANDINGS["its inbox"])
    check("standings", "route", table)


async def test_each_route_by_how_one_comes(house: House) -> None:
    """Whether one is let in; routes that are all the same stand in one row."""
    locked, legacy, opened = house.locked, house.legacy, house.opened
    ways: dict[str, tuple[Door, dict[str, Any]]] = {
        "the key, through a proxy": (locked, {"token": KEY, "headers": PROXY}),
        "the key, by a page of another origin": (locked, {"token": KEY, "headers": FOREIGN}),
        "`METRICS_TOKEN`": (locked, {"token": METER}),
        "`LEGACY_NETS`": (legacy, {}),
        "…, through a proxy": (legacy, {"headers": PROXY}),
        "…, over HTTP/1.0": (legacy, {"old": True}),
        "open mode": (opened, {}),
        "… through a proxy": (opened, {"headers": PROXY}),
        "… over HTTP/1.0": (opened, {"old": True}),
        "… by another `Host`": (opened, {"headers": {"Host": "recado.example"}}),
        "… by a page of another origin": (opened, {"headers": FOREIGN}),
        "… from elsewhere": (house.outer, {}),
    }
    alike: dict[tuple[str, ...], dict[str, None]] = {}
    for name, route, ask in ROWS + FILES:
        answers = [(await answer(house, door, route, ask, **how))[:3] for door, how in ways.values()]
        alike.setdefault(tuple(each if each in REFUSED else "yes" for each in answers), {})[name] = None
    check("ways", "routes", {", ".join(names): dict(zip(ways, cells, strict=True)) for cells, names in alike.items()})


async def test_a_private_topic_of_anothers_is_answered_as_one_that_is_not_there(house: House) -> None:
    """To the byte; but that its name is taken shows where one makes a topic."""
    for name, route, ask in ROWS:
        if uses_topic(route, ask) and not name.startswith("`PUT /api/v1/topics/{topic}`"):
            by = partial(said, house, house.locked, route, ask, token=house.token(), who="bob", standing=ANOTHERS)
            assert await by() == await by(exists=False), name
