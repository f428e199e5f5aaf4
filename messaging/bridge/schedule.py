"""When a lane tries again, and how fast it may go. Pure: chance and time are given."""

from __future__ import annotations

from dataclasses import dataclass

FAILING_AFTER = 3600.0  # seconds without a success: the operator should look


@dataclass(frozen=True, slots=True)
class Schedule:
    """Pauses between tries, in seconds: never hours, so that catching up starts soon after the other side's return."""

    steps: tuple[float, ...] = (1, 2, 5, 10, 30)
    most: float = 50.0
    jitter: float = 0.2
    most_asked: float = 600.0  # of what the other side asks for

    def pause(self, attempts: int, chance: float, asked: float | None = None) -> float:
        """The pause after so many tries in vain (from 1 on). ``chance``: 0 … 1; ``asked``: by the other side."""
        if asked is not None:
            return min(max(asked, 0.0), self.most_asked)
        step = self.steps[attempts - 1] if attempts <= len(self.steps) else self.most
        return step * (1 + self.jitter * (2 * chance - 1))


@dataclass(slots=True)
class Pace:
    """At most so many messages a second: a system that comes back is not thrown over again. None: no limit."""

    per_second: float | None = None
    _free_at: float = 0.0

    def wait(self, now: float) -> float:
        """Seconds until the next may leave, which is then counted."""
        if self.per_second is None:
            return 0.0
        pause = max(0.0, self._free_at - now)
        self._free_at = max(now, self._free_at) + 1 / self.per_second
        return pause
