"""The last limit of a stop: the process ends in time, whatever clients, databases and brokers do."""

from __future__ import annotations

import _thread
import asyncio
import logging
import os
import threading
import time
from collections import Counter

log = logging.getLogger(__name__)

SAYING = 1.0  # seconds that the last line of the log may take: its reader may stand still, too


class StopLimit:
    """From `start` on the process has ``seconds``. A thread counts them: the loop itself may be what stands."""

    def __init__(self, seconds: float) -> None:
        self.settled = True  # nothing that was taken in waits for its answer: it may end with 0
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._started = False

    def start(self, within: float | None = None) -> None:
        """Once is enough; later, ``within`` may only shorten it.

        May be called by a signal's handler: `threading` has locks that it may have interrupted.
        """
        if not self._started or within is not None:
            self._started = True
            _thread.start_new_thread(self._count, (min(self._seconds, within or self._seconds),))

    def _count(self, seconds: float) -> None:
        time.sleep(seconds)
        saying = threading.Thread(target=self._say, daemon=True)
        saying.start()
        saying.join(SAYING)
        os._exit(0 if self.settled else 1)

    def _say(self) -> None:
        log.error(
            "the time for stopping (STOP_SECONDS, %g) is over: ending at once, %s. Still under way: %s", self._seconds,
            "all that was acknowledged is stored" if self.settled else "and senders are left without an answer",
            under_way(self._loop) or "nothing of the loop's",
        )  # fmt: skip


def under_way(loop: asyncio.AbstractEventLoop) -> str:
    """The tasks of a loop by where they are, the most frequent first; from any thread."""
    names = Counter(" > ".join(awaiting(task.get_coro())[-3:]) for task in asyncio.all_tasks(loop))
    return ", ".join(f"{count} × {name}" if count > 1 else name for name, count in names.most_common(12))


def awaiting(coroutine: object) -> list[str]:
    """The coroutines that wait for one another, the outermost first."""
    names: list[str] = []
    while (name := getattr(coroutine, "__qualname__", None)) is not None:
        names.append(name)
        coroutine = getattr(coroutine, "cr_await", None)
    return names
