"""How far something has come, on a terminal; nothing where there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO

WIDTH = 30  # characters
EVERY_SECONDS = 0.1  # seconds


def bar(share: float, count: int, per_second: float) -> str:
    """One line. ``share``: 0 … 1."""
    full = round(WIDTH * share)
    return f"{'█' * full}{'░' * (WIDTH - full)} {share:4.0%}  {count:,} messages, {per_second:,.0f}/s"


class Progress:
    """A bar from one number to another. ``clock`` gives seconds."""

    def __init__(self, stream: TextIO, first: int, last: int, clock: Callable[[], float]) -> None:
        self._stream = stream
        self._first, self._last = first, last
        self._clock = clock
        self._began = clock()
        self._shown = float("-inf")
        self._at = first
        self._count = 0

    def show(self, at: int, count: int) -> None:
        """It is at this number now, after ``count`` messages more."""
        self._at = at
        self._count += count
        if self._clock() >= self._shown + EVERY_SECONDS:
            self._draw()

    def end(self) -> None:
        self._draw()
        if self._stream.isatty():
            print(file=self._stream)

    def _draw(self) -> None:
        self._shown = self._clock()
        if self._stream.isatty():
            share = (self._at - self._first) / max(1, self._last - self._first)
            rate = self._count / max(0.001, self._shown - self._began)
            print(f"\r{bar(min(1.0, share), self._count, rate)}\x1b[K", end="", file=self._stream, flush=True)
