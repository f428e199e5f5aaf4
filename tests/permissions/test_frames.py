"""Each frame that a client may send, and each way to ask the WebSocket's port: what docs/permissions.md decides."""

from __future__ import annotations

import ipaddress
import json
from typing import Any

import aiohttp
import jwt
from cases import STANDINGS, Standing, state
from page import check
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from messaging.auth.tokens import Tokens
from messaging.frames import AnyCommand
from support.ws import SECRET, Running, receive, running, send

KEY, METER = "the key of the tests' backend", "a token for the counters alone"
LOCKED: dict[str, Any] = {"auth_mode": "key", "api_key": KEY, "metrics_token": METER}
PROXY, FOREIGN = {"X-Forwarded-For": "192.0.2.1"}, {"Origin": "https://evil.example"}
COMMANDS = [kind.__struct_config__.tag for kind in AnyCommand.__args__]


async def told(link: ClientConnection, action: str, topic: str) -> str:
    """`ok`, a code, or `nothing` where a request behind this one was answered first."""
    fields = {"id": topic.strip("@")} if action == "message" else {}
    await send(link, action=action, ref="r", topic_name=topic, content=1, seq=1, username="eve", **fields)
    if action not in ("message", "disconnect"):
        await send(link, action="topics", ref="behind")
    try:
        while (frame := json.loads(await link.recv())).get("ref") not in ("r", "behind"):
            pass
        return "nothing" if frame["ref"] == "behind" else str(frame.get("code", "ok"))
    except ConnectionClosed as closed:
        assert closed.rcvd is not None
        return f"closed, {closed.rcvd.code}"


async def asks(recado: Running, action: str, standing: Standing) -> str:
    """What ana is told, after what she is sent of the topic."""
    topic = await standing.make(recado)
    token = recado.token("ana", payload={"topics": standing.claim or {}})
    async with connect(f"{recado.url}/{token}", proxy=None, ping_interval=None) as link:
        while standing.is_sent() and (await receive(link, "message"))["topic_name"] != topic:
            pass
        before = await state(recado)
        found = await told(link, action, topic)
        assert found in ("ok", "nothing", "closed, 1000") or before == await state(recado), "a refusal changes nothing"
        return found


async def test_each_frame(database: str) -> None:
    async with running(database) as recado:
        for user in ("ana", "bob", "eve"):
            await recado.node.actions.know(user)
        table = {
            f"`{action}`": {how: await asks(recado, action, standing) for how, standing in STANDINGS.items()}
            for action in COMMANDS
        }
    check("frames", "frame", table)


async def handshake(recado: Running, token: str, **headers: str) -> str:
    try:
        async with connect(f"{recado.url}/{token}", proxy=None, additional_headers=headers) as link:
            return f"101, as {(await receive(link, 'connected'))['username']}"
    except InvalidStatus as refused:
        return f"{refused.response.status_code} {json.loads(refused.response.body or b'')['code']}"


async def test_each_way_to_connect(database: str) -> None:
    async with running(database, **LOCKED) as recado:
        token, revoked = recado.token("ana"), recado.token("ana")
        ticket = await recado.node.tickets.issue(await recado.tokens.verify(token))
        await recado.node.actions.revoke_token((await recado.tokens.verify(revoked)).jti)
        of_revoked = recado.token("bob")
        await recado.node.actions.know("bob")
        await recado.node.actions.revoke_user("bob")
        platform = await recado.node.registry.register("Fourth", "pull", None)
        table = {
            "a token": await handshake(recado, token),
            "a token, through a proxy": await handshake(recado, token, **PROXY),
            "a ticket": await handshake(recado, ticket),
            "a ticket again": await handshake(recado, ticket),
            "a token that was revoked": await handshake(recado, revoked),
            "a token of a user whose tokens were revoked": await handshake(recado, of_revoked),
            "a newer one of that user": await handshake(recado, recado.token("bob")),
            "a token that has expired": await handshake(recado, jwt.encode({"sub": "ana", "exp": 1}, SECRET, "HS256")),
            "a token of an unknown issuer": await handshake(recado, Tokens(f"not {SECRET}").issue("ana")[0]),
            "no token's text": await handshake(recado, "a.b.c"),
            "nothing": await handshake(recado, ""),
            "the API key": await handshake(recado, "", Authorization=f"Bearer {KEY}"),
            "a platform's token": await handshake(recado, platform.token),
            "`METRICS_TOKEN`": await handshake(recado, "", Authorization=f"Bearer {METER}"),
            "a token, by a page of another origin": await handshake(recado, token, **FOREIGN),
            "a token, by a page of ours": await handshake(recado, token, Origin="http://127.0.0.1:5001"),
        }
    check("handshakes", "who connects with", {name: {"is answered": found} for name, found in table.items()})


async def test_each_path_beside_the_websocket(database: str) -> None:
    legacy = {**LOCKED, "legacy_nets": (ipaddress.ip_network("127.0.0.0/8"),)}
    table: dict[str, dict[str, str]] = {}
    async with (
        running(database, **LOCKED) as locked, running(database, **legacy) as older,
        running(database, metrics_token=METER) as opened,
        aiohttp.ClientSession() as http, aiohttp.ClientSession(version=aiohttp.HttpVersion10) as old,
    ):  # fmt: skip

        async def ask(recado: Running, path: str, token: str = "", http: Any = http, **headers: str) -> str:
            given = {**headers, **({"Authorization": f"Bearer {token}"} if token else {})}
            async with http.get(recado.url.replace("ws:", "http:") + path, headers=given) as response:
                return str(response.status)

        for path in ("/healthz", "/readyz", "/metrics", "/"):
            table[f"`GET {path}`"] = {
                "nobody": await ask(locked, path),
                "a user": await ask(locked, path, locked.token("ana")),
                "a wrong token": await ask(locked, path, "guess"),
                "`METRICS_TOKEN`": await ask(locked, path, METER),
                "a backend": await ask(locked, path, KEY),
                "`LEGACY_NETS`": await ask(older, path),
                "open mode": await ask(opened, path),
                "…, `METRICS_TOKEN`": await ask(opened, path, METER),
                "…, a wrong token": await ask(opened, path, "guess"),
                "…, through a proxy": await ask(opened, path, METER, **PROXY),
                "…, over HTTP/1.0": await ask(opened, path, http=old),
                "…, another `Host`": await ask(opened, path, Host="recado.example"),
                "…, by a page of another origin": await ask(opened, path, **FOREIGN),
            }
    check("paths", "path", table)
