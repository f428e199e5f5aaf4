"""Leases in the store: rows that say who has a turn, until when by the database's clock, and in which term."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from messaging.store.pool import Pool, our_errors


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """Seconds. A holder that has fallen silent is followed within ``length`` + ``ask_every``."""

    length: float = 12.0
    margin: float = 3.0  # before its end the holder stops, by its own clock: the two may differ a little
    renew_every: float = 3.0
    request: float = 2.0  # for an answer; what comes later is a failed try
    ask_every: float = 1.0  # while another holds it


class LeaseStore:
    """Turns of this installation, on a line of their own: whatever else a process does, it can renew in time."""

    def __init__(self, dsn: str, times: LeaseTimes | None = None) -> None:
        self.times = times or LeaseTimes()
        self._pool = Pool(dsn, size=1)

    async def open(self) -> None:
        await self._pool.open()

    async def close(self) -> None:
        await self._pool.close()

    async def take(self, name: str, holder: str) -> int | None:
        """Take a turn, or renew it: its term, or None where another holder has it. Again by the same is a renewal.

        Raises:
            Unavailable: there was no answer in time; it may have been taken.
        """
        lasting = timedelta(seconds=self.times.length)
        with our_errors():
            async with asyncio.timeout(self.times.request):
                term: int | None = await self._pool.value("lease_take", name, holder, lasting)
        return term

    async def give_back(self, name: str, holder: str) -> None:
        """End the lease, if this holder has it. Raises Unavailable: it will be, when the lease is over."""
        with our_errors():
            async with asyncio.timeout(self.times.request):
                await self._pool.fetch("lease_give_back", name, holder)
