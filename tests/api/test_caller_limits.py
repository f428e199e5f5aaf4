"""How much a user's token may ask for by REST; a backend has no limit."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from yarl import URL

from api import app, auth
from messaging.limits.turns import MAX_IN_TURN
from support.counted import reached
from support.doors import KEY, Opener
from support.ws import running

V1 = "/api/v1"
POST = f"{V1}/topics/plaza/messages"


async def test_a_caller_above_its_rate_is_told_so_and_others_are_not(open_door: Opener) -> None:
    door = await open_door(auth_mode="key", api_key=KEY, rate_limit=0.5)  # bursts of one
    ana, eva = await door.token("ana"), await door.token("eva")
    await door.ask("GET", f"{V1}/topics/general", token=ana)
    async with door.send("GET", f"{V1}/topics/general", token=ana) as refused:
        assert (429, "1") == (refused.status, refused.headers["Retry-After"])
        assert "rate_limited" == (await refused.json())["code"]
    await door.ask("GET", f"{V1}/topics/general", token=eva)
    for _ in range(5):
        await door.ask("GET", f"{V1}/topics/general", token=KEY)
    assert 1 == reached(door, "rate_limit")


async def test_the_bytes_of_a_caller_count_whatever_becomes_of_them(open_door: Opener) -> None:
    door = await open_door(auth_mode="key", api_key=KEY, rate_bytes=2**14)  # bursts of 128 KiB
    ana = await door.token("ana")
    await door.ask("PUT", f"{V1}/topics/plaza", 201, token=ana, json={"kind": "public"})
    for _ in range(3):
        await door.ask("POST", POST, 201, token=ana, json={"content": "y" * 50_000})
    assert "rate_limited" == (await door.ask("POST", POST, 429, token=ana, json={"content": 1}))["code"]
    await door.ask("GET", f"{V1}/topics/plaza", token=ana)  # nothing comes in by that
    await door.ask("POST", POST, 201, token=KEY, json={"content": 1})
    assert 1 == reached(door, "rate_bytes")


async def test_a_body_without_a_length_counts_too(open_door: Opener) -> None:
    door = await open_door(auth_mode="key", api_key=KEY, rate_bytes=2**14)
    ana = await door.token("ana")
    await door.ask("PUT", f"{V1}/topics/plaza", 201, token=ana, json={"kind": "public"})

    async def pieces() -> Any:
        yield b'{"content":"'
        yield b"y" * 50_000
        yield b'"}'

    headers = {"Content-Type": "application/json"}
    for _ in range(3):
        await door.ask("POST", POST, 201, token=ana, data=pieces(), headers=headers)
    await door.ask("POST", POST, 429, token=ana, data=pieces(), headers=headers)


async def test_a_body_that_is_only_announced_costs_no_more_than_one_may_have(open_door: Opener) -> None:
    door = await open_door(auth_mode="key", api_key=KEY, rate_bytes=2**14)
    ana = await door.token("ana")
    await door.ask("PUT", f"{V1}/topics/plaza", 201, token=ana, json={"kind": "public"})
    await door.ask("POST", POST, 413, token=ana, json={"content": "y" * 10**6})
    await door.ask("POST", POST, 201, token=ana, json={"content": 1})


async def test_a_limit_that_is_reached_is_409_and_says_which(open_door: Opener) -> None:
    door = await open_door(auth_mode="key", api_key=KEY, max_topics_per_user=1, max_memberships_per_user=1, invites=1)
    ana, _, _ = await door.token("ana"), await door.token("eva"), await door.token("omar")
    for name in ("a", "b"):
        await door.ask("PUT", f"{V1}/topics/{name}", 201, token=KEY, json={"owner": "omar"})
    await door.ask("PUT", f"{V1}/topics/own", 201, token=ana, json={})
    more: list[tuple[str, str, Any]] = [
        ("PUT", f"{V1}/topics/more", {}),
        ("POST", f"{V1}/topics", {"topic_name": "more", "user": "ana", "is_private": False}),
    ]
    for method, path, body in more:
        refused = await door.ask(method, path, 409, token=ana, json=body)
        assert "limit_reached" == refused["code"] and "MAX_TOPICS_PER_USER" in refused["message"]
    await door.ask("PUT", f"{V1}/topics/a/members/ana", 201, token=ana)
    for method, path, body in (
        ("PUT", f"{V1}/topics/b/members/ana", None),
        ("PUT", f"{V1}/topics", {"topic_name": "b", "user": "ana"}),
    ):
        refused = await door.ask(method, path, 409, token=ana, json=body)
        assert "limit_reached" == refused["code"] and "MAX_MEMBERSHIPS_PER_USER" in refused["message"]
    await door.ask("PUT", f"{V1}/topics/own/members/eva", 201, token=ana)
    refused = await door.ask("PUT", f"{V1}/topics/own/members/omar", 429, token=ana)
    assert "rate_limited" == refused["code"] and "INVITES" in refused["message"]
    await door.ask("PUT", f"{V1}/topics/own/members/omar", 201, token=KEY)


async def test_each_message_of_a_batch_counts(open_door: Opener) -> None:
    door = await open_door(auth_mode="key", api_key=KEY, rate_limit=2.0)  # bursts of four
    ana = await door.token("ana")
    items = [{"topic_name": f"nowhere{number}", "content": 1} for number in range(60)]
    results = await door.ask("POST", f"{V1}/messages/batch", token=ana, json=items)
    assert {"unknown_topic"} == {result["code"] for result in results}
    assert "rate_limited" == (await door.ask("POST", f"{V1}/messages/batch", 429, token=ana, json=items))["code"]
    await door.ask("POST", f"{V1}/messages/batch", token=KEY, json=items)
    assert 1 == reached(door, "rate_limit")


@pytest.mark.parametrize("place", [25, 60])
async def test_a_batch_ends_with_its_token(open_door: Opener, monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    """Also where it is the last name that took so long; nothing of it is stored."""
    door = await open_door(auth_mode="key", api_key=KEY)
    ana, asked = await door.token("ana"), 0
    await door.ask("PUT", f"{V1}/topics/plaza", 201, token=ana, json={"kind": "public"})
    aim = door.node.actions.aim

    async def aiming(caller: Any, name: str) -> Any:
        nonlocal asked
        asked += 1
        if asked == place:
            await door.ask("POST", f"{V1}/tokens/revoke", token=KEY, json={"user": "ana"})
        return await aim(caller, name)

    monkeypatch.setattr(door.node.actions, "aim", aiming)
    items = [{"topic_name": "plaza", "content": 1}]
    items += [{"topic_name": f"nowhere{number}", "content": 1} for number in range(59)]
    await door.ask("POST", f"{V1}/messages/batch", 401, token=ana, json=items)
    assert asked < place + 20
    assert (await door.ask("GET", f"{V1}/topics/plaza/messages", token=KEY))["messages"] == []


async def test_wrong_tokens_beyond_ten_a_second_are_counted_on_both_doors(open_door: Opener, database: str) -> None:
    door = await open_door(auth_mode="key", api_key=KEY)
    async with asyncio.timeout(20), running(database) as recado:
        for number, path in enumerate(("/metrics", "/platforms", f"{V1}/topics/general")):
            while reached(door, "wrong_credentials") <= number:
                async with door.send("GET", path, token="wrong") as response:
                    assert response.status in (401, 429)
            await door.ask("GET", path, 401)  # who shows nothing is not counted
            await door.ask("GET", path, token=KEY)
        while not reached(recado, "wrong_credentials"):
            async with door.http.get(f"{recado.url.replace('ws', 'http', 1)}/wrong") as response:
                assert response.status in (401, 426, 429)
        async with recado.client("ana"):
            pass  # a right one is never refused


async def test_of_requests_that_come_at_once_a_few_begin_in_each_turn_of_the_loop(
    open_door: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whosever they are: a backend's here."""
    door, turn = await open_door(auth_mode="key", api_key=KEY), 0
    begun: Counter[int] = Counter()

    def next_turn() -> None:
        nonlocal turn
        turn += 1
        ticking[0] = loop.call_soon(next_turn)

    def counted(*arguments: Any, **named: Any) -> Any:
        begun[turn] += 1
        return decide(*arguments, **named)

    decide, loop = auth.decide, asyncio.get_running_loop()
    monkeypatch.setattr(app, "decide", counted)
    ask = f"GET /api/v1/about HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode()
    lines = [await asyncio.open_connection("127.0.0.1", URL(door.url).port) for _ in range(40)]
    ticking = [loop.call_soon(next_turn)]
    for _, writer in lines:
        writer.write(ask)
    for reader, writer in lines:
        assert b"200" in await reader.readline()
        writer.close()
    ticking[0].cancel()
    assert 40 == begun.total() and max(begun.values()) <= MAX_IN_TURN
