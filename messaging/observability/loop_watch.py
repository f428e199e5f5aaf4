"""Watches the event loop of this process: how late it is, and where it stands while it does."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

log = logging.getLogger(__name__)

BEAT = 0.1  # seconds between two signs of life of the loop
STANDS = 0.5  # seconds without one after which the log says where it stands
WINDOW_SECONDS = 15.0  # seconds; the lag is the worst of the last one or two of them

_watch: ContextVar[LoopWatch] = ContextVar("loop_watch")


class LoopWatch:
    """The loop gives a sign of life by one timer; a thread looks for it."""

    def __init__(self, stands: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._stands = stands
        self._due = time.monotonic()  # the next sign
        self._told = 0.0  # the sign whose absence was logged
        self._window = self._due + WINDOW_SECONDS
        self._worst = (0.0, 0.0)  # in the window before, in this one
        self._over = threading.Event()
        self._beat()
        self._thread = threading.Thread(target=self._look, name="loop watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._timer.cancel()
        self._over.set()
        self._thread.join()

    def lag(self) -> float:
        """The most seconds that a turn came late, lately."""
        return max(self._worst)

    def _beat(self) -> None:
        now = time.monotonic()
        late = max(0.0, now - self._due)
        if now > self._window:
            self._worst, self._window = (self._worst[1], 0.0), now + WINDOW_SECONDS
        self._worst = (self._worst[0], max(self._worst[1], late))
        if late > 2 * self._stands and self._told != self._due:
            log.warning("the event loop stood for %.1f s; something held the interpreter, so nobody saw where", late)
        self._due = now + BEAT
        self._timer = self._loop.call_later(BEAT, self._beat)

    def _look(self) -> None:
        patience = self._stands
        while not self._over.wait(self._stands / 2):
            due = self._due
            late = time.monotonic() - due
            if due != self._told:
                patience = self._stands
            if late >= patience:
                self._told, patience = due, 2 * late
                self._tell(late)

    def _tell(self, late: float) -> None:
        task = asyncio.current_task(self._loop)
        frame = sys._current_frames().get(self._thread_id)
        stack = "".join(traceback.format_stack(frame))
        name = "no task" if task is None else f"task {task.get_name()}"
        log.warning("the event loop has been standing for %.1f s, in %s:\n%s", late, name, stack)


@contextmanager
def watching_loop(stands: float = STANDS) -> Iterator[LoopWatch]:
    """Watch the running loop. ``stands``: seconds after which a standstill is logged, then each time it has doubled."""
    watch = LoopWatch(stands)
    token = _watch.set(watch)
    try:
        yield watch
    finally:
        _watch.reset(token)
        watch.close()


def lag_of_this_loop() -> Callable[[], float]:
    """What tells the lag, in seconds, of the loop that is watched in this context; 0 where none is."""
    watch = _watch.get(None)
    return (lambda: 0.0) if watch is None else watch.lag
