"""The one retry loop, for what is transient, and its delays: exponential back-off with jitter.

Transient is what passes by itself: `Unavailable`. Everything else that the store raises is a defect of ours, and ends
the process; what a broker raises is judged where its library is known.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from messaging.errors import Unavailable

log = logging.getLogger(__name__)

T = TypeVar("T")

BASE = 0.05  # seconds
CAP = 2.0


def jittered(attempt: int, base: float = BASE, cap: float = CAP) -> float:
    """Seconds before the next try, after ``attempt`` of them failed: exponential back-off with full jitter."""
    return random.uniform(0, min(cap, base * 2.0 ** min(attempt, 16)))


def backoff_delays(base: float = BASE, cap: float = CAP) -> Iterator[float]:
    """Endless delays between tries, in seconds: growing, each with full jitter."""
    attempt = 0
    while True:
        yield jittered(attempt, base, cap)
        attempt += 1


async def retrying(
    work: Callable[[], Awaitable[T]], what: object, *, tries: int | None = None, base: float = BASE
) -> T:
    """What ``work`` returns, awaited again after each `Unavailable`; with ``tries``, at most so often.

    ``what`` names the work in the log, which has a line for the 1st, 2nd, 4th, 8th … failure in a row. Cancelling is
    as safe as cancelling ``work`` is.

    Raises:
        Unavailable: the last try failed too. Whatever else ``work`` raises passes through.
    """
    failures = 0
    for delay in backoff_delays(base):
        try:
            return await work()
        except Unavailable as exc:
            failures += 1
            if failures == tries:
                raise
            if tries is None and failures & (failures - 1) == 0:
                log.warning("%s waits, and tries again: %s", what, exc)
        await asyncio.sleep(delay)
    raise AssertionError("the delays are endless")
