"""How fast one client may ask. Pure: the caller brings the clock."""

from __future__ import annotations


class Bucket:
    """A token bucket: ``rate`` requests a second, twice as many in a burst; a rate of 0 is no limit."""

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._burst = 2 * rate
        self._tokens = self._burst
        self._filled_at = now
        self._refused = 0

    def takes(self, now: float) -> bool:
        """Whether a request at ``now`` (seconds, of any clock that rises) is within the limit."""
        if not self._rate:
            return True
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._tokens >= 1:
            self._tokens -= 1  # what is refused costs none: a little too fast, only a little is refused
            if self._tokens > self._rate:
                self._refused = 0
            return True
        self._refused += 1
        return False

    @property
    def overrun(self) -> bool:
        """Whether the client has gone on, in spite of being refused, for another burst."""
        return self._refused > self._burst
