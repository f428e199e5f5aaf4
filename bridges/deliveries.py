"""What a library delivers, on its way to the source that gives it out."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")

MAX_HELD = 256
MAX_HELD_BYTES = 8 * 1024 * 1024


class Deliveries(Generic[T]):
    """In order. When the line has ended, what came before is still given out."""

    def __init__(self) -> None:
        self._waiting: deque[T] = deque()
        self._weight = 0  # bytes of what waits, where they were told
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._end: Exception | None = None

    def put(self, delivery: T) -> None:
        """For a library that waits for nobody: its broker's window is the bound."""
        self._waiting.append(delivery)
        self._news.set()

    async def put_in_time(self, delivery: T, weight: int) -> None:
        """While there is no room the library keeps what comes, as far as it has any. ``weight``: bytes."""
        while len(self._waiting) >= MAX_HELD or self._weight >= MAX_HELD_BYTES:
            self._room.clear()
            await self._room.wait()
        self._weight += weight
        self.put(delivery)

    def end(self, why: Exception) -> None:
        """Nothing more comes; the first reason counts."""
        self._end = self._end or why
        self._news.set()

    async def some(self, seconds: float | None = None) -> list[T]:
        """What is there, or comes within this time; maybe nothing. Raises what it ended with."""
        if not self._waiting and self._end is None:
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._news.wait()
        if not self._waiting and self._end is not None:
            raise self._end
        some = list(self._waiting)
        self._waiting.clear()
        self._weight = 0
        self._room.set()
        return some
