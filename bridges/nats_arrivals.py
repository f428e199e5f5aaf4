"""What a subscription brings, between the library that delivers it and the bridge that stores it."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

from nats.aio.msg import Msg

from bridges.outlet import Unreachable

BATCH = 64


class Arrivals:
    """Messages in order. When the line has ended, what came before is still given out."""

    def __init__(self) -> None:
        self._waiting: deque[Msg] = deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._over = False

    async def take(self, message: Msg) -> None:
        """What the subscription calls. While there is no room the library keeps them, as far as it has any."""
        while len(self._waiting) >= BATCH:
            self._room.clear()
            await self._room.wait()
        self._waiting.append(message)
        self._news.set()

    def end(self) -> None:
        """The line has ended."""
        self._over = True
        self._news.set()

    async def some(self, seconds: float) -> list[Msg]:
        """What is there, or comes within this time; maybe nothing.

        Raises:
            Unreachable: nothing more will come.
        """
        if not self._waiting and not self._over:
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._news.wait()
        if not self._waiting and self._over:
            raise Unreachable("the line to NATS has broken")
        batch = list(self._waiting)
        self._waiting.clear()
        self._room.set()
        return batch
