"""A client of a stream, as the standard describes it, and what it listens to.

It is imported by tests whose module names `doors` as a plugin.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from messaging.permissions import BACKEND
from support.doors import Door

NEWS = "/api/v1/topics/news"


@dataclass
class Event:
    name: str
    id: str
    data: Any

    @property
    def seq(self) -> int:
        """Of its id, EPOCH:SEQ."""
        return int(self.id.rpartition(":")[2])


class Listener:
    """What an EventSource does with a stream, as the standard says."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.last_id = ""
        self.comments = 0

    async def event(self, within: float = 10) -> Event:
        """The next event. Raises EOFError at the end of the stream."""
        async with asyncio.timeout(within):
            name = "message"
            data: list[str] = []
            while line := await self.response.content.readline():
                field, _, value = line.decode().removesuffix("\n").partition(":")
                value = value.removeprefix(" ")
                if line == b"\n" and data:
                    return Event(name, self.last_id, json.loads("\n".join(data)))
                if line.startswith(b":"):
                    self.comments += 1
                elif field == "event":
                    name = value
                elif field == "id":
                    self.last_id = value
                elif field == "data":
                    data.append(value)
            raise EOFError

    async def events(self, count: int) -> list[Event]:
        return [await self.event() for _ in range(count)]

    async def end(self) -> None:
        with pytest.raises(EOFError):
            await self.event()


@asynccontextmanager
async def listening(door: Door, query: str = "", path: str = NEWS, **options: Any) -> AsyncIterator[Listener]:
    async with door.send("GET", f"{path}/stream{query}", **options) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "text/event-stream"
        yield Listener(response)


async def news(door: Door, *members: str, kind: str = "public") -> None:
    await door.ask("PUT", NEWS, 201, json={"owner": "ana", "kind": kind})
    for member in members:
        await door.token(member)
        await door.ask("PUT", f"{NEWS}/members/{member}", 201)


async def publish(door: Door, *contents: Any) -> None:
    for content in contents:
        await door.ask("POST", f"{NEWS}/messages", 201, json={"content": content, "sender": "ana"})


def contents(found: list[Event]) -> list[Any]:
    return [event.data["content"] for event in found]


async def topic_id(door: Door) -> int:
    return (await door.node.actions.topic(BACKEND, "news")).topic.id
