"""Somebody at each of the doors: asks for an action of the protocol, and is told a seq, a page, `ok` or a code."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol
from urllib.parse import quote

from websockets.asyncio.client import connect

from messaging.auth.tokens import Tokens
from messaging.node import Node
from recado.client import Client, Refused
from support import doors, ws

Ask = Callable[..., Awaitable[Any]]  # action, topic, and the other fields of its frame


class House(Protocol):
    node: Node
    tokens: Tokens


def told(answer: Any) -> Any:
    if "messages" in answer:
        return [(message["content"], message["seq"]) for message in answer["messages"]], answer["more"]
    return answer.get("code") or answer.get("seq", "ok")


@asynccontextmanager
async def at_websocket(house: ws.Running, user: str, token: str) -> AsyncIterator[Ask]:
    async with connect(f"{house.url}/{token}", proxy=None, ping_interval=None, max_queue=None) as link:

        async def ask(action: str, topic: str, **fields: Any) -> Any:
            return told(await ws.asked(link, action=action, topic_name=topic, **fields))

        yield ask


@asynccontextmanager
async def at_rest(house: doors.Door, user: str, token: str) -> AsyncIterator[Ask]:
    async def ask(action: str, topic: str, *, id: str | None = None, username: str = user, **fields: Any) -> Any:
        method, path, options = {
            "message": ("POST", "messages", {"json": fields, "headers": {"Idempotency-Key": id}}),
            "history": ("GET", "messages?" + "&".join(f"{name}={at}" for name, at in fields.items()), {}),
            "subscribe": ("PUT", f"members/{user}", {}),
            "unsubscribe": ("DELETE", f"members/{user}", {}),
            "invite": ("PUT", f"members/{username}", {}),
        }[action]
        url = f"/api/v1/topics/{quote(topic, safe='')}/{path}"
        async with house.send(method, url, token=token, **options) as response:
            return told(await response.json() if response.content_type == "application/json" else {})

    yield ask


@asynccontextmanager
async def with_client(house: ws.Running, user: str, token: str) -> AsyncIterator[Ask]:
    async with Client(house.url, token) as client:

        async def ask(action: str, topic: str, *, id: str | None = None, **fields: Any) -> Any:
            """Its keys are its own."""
            method: Any = client.publish if action == "message" else getattr(client, action)
            try:
                found = await method(
                    topic, *(fields.pop(name) for name in ("content", "username") if name in fields), **fields
                )
            except Refused as refused:
                return refused.code
            if action == "history":
                return [(message.content, message.seq) for message in found.messages], found.more
            return "ok" if found is None else found

        yield ask


DOORS: dict[str, tuple[Any, Any]] = {
    "websocket": (ws.running, at_websocket),
    "rest": (doors.running, at_rest),
    "client": (ws.running, with_client),
}
