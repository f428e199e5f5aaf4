"""Leader election: some work is done by one process at a time, whose lease it is.

A lease is a row with a term, given by the database's clock (`messaging.store.leases`); nothing of it hangs on a
connection. The holder counts by its own clock from before the request that gave or renewed the lease, and stops some
seconds before the end, so that its work has ended before the next holder's begins. What is written late names a term
that is over.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from messaging.errors import Unavailable
from messaging.retrying import retrying
from messaging.store.leases import LeaseStore

log = logging.getLogger(__name__)

CANCEL_EVERY = 0.1  # seconds between cancellations, of which a library may swallow some


class LeadershipLost(Exception):
    """The lease is over: another process may be the leader now."""


class Lease:
    """The right to do some work, which must be renewed. ``term`` is what the holder's writes name."""

    def __init__(self, leases: LeaseStore, name: str) -> None:
        self.term = 0
        self._leases = leases
        self._name = name
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._end = 0.0  # by our own clock

    def __str__(self) -> str:
        return f"the lease {self._name!r}"

    def check(self) -> None:
        """To be called before whatever must not be done beside another leader. Costs a look at the clock.

        Raises:
            LeadershipLost: it is too late.
        """
        if self.left() <= 0:
            raise LeadershipLost(f"{self} is over")

    def left(self) -> float:
        """Seconds in which its holder may begin something."""
        return self._end - self._leases.times.margin - _clock()

    async def take(self) -> None:
        """Wait for it. Cancelling is safe."""
        while not await retrying(self._ask, self):  # noqa: ASYNC110 (what is waited for is in the database)
            await asyncio.sleep(self._leases.times.ask_every * random.uniform(0.5, 1.0))

    async def keep(self) -> None:
        """Renew it again and again. Returns once it is lost."""
        times = self._leases.times
        pause = times.renew_every
        while (left := self.left()) > 0:
            await asyncio.sleep(min(pause, left))
            pause = times.renew_every
            try:
                async with asyncio.timeout(max(0.0, self.left())):
                    if not await self._ask():
                        return
            except (Unavailable, TimeoutError) as exc:
                log.debug("%s is not renewed: %s", self, exc)
                pause = times.renew_every / 10

    async def give_back(self) -> None:
        """To be called when nothing is done in it any more: the next leader need not wait for its end."""
        self._end = 0.0
        with suppress(Unavailable):
            await self._leases.give_back(self._name, self._holder)

    async def end(self, work: asyncio.Future[None]) -> None:
        """Cancel what was done in it until that has ended.

        Raises:
            LeadershipLost: it has not, and the next leader begins: this process must end.
        """
        latest = max(self._end, _clock() + self._leases.times.margin)  # the machine may have slept beyond its end
        while not work.done():
            if latest <= _clock():
                log.critical("%s is over, but what was done in it does not end: this process does", self)
                raise LeadershipLost(f"{self} is over, but what was done in it does not end")
            work.cancel()
            with suppress(asyncio.CancelledError):  # ours is heeded when the work has ended
                await asyncio.wait([work], timeout=CANCEL_EVERY)

    async def _ask(self) -> bool:
        asked = _clock()
        term = await self._leases.take(self._name, self._holder)
        if term is None or self.term not in (0, term):
            return False
        self.term, self._end = term, asked + self._leases.times.length
        return True


async def run_as_leader(leases: LeaseStore, name: str, work: Callable[[Lease], Awaitable[None]]) -> None:
    """Do ``work`` whenever this process is the leader for ``name``, until it returns.

    Where the lease is lost it is cancelled, and begun again with the next. Cancelling ends it and gives the lease back.

    Raises:
        LeadershipLost: the work did not end with its lease. Whatever else it raises passes through.
    """
    while not await retrying(lambda: _one_term(Lease(leases, name), work), f"the leader for {name!r}"):
        log.warning("leadership for %r is lost", name)


async def _one_term(lease: Lease, work: Callable[[Lease], Awaitable[None]]) -> bool:
    """Whether the work has returned by itself."""
    try:
        await lease.take()
    except BaseException:
        await lease.give_back()  # it may have been taken, unheard
        raise
    job = asyncio.ensure_future(work(lease))
    keeping = asyncio.ensure_future(lease.keep())
    try:
        await asyncio.wait((job, keeping), return_when=asyncio.FIRST_COMPLETED)
    finally:
        keeping.cancel()
        await lease.end(job)
        await lease.give_back()
        returned = _returned(job)
    if (task := asyncio.current_task()) is not None and task.cancelling():
        raise asyncio.CancelledError  # it came while the work was ending
    if keeping.done() and not keeping.cancelled():
        keeping.result()
    return returned


def _returned(job: asyncio.Future[None]) -> bool:
    """Whether the work returned, rather than being ended. Raises what else it has raised."""
    if job.cancelled():
        return False
    try:
        job.result()
    except* LeadershipLost:
        returned = False
    else:
        returned = True
    return returned


def _clock() -> float:
    """Seconds, by a clock that goes on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
