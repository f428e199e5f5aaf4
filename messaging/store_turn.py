"""Turns: what one process at a time does, for as long as its line to the database lives."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from messaging.errors import Unavailable
from messaging.queries import load_queries
from messaging.retrying import backoff_delays
from messaging.store_pool import Connection, connect, our_errors

log = logging.getLogger(__name__)

ASK_EVERY = 1.0  # seconds, while another process has the turn
CHECK_EVERY = 3.0  # seconds, while we have it
CHECK_TIMEOUT = 5.0


class TurnLost(Exception):
    """The line that held the turn has broken: another process may have it now."""


async def take_turns(dsn: str, lock: int, work: Callable[[], Awaitable[None]]) -> None:
    """Do ``work`` whenever this process has the turn, until cancelled. It is cancelled where the turn is lost.

    Two processes may overlap for some seconds where a line has broken: what is done in a turn must bear a repetition.
    Whatever ``work`` raises passes through.
    """
    for pause in backoff_delays():
        try:
            await _one_turn(dsn, lock, work)
            return
        except (TurnLost, Unavailable) as exc:
            log.warning("the turn is lost, asking again: %s", exc)
        await asyncio.sleep(pause)


async def _one_turn(dsn: str, lock: int, work: Callable[[], Awaitable[None]]) -> None:
    connection = await connect(dsn)
    try:
        await _wait_for_turn(connection, lock)
        job = asyncio.ensure_future(work())
        check = asyncio.ensure_future(_check(connection))
        try:
            await asyncio.wait((job, check), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (job, check):
                task.cancel()
            done = await asyncio.gather(job, check, return_exceptions=True)
        failure = done[0]
        if isinstance(failure, BaseException) and not isinstance(failure, asyncio.CancelledError):
            raise failure
        if isinstance(failure, asyncio.CancelledError):
            raise TurnLost("the line to the database has broken")
    finally:
        connection.terminate()


async def _wait_for_turn(connection: Connection, lock: int) -> None:
    while True:
        with our_errors():
            if await connection.fetchval(load_queries()["turn_take"], lock):
                return
        await asyncio.sleep(ASK_EVERY)


async def _check(connection: Connection) -> None:
    """Returns once the line is dead."""
    with suppress(Unavailable), our_errors():
        while True:
            await asyncio.sleep(CHECK_EVERY)
            await connection.fetchval(load_queries()["ping"], timeout=CHECK_TIMEOUT)
