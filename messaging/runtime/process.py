"""What every composition root does: settings of a deployed service, the request to stop, failures as one line."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from typing import Any

import uvloop

from messaging.errors import RecadoError
from messaging.limits.descriptors import raise_descriptor_limit
from messaging.observability.log_lines import TEXT, write_log
from messaging.observability.loop_watch import watching_loop
from messaging.runtime.plain_text import say, speak_plainly
from messaging.runtime.stopping import StopLimit
from messaging.settings.settings import Settings, SettingsError
from messaging.store.migrations import MigrationError
from messaging.store.start import NotDurable

LINGER = 3.0  # seconds between the end of a program's work and the end of its process

log = logging.getLogger(__name__)

_NEEDED = {
    "DATABASE_URL": "a service needs PostgreSQL, such as postgresql://user@host/name",
    "JWT_SECRET": "the key that signs tokens, the same for all services; a good one is made by: openssl rand -hex 32",
}
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def deployed_settings(environ: Mapping[str, str], needed: Iterable[str] = tuple(_NEEDED)) -> Settings:
    """Settings of one service among several, which starts no database and makes no secret. Raises SettingsError."""
    for name in needed:
        if not environ.get(name, "").strip():
            raise SettingsError(f"{name}: it is missing; {_NEEDED[name]}")
    return Settings.from_environ(environ)


class Stop:
    """The wish to stop. Before `ready` it cancels the start, wherever that is; after it, the program drains.

    From then on, and where the program ends by itself, there is a limit: STOP_SECONDS, whatever its peers do.
    """

    def __init__(self, starting: asyncio.Task[Any] | None, limit: StopLimit) -> None:
        self._starting = starting
        self.limit = limit
        self._asked = asyncio.Event()

    @property
    def asked(self) -> bool:
        return self._asked.is_set()

    def ask(self) -> None:
        """Asking again changes nothing: a stop is bounded, and hurrying it would lose what it stores."""
        self.limit.start()
        if self._starting is not None and not self.asked:
            self._starting.cancel()
        self._asked.set()

    def ready(self) -> None:
        """The start is over. It is said on standard output, for whoever waits for it."""
        self._starting = None
        self.limit.settled = False
        say("ready")

    async def wait(self) -> None:
        """Until somebody asks. Cancelling is safe, and means that the program ends by itself."""
        try:
            await self._asked.wait()
        finally:
            self.limit.start()

    def settle(self, settled: bool) -> None:
        """Say whether all that was taken in has its answer, and every confirmation is stored: else the end is a 1."""
        self.limit.settled = settled
        if not settled:
            log.warning("stopped before everything in flight was stored; its senders have had no answer")


Work = Callable[[Settings, Stop], Coroutine[Any, Any, None]]


def run_process(
    program: str,
    work: Work,
    read_settings: Callable[[Mapping[str, str]], Settings] = deployed_settings,
    expected: tuple[type[Exception], ...] = (),
) -> None:
    """Run a program to its end. A failed start ends it with one line that says what to do, and exit code 1.

    A stop ends with 0, in time or cut off, unless something in flight was left without an answer: then with 1.

    SIGINT, SIGTERM and SIGHUP ask it to stop; whoever ignored SIGHUP before (nohup) goes on ignoring it.
    A task that was cancelled and does not end keeps no process alive.
    """
    raise_descriptor_limit()
    speak_plainly()
    logging.basicConfig(level=logging.INFO, format=TEXT)
    failures: tuple[type[Exception], ...] = (SettingsError, MigrationError, NotDurable, RecadoError, OSError, *expected)
    cause: BaseException | None = None
    settled = True
    try:
        settings = read_settings(os.environ)
        write_log(settings.log_format)
        settled = uvloop.run(_until_stopped(work, settings))
    except* failures as group:
        cause = group
    finally:
        for number in _SIGNALS:  # one that comes now would turn a clean end into a death by signal
            signal.signal(number, signal.SIG_IGN)
    while isinstance(cause, BaseExceptionGroup):  # what several tasks met has one cause, the first
        cause = cause.exceptions[0]
    if cause is not None:
        sys.exit(f"{program}: {cause}")
    if not settled:
        sys.exit(1)


async def _until_stopped(work: Work, settings: Settings) -> bool:
    """Whether all that was taken in has had its answer."""
    stop = Stop(asyncio.current_task(), StopLimit(settings.stop_seconds))
    loop = asyncio.get_running_loop()

    def asked(*_: object) -> None:
        stop.limit.start()  # here, where the loop may stand
        with suppress(RuntimeError):  # the loop is closed: the end is near anyway
            loop.call_soon_threadsafe(stop.ask)

    # Not the loop's own handlers, which are gone while the loop is closed.
    for number in _SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, asked)
    try:
        with watching_loop():
            await work(settings, stop)
    except asyncio.CancelledError:
        if not stop.asked:
            raise
    except BaseException:
        stop.limit.settled = False
        raise
    finally:
        stop.limit.start(LINGER)  # the loop waits for every task to heed its cancellation; some library never may
    return stop.limit.settled
