"""ProntoGram's surface: what its backends send, what they get back, and what becomes of it."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from websockets.asyncio.client import connect

from api.routes.about import ws_url_for
from messaging.settings.settings import Settings
from support.doors import KEY, Door, Opener
from support.programs import post, recado
from support.waiting import until

V1 = "/api/v1"
OFFER = {"sender": "ACMESky", "receiver": "ana", "body": "Rome, 39 €"}


async def inbox(door: Door, user: str) -> list[dict[str, Any]]:
    found = await door.ask("GET", f"{V1}/messages?user={user}")
    return [{name: each[name] for name in ("topic_name", "content", "user_source")} for each in found["messages"]]


async def test_an_offer_waits_in_the_inbox_of_a_user_that_nobody_knew(door: Door) -> None:
    async with door.send("POST", "/messages", json={**OFFER, "send_time": "yesterday", "other": [1]}) as response:
        assert (response.status, await response.read()) == (200, b"")
    assert await inbox(door, "ana") == [{"topic_name": "ACMESky", "content": "Rome, 39 €", "user_source": "ACMESky"}]


async def test_an_offer_for_somebody_whose_name_is_not_within_the_rule(door: Door) -> None:
    """What does not fit is percent-encoded, for the receiver as for the sender."""
    await door.ask("POST", "/messages", json={**OFFER, "sender": "ACME Sky", "receiver": "Mario Rossi"})
    assert await inbox(door, "Mario%20Rossi") == [
        {"topic_name": "@Mario%20Rossi", "content": "Rome, 39 €", "user_source": "ACME%20Sky"}
    ]
    token = (await door.ask("GET", f"{V1}/gen_token?user=Mario%20Rossi"))["token"]
    assert (await door.tokens.verify(token)).user == "Mario%20Rossi"


@pytest.mark.parametrize("claim", [{}, {"topics": {"read": [], "write": []}}], ids=["plain", "narrowed"])
async def test_a_user_makes_nobody_known(locked: Door, claim: dict[str, Any]) -> None:
    """Else it would have names of topics stand in doubt, for their members and for who makes the next one."""
    ana = await locked.token("ana")
    await locked.ask("PUT", f"{V1}/topics/team", 201, token=ana, json={"kind": "private"})
    eva, _ = locked.tokens.issue("eva", payload=claim)
    offer = {**OFFER, "sender": "eva", "receiver": "team"}
    answer = await locked.ask("POST", "/messages", 403 if claim else 404, token=eva, json=offer)
    assert answer["code"] == ("forbidden" if claim else "unknown_user")
    await locked.ask("POST", f"{V1}/topics/team/messages", 201, token=ana, json={"content": "still here"})
    assert "team" not in [user["username"] for user in await locked.ask("GET", f"{V1}/users", token=KEY)]


async def test_it_is_stored_before_the_answer(door: Door) -> None:
    """By the time of the answer another connection to the database sees it."""
    for number in range(20):
        await door.ask("POST", "/messages", json={**OFFER, "receiver": f"user{number}"})
        async with door.node.store.pool.connection() as connection:
            content = await connection.fetchval(
                "SELECT content FROM recado.messages JOIN recado.topics AS t ON t.id = topic_id WHERE t.name = $1",
                f"@user{number}",
            )
        assert json.loads(content) == "Rome, 39 €"


WRONG: dict[str, dict[str, Any]] = {
    "no sender": {"receiver": "ana", "body": "x"},
    "no receiver": {"sender": "a", "body": "x"},
    "no body": {"sender": "a", "receiver": "ana"},
    "empty sender": {**OFFER, "sender": ""},
    "empty receiver": {**OFFER, "receiver": ""},
    "empty body": {**OFFER, "body": ""},
    "sender outside the rule": {**OFFER, "sender": "a//b"},
    "receiver that nothing could show": {**OFFER, "receiver": "ana\n"},
    "receiver that is too long once encoded": {**OFFER, "receiver": "é" * 22},
    "receiver outside the rule": {**OFFER, "receiver": "../ana"},
    "body that is no text": {**OFFER, "body": {"text": "x"}},
    "NUL": {**OFFER, "body": "a\0b"},
    "ttl of nothing": {**OFFER, "ttl": 0},
    "ttl that is no number": {**OFFER, "ttl": "60"},
    "ttl of more than a year": {**OFFER, "ttl": 31536001},
    "body over MAX_FRAME": {**OFFER, "body": "x" * 65536},
}


@pytest.mark.parametrize("name", WRONG)
async def test_what_is_wrong_leaves_nothing(door: Door, name: str) -> None:
    assert (await door.ask("POST", "/messages", 400, json=WRONG[name]))["code"] == "bad_request"
    assert await door.ask("GET", f"{V1}/users") == []


async def test_no_json_at_all(door: Door) -> None:
    headers = {"Content-Type": "application/json"}
    assert (await door.ask("POST", "/messages", 400, data=b"{", headers=headers))["code"] == "bad_json"


async def test_a_lifetime(door: Door) -> None:
    await door.ask("POST", "/messages", json={**OFFER, "ttl": 60})
    async with door.node.store.pool.connection() as connection:
        lifetime = await connection.fetchval("SELECT expires_at - sent_at FROM recado.messages")
    assert lifetime == timedelta(seconds=60)


async def test_the_same_offer_twice_is_two(door: Door) -> None:
    for _ in range(2):
        await door.ask("POST", "/messages", json=OFFER)
    assert len(await inbox(door, "ana")) == 2


async def test_what_was_seen_is_gone_from_the_database() -> None:
    async with recado() as server:
        assert 200 == post(f"{server.api}/messages", OFFER)
        async with connect(server.url_of("omar")) as other:  # who is not meant
            assert json.loads(await other.recv())["pending"] == 0
        post(f"{server.api}{V1}/users", {"user": "ana"})
        token = await asyncio.to_thread(token_of, server.api, "ana")
        async with connect(f"ws://127.0.0.1:{server.environ['WS_PORT']}/{token}") as ana:
            assert json.loads(await ana.recv())["pending"] == 1
            pushed = json.loads(await ana.recv())
            assert (pushed["content"], pushed["user_source"]) == (OFFER["body"], "ACMESky")
            await gone(server.data)


def token_of(api: str, user: str) -> str:
    with urllib.request.urlopen(f"{api}{V1}/gen_token?user={user}") as answer:
        return str(json.load(answer)["token"])


async def gone(data: Path) -> None:
    """Within ten seconds no message is left: nothing announces a purge, so the database is asked."""
    connection = await asyncpg.connect(host=str(data / "run"), port=5432, user="postgres", database="recado")
    try:
        await until(lambda: connection.fetchval("SELECT count(*) = 0 FROM recado.messages"))
    finally:
        await connection.close()


# --- what a page asks before anybody has logged in ----------------------------------------------------------------


async def test_where_the_websocket_is(open_door: Opener) -> None:
    door = await open_door(ws_port=7000)
    about = await door.ask("GET", f"{V1}/about")
    assert about == {"ws_url": "ws://127.0.0.1:7000", "auth_mode": "open", "version": "1"}
    asked = await door.ask("GET", f"{V1}/about", headers={"Host": "localhost:9"})
    assert asked["ws_url"] == "ws://localhost:7000"
    async with door.send("GET", "/", headers={"Host": "localhost:9"}) as response:
        assert "connect-src 'self' ws://localhost:7000;" in response.headers["Content-Security-Policy"]


async def test_key_mode_says_so_to_everybody(open_door: Opener) -> None:
    door = await open_door(auth_mode="key", api_key=KEY, public_ws_url="wss://ws.example.org/")
    about = await door.ask("GET", f"{V1}/about", headers={"Host": "recado.example.org"})
    assert (about["ws_url"], about["auth_mode"]) == ("wss://ws.example.org", "key")
    async with door.send("GET", "/") as response:
        assert "connect-src 'self' wss://ws.example.org;" in response.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("given", "host", "url"),
    [
        ({}, "127.0.0.1:5001", "ws://127.0.0.1:5000"),
        ({}, "LOCALHOST:5001", "ws://localhost:5000"),
        ({}, "[::1]:5001", "ws://[::1]:5000"),
        ({}, "", "ws://127.0.0.1:5000"),
        ({}, "evil.example; script-src *", "ws://127.0.0.1:5000"),
        ({}, "a b", "ws://127.0.0.1:5000"),
        ({"ws_host": "0.0.0.0", "api_host": "0.0.0.0"}, "10.0.0.7:5001", "ws://10.0.0.7:5000"),
        ({"ws_host": "10.0.0.8", "api_host": "10.0.0.8"}, "box:5001", "ws://box:5000"),
        ({"ws_host": "10.0.0.8"}, "127.0.0.1:5001", "ws://10.0.0.8:5000"),
        ({"public_ws_url": "wss://a.example"}, "127.0.0.1:5001", "wss://a.example"),
    ],
)
def test_the_address_of_the_websocket(given: dict[str, Any], host: str, url: str) -> None:
    assert ws_url_for(Settings(**given), host) == url
