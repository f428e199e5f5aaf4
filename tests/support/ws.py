"""A WebSocket door over a real database, in the test's own loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from messaging.auth.tokens import Tokens
from messaging.bus.contract import Bus, LocalBus
from messaging.model import Kind
from messaging.node import Node, running_node
from messaging.settings.settings import Settings
from support.described import check_described
from ws_server.feeds.membership_sync import SWEEP_EVERY
from ws_server.feeds.ticker import STUCK
from ws_server.server import WebSocketServer

SECRET = "a-secret-that-is-only-for-these-tests-32+"


class Running:
    """A node with its WebSocket door, and clients for it."""

    def __init__(self, node: Node, door: WebSocketServer, tokens: Tokens, port: int) -> None:
        self.node = node
        self.door = door
        self.tokens = tokens
        self.port = port
        self.url = f"ws://127.0.0.1:{port}"

    def token(self, user: str, **more: Any) -> str:
        return self.tokens.issue(user, **more)[0]

    @asynccontextmanager
    async def client(self, user: str, query: str = "", **options: Any) -> AsyncIterator[ClientConnection]:
        # Unless told otherwise it reads on whatever the test does: with frames unread, closing would take 10 s.
        options.setdefault("max_queue", None)
        async with connect(
            f"{self.url}/{self.token(user)}{query}", proxy=None, compression=None, ping_interval=None, **options
        ) as link:
            yield link

    async def topic(self, name: str, owner: str, *members: str, kind: Kind = "public") -> None:
        from messaging.permissions import BACKEND

        await self.node.actions.create_topic(BACKEND, name, await self.node.actions.know(owner), kind)
        for member in members:
            await self.node.actions.know(member)
            await self.node.actions.invite(BACKEND, name, member)


@asynccontextmanager
async def running(
    dsn: str,
    bus: Bus | None = None,
    *,
    sweep_every: float = SWEEP_EVERY,
    stuck_after: float = STUCK,
    **changes: Any,
) -> AsyncIterator[Running]:
    """Start a node and its door on a free port, and stop both in order. ``changes``: of the settings."""
    settings = replace(Settings(ws_port=0, jwt_secret=SECRET, auth_mode="open"), **changes)
    async with (
        Tokens(SECRET, settings.jwt_issuers) as tokens,
        running_node(settings, dsn, bus or LocalBus(), keeps_house=True) as node,
    ):
        door = WebSocketServer(
            settings, node.store, node.actions, tokens, node.cursors, node.bus, node.metrics, node.connections,
            sweep_every=sweep_every, stuck_after=stuck_after,
        )  # fmt: skip
        node.start(door.run())
        yield Running(node, door, tokens, await door.listening())
        await door.drain()


async def receive(link: ClientConnection, action: str | None = None, within: float = 10) -> dict[str, Any]:
    """The next frame, or the next one of this action."""
    async with asyncio.timeout(within):
        while True:
            frame: dict[str, Any] = json.loads(await link.recv())
            check_described(frame)
            if action is None or frame["action"] == action:
                return frame


async def send(link: ClientConnection, **frame: Any) -> None:
    await link.send(json.dumps(frame))


async def asked(link: ClientConnection, **frame: Any) -> dict[str, Any]:
    """The answer to a request."""
    await send(link, ref="r", **frame)
    while True:
        answer = await receive(link)
        if answer.get("ref") == "r":
            return answer
