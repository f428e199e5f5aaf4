"""Connections to PostgreSQL, and which of its failures pass by themselves."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from messaging.errors import Unavailable
from messaging.queries import load_queries

COMMAND_TIMEOUT = 30.0  # seconds
CONNECT_TIMEOUT = 5.0
ACQUIRE_TIMEOUT = 10.0

# Classes 08 and 53: connection, resources (a full disk passes when there is room); 25006: read-only, as in a failover;
# 57014: cancelled; 40001, 40P01: try again; 55P03: lock timeout;
# 57P01 … 57P03: shut down, crashed, starting. https://www.postgresql.org/docs/current/errcodes-appendix.html
_PASSING_STATES = frozenset({"25006", "40001", "40P01", "55P03", "57014", "57P01", "57P02", "57P03"})
_SYNTAX_ERRORS = (asyncpg.DataError, asyncpg.exceptions.UnsupportedClientFeatureError)


class Connection(asyncpg.Connection):
    """A connection that keeps no state of a session: nothing to reset when it goes back to the pool."""

    def get_reset_query(self) -> str:
        return ""


def is_passing(exc: BaseException) -> bool:
    """Whether a failure is of the kind that ends by itself, so that the same statement may be sent again."""
    if isinstance(exc, asyncpg.InvalidCachedStatementError):
        return True  # the schema changed below a prepared statement; it is prepared again
    if isinstance(exc, asyncpg.PostgresError):
        state = str(exc.sqlstate)
        return state in _PASSING_STATES or state.startswith(("08", "53"))
    if isinstance(exc, asyncpg.InterfaceError):
        return not isinstance(exc, _SYNTAX_ERRORS) and "clos" in str(exc)
    return isinstance(exc, OSError | TimeoutError | Unavailable | asyncpg.InternalClientError)


def backoff(attempt: int, base: float = 0.05, cap: float = 2.0) -> float:
    """Seconds before the next try: full jitter, at most ``cap``."""
    return random.uniform(0, min(cap, base * 2.0 ** min(attempt, 16)))


def pauses() -> Iterator[float]:
    """Endless pauses between tries, growing."""
    attempt = 0
    while True:
        yield backoff(attempt)
        attempt += 1


async def connect(dsn: str) -> Connection:
    """One connection outside of the pool.

    Raises:
        Unavailable: the database can't be reached.
    """
    try:
        connection = await asyncpg.connect(
            dsn, connection_class=Connection, timeout=CONNECT_TIMEOUT, command_timeout=COMMAND_TIMEOUT
        )
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as exc:
        raise Unavailable(f"PostgreSQL can't be reached ({type(exc).__name__}: {exc}). Check DATABASE_URL.") from exc
    assert isinstance(connection, Connection)
    return connection


class Pool:
    """Named statements over a bounded pool of connections."""

    def __init__(self, dsn: str, size: int = 8) -> None:
        self._dsn = dsn
        self._size = size
        self._queries = load_queries()
        self._pool: asyncpg.Pool | None = None

    async def open(self) -> None:
        # The first connection tells, in words, why there is none; the pool would retry in silence.
        await (await connect(self._dsn)).close()
        self._pool = await asyncpg.create_pool(
            self._dsn, min_size=0, max_size=self._size, connection_class=Connection,
            timeout=CONNECT_TIMEOUT, command_timeout=COMMAND_TIMEOUT, max_inactive_connection_lifetime=0,
        )  # fmt: skip

    async def close(self) -> None:
        if self._pool is not None:
            try:
                async with asyncio.timeout(5):
                    await self._pool.close()
            except TimeoutError:
                self._pool.terminate()

    def text(self, name: str) -> str:
        return self._queries[name]

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection for a transaction. Failures pass through as they are.

        Cancelling is safe: the pool waits for the statement under way to be cancelled.
        """
        assert self._pool is not None, "open() comes first"
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as proxy:
            yield proxy

    async def fetch(self, name: str, *args: Any) -> list[asyncpg.Record]:
        """Rows of a named statement, which must be harmless to send again.

        A failure that passes is tried again three times at most.

        Raises:
            Unavailable: it did not pass in time.
        """
        for attempt in range(4):
            try:
                async with self.connection() as connection:
                    rows: list[asyncpg.Record] = await connection.fetch(self._queries[name], *args)
                    return rows
            except Exception as exc:
                if not is_passing(exc):
                    raise
                if attempt == 3:
                    raise Unavailable(f"The database does not answer ({type(exc).__name__}). Try again.") from exc
            await asyncio.sleep(backoff(attempt, base=0.2))
        raise AssertionError("unreachable")

    async def row(self, name: str, *args: Any) -> asyncpg.Record | None:
        rows = await self.fetch(name, *args)
        return rows[0] if rows else None

    async def value(self, name: str, *args: Any) -> Any:
        row = await self.row(name, *args)
        return None if row is None else row[0]

    async def count(self, name: str, *args: Any) -> int:
        """How many rows a DELETE or UPDATE touched. Tried once: what it missed, its next turn does."""
        async with self.connection() as connection:
            status: str = await connection.execute(self._queries[name], *args)
        return int(status.rsplit(" ", 1)[1])
