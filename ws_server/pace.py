"""How fast a session is read. Pure: the caller brings the clock."""

from __future__ import annotations

from messaging.limits.rate import Bucket

TOO_FAST_SECONDS = 30.0  # seconds above its rate after which a session is closed
CALM = 1.0  # seconds without being held up after which it is no longer above it
CHEAP = 0.05  # what an ack, a seen or a pong costs; any other frame costs 1


class Pace:
    """Charges a session for what was read of it, and says for how long to read no more."""

    __slots__ = ("_above", "_above_since", "_frames", "_held_until")

    def __init__(self, frames: Bucket) -> None:
        self._frames = frames
        self._above_since = 0.0
        self._held_until = float("-inf")
        self._above = 0.0

    def frames_left(self, now: float) -> int:
        """How many may be read now; one at least, as nothing is known of what is not read."""
        return int(max(1.0, min(1e9, self._frames.left(now))))

    def took(self, frames: int, cheap: int, now: float) -> float:
        """Charge frames that were read, ``cheap`` of them acks or pongs. Seconds to read nothing more; 0: go on."""
        self._frames.take(frames - (1 - CHEAP) * cheap, now)
        wait = self._frames.wait(now)
        if wait:
            if now > self._held_until + CALM:
                self._above_since = now
            self._held_until = now + wait
            self._above = now - self._above_since
        return wait

    @property
    def is_too_fast(self) -> bool:
        """Whether, when it was held up last, it had been above its rate for too long, though it is read more slowly."""
        return self._above >= TOO_FAST_SECONDS
