"""Each frame that a client may send, and each way to ask the WebSocket's port: what docs/permissions.md decides."""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import json
from typing import Any

import aiohttp
import jwt
from page import check
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from messaging.tokens import Tokens
from ws_server.vocabulary import AnyCommand
from ws_support import SECRET, Running, running, send

KEY, METER = "the key of the tests' backend", "a token for the counters alone"
PROXY = {"X-Forwarded-For": "192.0.2.1"}
COMMANDS = [kind.__struct_config__.tag for kind in AnyCommand.__args__]
MORE: dict[str, dict[str, Any]] = {
    "message": {"content": 1}, "ack": {"seq": 1}, "seen": {"seq": 1}, "invite": {"username": "eve"}
}  # fmt: skip
_numbers = itertools.count(1)


async def told(link: ClientConnection, action: str, topic: str) -> str:
    """`ok`, a code, or `nothing` where a request behind this one was answered first."""
    n = str(next(_numbers))
    identity = {"id": n} if action == "message" else {}
    where = {} if action in ("topics", "disconnect") else {"topic_name": topic}
    await send(link, action=action, ref=n, **where, **identity, **MORE.get(action, {}))
    if action not in ("message", "disconnect"):
        await send(link, action="topics", ref=f"behind {n}")
    try:
        while True:
            frame = json.loads(await link.recv())
            if frame.get("ref") == n:
                return str(frame.get("code", "ok"))
            if frame.get("ref") == f"behind {n}":
                return "nothing"
    except ConnectionClosed as closed:
        assert closed.rcvd is not None
        return f"closed, {closed.rcvd.code}"


async def in_topic(recado: Running, action: str, kind: str, owner: str, *members: str, **claim: list[str]) -> str:
    """What ana is told."""
    topic = f"topic-{next(_numbers)}"
    await recado.topic(topic, owner, *members, kind=kind)
    await recado.node.actions.know("eve")
    token = recado.token("ana", **({"payload": {"topics": claim}} if claim else {}))
    async with connect(f"{recado.url}/{token}", proxy=None, ping_interval=None) as link:
        first = recado.token("bob")
        async with connect(f"{recado.url}/{first}", proxy=None, ping_interval=None) as bob:
            await told(bob, "message", topic)
        while claim.get("read", ["*"]) == ["*"] and "ana" in (owner, *members):
            frame = json.loads(await link.recv())
            if frame.get("topic_name") == topic and frame["action"] == "message":
                break
        return await told(link, action, topic)


async def test_each_frame(database: str) -> None:
    table: dict[str, dict[str, str]] = {}
    async with running(database) as recado:
        for action in COMMANDS:
            table[f"`{action}`"] = {
                "a member": await in_topic(recado, action, "private", "bob", "ana"),
                "another's private topic": await in_topic(recado, action, "private", "bob"),
                "a public topic": await in_topic(recado, action, "public", "bob"),
                '`"read": []`, a member': await in_topic(recado, action, "private", "bob", "ana", read=[]),
                '`"write": []`, a member': await in_topic(recado, action, "private", "bob", "ana", write=[]),
            }
    check("frames", "frame", table)


async def handshake(recado: Running, token: str, **headers: str) -> str:
    try:
        async with connect(f"{recado.url}/{token}", proxy=None, additional_headers=headers):
            return "101"
    except InvalidStatus as refused:
        return f"{refused.response.status_code} {json.loads(refused.response.body or b'')['code']}"


async def test_each_way_to_connect(database: str) -> None:
    async with running(database, auth_mode="key", api_key=KEY, metrics_token=METER) as recado:
        token, revoked = recado.token("ana"), recado.token("ana")
        claims = await recado.tokens.verify(revoked)
        ticket = await recado.node.tickets.issue(await recado.tokens.verify(token))
        await recado.node.actions.revoke_token(claims.jti)
        platform = await recado.node.registry.register("Fourth", "pull", None)
        expired = jwt.encode({"sub": "ana", "exp": 1}, SECRET, "HS256")
        foreign = Tokens("another secret, of 32 bytes or more").issue("ana")[0]
        table = {
            "a token": await handshake(recado, token),
            "a token, through a proxy": await handshake(recado, token, **PROXY),
            "a ticket": await handshake(recado, ticket),
            "a ticket again": await handshake(recado, ticket),
            "a token that was revoked": await handshake(recado, revoked),
            "a token that has expired": await handshake(recado, expired),
            "a token of an unknown issuer": await handshake(recado, foreign),
            "nothing": await handshake(recado, ""),
            "the API key": await handshake(recado, "", Authorization=f"Bearer {KEY}"),
            "a platform's token": await handshake(recado, platform.token),
            "`METRICS_TOKEN`": await handshake(recado, "", Authorization=f"Bearer {METER}"),
            "a token, by a page of another origin": await handshake(recado, token, Origin="https://evil.example"),
        }
    check("handshakes", "who connects with", {name: {"is answered": found} for name, found in table.items()})


async def test_each_path_beside_the_websocket(database: str) -> None:
    key = {"auth_mode": "key", "api_key": KEY, "metrics_token": METER}
    legacy = {**key, "legacy_nets": (ipaddress.ip_network("127.0.0.0/8"),)}
    table: dict[str, dict[str, str]] = {}
    async with (
        running(database, **key) as locked, running(database, **legacy) as older, running(database) as opened,
        aiohttp.ClientSession() as http,
    ):  # fmt: skip
        async def ask(recado: Running, path: str, token: str = "", **headers: str) -> str:
            given = {**headers, **({"Authorization": f"Bearer {token}"} if token else {})}
            async with http.get(recado.url.replace("ws:", "http:") + path, headers=given) as response:
                return str(response.status)

        for path in ("/healthz", "/readyz", "/metrics"):
            table[f"`GET {path}`"] = {
                "nobody": await ask(locked, path),
                "a user": await ask(locked, path, locked.token("ana")),
                "`METRICS_TOKEN`": await ask(locked, path, METER),
                "a backend": await ask(locked, path, KEY),
                "`LEGACY_NETS`": await ask(older, path),
                "open mode": await ask(opened, path),
                "…, through a proxy": await ask(opened, path, **PROXY),
                "…, another `Host`": await ask(opened, path, Host="recado.example"),
            }
    check("paths", "path", table)


async def test_wrong_tokens_are_told_to_wait_and_right_ones_never(database: str) -> None:
    async with running(database) as recado:
        answers = await asyncio.gather(*(handshake(recado, "a.b.c") for _ in range(60)))
        assert await handshake(recado, recado.token("ana")) == "101"
    assert set(answers) == {"401 unauthorized", "429 rate_limited"} and answers.count("401 unauthorized") >= 10

