"""Somebody who has nothing to do with the attack: publishes steadily, and notes how long each receipt takes."""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from support.raw_ws import RawClient, raw_client, text

EVERY = 0.02  # seconds between publishes
COME_BACK = 0.1  # seconds after which a lost connection is made again, and what may be tried again is
CONNECT_TIME = 5.0
AGAIN = {"unavailable", "rate_limited"}


class Bystander:
    """A member of one topic. What is not answered it sends again with the same id, as an honest client does.

    It sends at a fixed rate whatever is answered: who waits for each answer would not notice a standstill but once.
    """

    def __init__(self, url: str, token: str, topic: str, every: float | None = EVERY) -> None:
        """``every``: seconds between publishes; None: it reads only."""
        self.topic = topic
        self.sent: dict[int, float] = {}  # when, by number
        self.answered: dict[int, tuple[float, int]] = {}  # when, and the seq
        self.heard: dict[int, tuple[float, Any]] = {}  # by seq: when first, and the content
        self.refused: list[str] = []
        self.closed: list[float] = []  # when a connection ended
        self.ready = asyncio.Event()
        self.local_port = 0
        self._url, self._path, self._every = url, f"/{token}", every
        self._client: RawClient | None = None

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._stay())
            if self._every is not None:
                tasks.create_task(self._publish(self._every))

    def times(self, start: float, end: float) -> list[float]:
        """Seconds that the receipts took of what was sent then; what has no answer yet: so far."""
        now = asyncio.get_running_loop().time()
        return [self.answered.get(n, (now, 0))[0] - at for n, at in self.sent.items() if start <= at < end]

    def last_slow(self, start: float, limit: float) -> float:
        """Seconds from ``start`` until the last receipt came that took longer than ``limit``; 0 where none did."""
        now = asyncio.get_running_loop().time()
        ends = [(self.answered.get(n, (now, 0))[0], at) for n, at in self.sent.items()]
        return max((end - start for end, at in ends if end > start and end - at > limit), default=0.0)

    def unanswered(self) -> int:
        return len(self.sent) - len(self.answered)

    def lost(self) -> list[int]:
        """What was answered ok and is not what the member was given under this seq."""
        return [n for n, (_, seq) in self.answered.items() if self.heard.get(seq, (0, None))[1] != n]

    async def settled(self, seconds: float) -> None:
        """Wait until everything is answered and heard, but not longer."""
        end = asyncio.get_running_loop().time() + seconds
        while (self.unanswered() or self.lost()) and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110
            await asyncio.sleep(COME_BACK)

    def stop(self) -> None:
        self._every = None

    async def _publish(self, every: float) -> None:
        await self.ready.wait()
        loop = asyncio.get_running_loop()
        due = loop.time()
        while self._every is not None:
            number = len(self.sent) + 1
            self.sent[number] = loop.time()
            self._send(number)
            due += every
            await asyncio.sleep(max(0.0, due - loop.time()))

    def _send(self, number: int) -> None:
        if self._client is not None and number not in self.answered:
            self._client.write(text(action="message", topic_name=self.topic, content=number, id=str(number)))

    async def _stay(self) -> None:
        while True:
            try:
                await self._connection()
            except (OSError, asyncio.IncompleteReadError, TimeoutError, AssertionError, struct.error):
                pass
            finally:
                self._client = None
            await asyncio.sleep(COME_BACK)

    async def _connection(self) -> None:
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(CONNECT_TIME):
                client = await stack.enter_async_context(raw_client(self._url, self._path))
                await client.greeted()
            self.local_port = client.writer.get_extra_info("sockname")[1]
            self._client = client
            self.ready.set()
            for number in self.sent:
                self._send(number)
            try:
                while client.closed is None:
                    self._take(client)
                    await client.read()
            finally:
                self.closed.append(asyncio.get_running_loop().time())

    def _take(self, client: RawClient) -> None:
        while client.pings:
            client.pong(client.pings.pop())
        loop = asyncio.get_running_loop()
        texts, client.texts = client.texts, []
        for frame in texts:
            number = int(frame.get("id") or 0)
            if frame.get("result") == "ok" and number:
                self.answered.setdefault(number, (loop.time(), frame["seq"]))
            elif frame["action"] == "message" and "content" in frame:
                self.heard.setdefault(frame["seq"], (loop.time(), frame["content"]))
            elif frame["action"] == "error" and frame["code"] in AGAIN:
                loop.call_later(COME_BACK, self._send, number)
            elif frame["action"] == "error":
                self.refused.append(f"{frame['code']}: {frame['message']}")


def percentile(times: Sequence[float], share: float) -> float:
    """The smallest that so many are not above; seconds, as given."""
    return sorted(times)[math.ceil(share * len(times)) - 1] if times else math.nan
