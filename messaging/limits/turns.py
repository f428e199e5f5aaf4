"""When requests begin: of all that come at once a few in each turn of the loop, so that others have theirs too."""

from __future__ import annotations

import asyncio
from collections import deque

MAX_IN_TURN = 4  # requests that begin in a turn of the loop


class RequestTurns:
    """Those of this process, whoever asks."""

    def __init__(self) -> None:
        self._begun = 0  # in this turn, those included who waited for it
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def begin(self) -> None:
        """Wait for a turn, in order. Cancelling is safe."""
        loop = asyncio.get_running_loop()
        if not self._begun:
            loop.call_soon(self._next, loop)
        self._begun += 1
        if self._begun > MAX_IN_TURN:
            self._waiting.append(loop.create_future())
            await self._waiting[-1]

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        """Another turn begins."""
        self._begun = min(MAX_IN_TURN, len(self._waiting))
        for _ in range(self._begun):
            if not (turn := self._waiting.popleft()).done():  # else its request was cancelled
                turn.set_result(None)
        if self._begun:
            loop.call_soon(self._next, loop)
