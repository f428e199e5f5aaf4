"""What every composition root does: settings of a deployed service, the signal to stop, errors as one line."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import uvloop

from messaging.errors import RecadoError
from messaging.loop_watch import watching_loop
from messaging.migrations import MigrationError
from messaging.settings import Settings, SettingsError
from messaging.store import NotDurable

_NEEDED = {
    "DATABASE_URL": "a service needs PostgreSQL, such as postgresql://user@host/name",
    "JWT_SECRET": "the key that signs tokens, the same for all services; a good one is made by: openssl rand -hex 32",
}


def deployed_settings(environ: Mapping[str, str]) -> Settings:
    """Settings of one service among several, which starts no database and makes no secret. Raises SettingsError."""
    for name, why in _NEEDED.items():
        if not environ.get(name, "").strip():
            raise SettingsError(f"{name}: it is missing; {why}")
    return Settings.from_environ(environ)


def stop_signal() -> asyncio.Event:
    """Set at SIGINT or SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def run_process(
    program: str,
    work: Callable[[Settings], Coroutine[Any, Any, None]],
    read_settings: Callable[[Mapping[str, str]], Settings] = deployed_settings,
    expected: tuple[type[Exception], ...] = (),
) -> None:
    """Run a program to its end. A failed start ends it with one line that says what to do, and exit code 1."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    failures: tuple[type[Exception], ...] = (SettingsError, MigrationError, NotDurable, RecadoError, OSError, *expected)
    cause: BaseException | None = None
    try:
        uvloop.run(_watched(work(read_settings(os.environ))))
    except* failures as group:
        cause = group
    while isinstance(cause, BaseExceptionGroup):  # what several tasks met has one cause, the first
        cause = cause.exceptions[0]
    if cause is not None:
        taken = isinstance(cause, OSError) and cause.errno == errno.EADDRINUSE
        advice = " Another program has this port: choose others with WS_PORT and API_PORT." if taken else ""
        sys.exit(f"{program}: {cause}{advice}")


async def _watched(work: Coroutine[Any, Any, None]) -> None:
    with watching_loop():
        await work
