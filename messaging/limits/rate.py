"""Rate limits: how fast somebody may be. Pure: the caller brings the clock, in seconds, of any that rises."""

from __future__ import annotations

import sys

SLICE = 0.1  # seconds' worth of tokens that whoever has run out waits for
FORGET_EACH = 1024  # new buckets, at least, after which those that are full again are let go of


class Bucket:
    """A token bucket: ``rate`` tokens a second, up to ``burst``; a rate of 0 is no limit.

    It may go into debt: what was read can't be unread.
    """

    __slots__ = ("_burst", "_filled_at", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._filled_at = now

    def take(self, cost: float, now: float) -> None:
        """Take them, whether they are there or not."""
        if self._rate:
            self._tokens = self.left(now) - cost
            self._filled_at = now

    def takes(self, now: float) -> bool:
        """Take one, if it is there: what is refused costs none."""
        if self.left(now) < 1:
            return False
        self.take(1, now)
        return True

    def left(self, now: float) -> float:
        """The tokens that are there; infinitely many where there is no limit."""
        if not self._rate:
            return float("inf")
        return min(self._burst, self._tokens + (now - self._filled_at) * self._rate)

    def wait(self, now: float) -> float:
        """Seconds until there are enough to go on with; 0 while there is one."""
        left = self.left(now)
        return 0.0 if left >= 1 else (max(1.0, self._rate * SLICE) - left) / self._rate


class Buckets:
    """A bucket for each of many. Those that are full are as good as new ones, and need no memory."""

    def __init__(self, rate: float, burst: float, most: int = sys.maxsize) -> None:
        """``most``: of them; whoever comes last shares one with others."""
        self._rate = rate
        self._burst = burst
        self._most = most
        self._buckets: dict[int | str, Bucket] = {}
        self._new = 0  # since those that were full were let go of

    def __len__(self) -> int:
        return len(self._buckets)

    def of(self, key: int | str, now: float) -> Bucket:
        """To be used at once and not kept: it may be let go of."""
        bucket = self._buckets.get(key)
        if bucket is None:
            if self._new >= max(FORGET_EACH, len(self._buckets) // 2):
                self._buckets = {k: b for k, b in self._buckets.items() if b.left(now) < self._burst}
                self._new = 0
            self._new += 1
            key = key if len(self._buckets) < self._most else ""
            bucket = self._buckets.setdefault(key, Bucket(self._rate, self._burst, now))
        return bucket
