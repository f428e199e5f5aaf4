"""Which processes of this installation are alive: who has renewed its row in `nodes`, by the database's clock.

Each renewal also tells how far this machine's clock is from that one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from messaging.errors import Unavailable
from messaging.retrying import retrying
from messaging.store.clock import ClockOffset
from messaging.store.pool import Pool

RENEW_SECONDS = 5.0
TERM_SECONDS = 15.0
LOOK_SECONDS = 0.25  # looked at once more, if asked to, not sooner
LEAVE_SECONDS = 2.0


class Nodes:
    """This process's row, and the names of all whose row counts. `renew` first, then `run`; `leave` last."""

    def __init__(
        self, pool: Pool, name: str, term: float = TERM_SECONDS, interval: float = RENEW_SECONDS,
        clock: ClockOffset | None = None,
    ) -> None:  # fmt: skip
        """``clock``: is told what each renewal says of it."""
        self.alive: frozenset[str] = frozenset()
        self._clock = clock or ClockOffset()
        self._pool = pool
        self._name = name
        self._term = term
        self._interval = interval
        self._told: list[Callable[[frozenset[str]], None]] = []
        self._asked = asyncio.Event()

    def attach(self, told: Callable[[frozenset[str]], None]) -> None:
        """Call ``told`` with the names of all that are alive, after each renewal."""
        self._told.append(told)

    def look(self) -> None:
        """Renew and read soon: somebody was heard who is not known to be alive."""
        self._asked.set()

    async def renew(self) -> None:
        """Raises Unavailable. Cancelling is safe."""
        asked = time.time()
        rows = await self._pool.fetch("renew_node", self._name, self._term)
        self._clock.measured(asked, rows[0]["now"], time.time())
        self.alive = frozenset(row["node"] for row in rows)
        for told in self._told:
            told(self.alive)

    async def run(self) -> None:
        """Renew until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval - LOOK_SECONDS):
                    await self._asked.wait()
            self._asked.clear()
            await retrying(self.renew, "this node's row")

    async def leave(self) -> None:
        """Take the row away, where it was made; where that can't be done soon, it expires. Never raises."""
        if self.alive:
            with suppress(Unavailable, TimeoutError):
                async with asyncio.timeout(LEAVE_SECONDS):
                    await self._pool.fetch("leave_nodes", self._name)
