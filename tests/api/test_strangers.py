"""Who has shown nothing valid, at both doors: counted by address, and in nobody's way who has."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from yarl import URL

from messaging.limits import strangers
from support.counted import reached
from support.doors import KEY, Opener
from support.waiting import until
from support.ws import running

V1 = "/api/v1"
ONE: dict[str, Any] = {"auth_mode": "key", "api_key": KEY, "rate_strangers": 0.05}  # bursts of one
ABROAD, OURS = {"Origin": "https://evil.example"}, "https://shop.example"


@pytest.mark.parametrize(
    ("method", "path", "status", "options"),
    [
        ("GET", "/", 200, {}), ("GET", f"{V1}/about", 200, {}), ("GET", "/nowhere", 404, {}),
        ("PATCH", "/healthz", 405, {}),
        ("GET", f"{V1}/topics/a", 401, {}), ("GET", f"{V1}/topics/a", 401, {"token": "wrong"}),
        ("GET", f"{V1}/about", 403, {"headers": ABROAD}),
        ("GET", "/metrics", 401, {"token": "wrong"}), ("GET", "/users", 401, {"token": "wrong"}),
        ("GET", f"{V1}/about", 417, {"headers": {"Expect": "more"}}), ("GET", "/ping?token=wrong", 401, {}),
        ("POST", f"{V1}/login", 401, {"json": {"ticket": "t.wrong"}}),
        ("POST", f"{V1}/login", 400, {"json": {}}), ("POST", "/room", 400, {"json": {}}),
        ("OPTIONS", f"{V1}/about", 204, {"headers": {"Origin": OURS, "Access-Control-Request-Method": "GET"}}),
    ],
)  # fmt: skip
async def test_each_request_that_shows_nothing_valid_counts(
    open_door: Opener, method: str, path: str, status: int, options: dict[str, Any]
) -> None:
    door = await open_door(**ONE, allowed_origins=(OURS,))
    ana, platform = await door.token("ana"), await door.node.registry.register("Shop", "pull", None)
    ticket = await door.node.tickets.issue(await door.tokens.verify(ana))
    await door.ask(method, path, status, **options)
    async with door.send(method, path, **options) as refused:
        assert (429, "1") == (refused.status, refused.headers["Retry-After"])
        assert "RATE_STRANGERS" in (await refused.json())["message"]
    assert 1 == reached(door, "rate_strangers")
    topic = f"{V1}/topics/general"
    known = (
        (KEY, topic),
        (KEY, f"{V1}/about"),
        (ana, topic),
        (platform.token, "/users"),
        ("", "/healthz"),
        ("", "/readyz"),
    )
    for token, asked in known:
        await door.ask("GET", asked, token=token)
    await door.ask("GET", f"{V1}/about", headers={"Authorization": f"bearer {KEY}"})
    await door.ask("POST", f"{V1}/login", json={"ticket": ticket})
    assert 1 == reached(door, "rate_strangers")


async def test_whoever_is_inside_in_open_mode_is_no_stranger(open_door: Opener) -> None:
    door = await open_door(rate_strangers=0.05)
    for _ in range(5):
        await door.ask("GET", f"{V1}/about")


async def test_of_who_went_before_it_was_refused_nothing_stays(
    open_door: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strangers, "REFUSED_WITHIN", 3600.0)
    door = await open_door(**ONE)
    at_rest = len(asyncio.all_tasks())
    for _ in range(10):  # this token is asked for in the database, and they do not wait for the answer
        _, writer = await asyncio.open_connection("127.0.0.1", URL(door.url).port)
        writer.write(b"GET /users HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer wrong\r\n\r\n")
        writer.transport.abort()
    await until(lambda: reached(door, "rate_strangers") >= 8)
    await until(lambda: len(asyncio.all_tasks()) <= at_rest)


async def test_so_do_handshakes(database: str) -> None:
    async with running(database, rate_strangers=0.05) as recado:
        ticket = await recado.node.tickets.issue(await recado.tokens.verify(recado.token("ana")))
        for token, status in (("wrong", 401), ("t.wrong", 429)):
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"{recado.url}/{token}", proxy=None)
            assert status == refused.value.response.status_code
        assert "1" == refused.value.response.headers["Retry-After"]
        assert 1 == reached(recado, "rate_strangers")
        async with aiohttp.ClientSession() as http:  # a probe is not refused for them
            for _ in range(3):
                async with http.get(f"{recado.url.replace('ws', 'http', 1)}/healthz") as alive:
                    assert 200 == alive.status
        for token in (recado.token("ana"), ticket):
            async with connect(f"{recado.url}/{token}", proxy=None):
                pass


async def test_a_stop_waits_for_no_handshake_that_waits_to_be_refused(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strangers, "REFUSED_WITHIN", 3600.0)
    async with running(database, rate_strangers=0.05) as recado:
        held = [asyncio.ensure_future(connect(f"{recado.url}/wrong", proxy=None)) for _ in range(3)]
        await until(lambda: reached(recado, "rate_strangers") == 2)
        async with asyncio.timeout(5):
            await recado.door.drain()
        assert 3 == len(await asyncio.gather(*held, return_exceptions=True))
