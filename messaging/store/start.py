"""The database at a start: reached within a bounded time, and fit for Recado, before anything is made in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import asyncpg

from messaging.errors import StatementFailed, Unavailable
from messaging.retrying import retrying
from messaging.settings.settings import SettingsError
from messaging.store.pool import Connection, connect, our_errors
from messaging.store.queries import load_queries

T = TypeVar("T")

START_SECONDS = 30.0  # seconds in which a start tries again what is transient
LOCK_TIME = 2.0  # seconds that one try waits for a lock
OLDEST_POSTGRES = 140000
CLOSE_TIME = 5.0

_WRONG_NAMES = ("28", "3D000", "42501")  # who we are, which database, whether we may connect: waiting mends none
_MADE_MEANWHILE = ("23505", "42P06", "42P07", "42710")  # IF NOT EXISTS sees only what is committed


class NotDurable(Exception):
    """The database may lose what it has committed; the text says which setting and what to do."""


def in_one_line(exc: BaseException | None) -> str:
    """What PostgreSQL says, without the lines' ends before its DETAIL and HINT."""
    return " ".join(str(exc).split())


async def patiently(work: Callable[[], Awaitable[T]], what: str, patience: float) -> T:
    """What ``work`` returns, tried again while it is Unavailable; after ``patience`` seconds no more.

    Raises:
        SettingsError: it was in vain. Whatever else ``work`` raises passes through.
    """
    loop = asyncio.get_running_loop()
    ends = loop.time() + patience

    async def once() -> T:
        try:
            return await work()
        except Unavailable as exc:
            if loop.time() >= ends:
                waited = f"DATABASE_URL: {what} waited for {patience:.0f} s in vain."
                raise SettingsError(f"{waited} {in_one_line(exc)}") from exc
            raise

    return await retrying(once, what)


async def reach(dsn: str) -> Connection:
    """A connection.

    Raises:
        Unavailable: there is none now; there may be later.
        SettingsError: the address is none, or the server does not know who or what it names.
    """
    try:
        return await connect(dsn)
    except Unavailable as exc:
        cause = exc.__cause__
        state = str(getattr(cause, "sqlstate", None) or "")
        if isinstance(cause, asyncpg.exceptions.ClientConfigurationError) or state.startswith(_WRONG_NAMES):
            raise SettingsError(f"DATABASE_URL: {in_one_line(cause)}") from exc
        raise
    except ValueError as exc:  # a port that is no number
        raise SettingsError(f"DATABASE_URL: it is no address that can be used: {exc}") from exc


@asynccontextmanager
async def starting(dsn: str) -> AsyncIterator[Connection]:
    """A connection in a transaction of its own, which waits for no lock longer than `LOCK_TIME`.

    Cancelling is safe: nothing rolls back but the end of the connection, which waits for nobody.

    Raises:
        Unavailable: it is lost, or somebody holds a lock; trying again is harmless.
        StatementFailed: the database refuses what was done inside.
    """
    connection = await reach(dsn)
    try:
        with our_errors():
            transaction = connection.transaction()
            await transaction.start()
            await connection.fetch(load_queries()["lock_patience"], f"{LOCK_TIME:.0f}s")
            yield connection
            await transaction.commit()
            await connection.close(timeout=CLOSE_TIME)
    except Unavailable as exc:
        if getattr(exc.__cause__, "sqlstate", None) == "55P03":
            raise Unavailable(
                "Somebody holds a lock in the schema recado: another node that brings the database up to date, or a"
                " transaction of yours (pg_blocking_pids)."
            ) from exc
        raise
    except StatementFailed as exc:
        if exc.sqlstate in _MADE_MEANWHILE:
            raise Unavailable("Another node makes the schema recado at this moment.") from exc
        raise
    finally:
        connection.terminate()


async def check_fitness(connection: Connection, *, unsafe: bool) -> None:
    """Whether messages may be kept in this database.

    Raises:
        SettingsError: it is too old, or can't hold every character.
        NotDurable: an answered COMMIT could be lost, and ``unsafe`` does not allow it.
        Unavailable: nothing can be written into it now, as on a standby.
    """
    row = await connection.fetchrow(load_queries()["fitness"])
    assert row is not None
    if row["version"] < OLDEST_POSTGRES:
        raise SettingsError(f"DATABASE_URL: its PostgreSQL is {row['version'] // 10000}; Recado needs 14 or newer")
    if row["encoding"] != "UTF8":
        raise SettingsError(
            f"DATABASE_URL: the database's encoding is {row['encoding']}, which can't hold every message; Recado needs"
            " one made with: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )
    for name in ("fsync", "full_page_writes"):
        if row[name] != "on" and not unsafe:
            raise NotDurable(
                f"DATABASE_URL: PostgreSQL runs with {name}={row[name]}: a crash may lose messages that were"
                f" acknowledged. Set {name}=on there, or start with UNSAFE_DURABILITY=1 to accept that."
            )
    if row["read_only"] == "on":
        raise Unavailable("The database in DATABASE_URL is read-only: is it a standby?")
