"""Connections to PostgreSQL. What its driver raises stops here: as `Unavailable` where it is transient, or as a defect.

A line that has fallen silent is closed, never spoken to: whatever is said on it (a ROLLBACK, a cancel request) would
wait as long again. The kernel on both sides gives a silent peer up within 5 seconds, and PostgreSQL a transaction of
ours in which nothing happens any more; what a proxy hides from both, `STATEMENT_TIME` ends.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import asyncpg

from messaging.errors import StatementFailed, Unavailable
from messaging.retrying import retrying
from messaging.store.queries import load_queries

SILENCE_SECONDS = 5  # seconds after which a silent peer has gone, on both sides
STATEMENT_TIME = 20.0  # seconds for all that is done on a connection of the pool in one go
CONNECT_TIMEOUT = 5.0
ACQUIRE_TIMEOUT = 10.0
MAX_TRIES = 4  # of a statement that is harmless to repeat

# Classes 08 and 53: connection, resources (a full disk passes when there is room); 25006: read-only, as in a failover;
# 25P03: our transaction was idle for too long; 57014: cancelled; 40001, 40P01: try again; 55P03: lock timeout;
# 57P01 … 57P05: shut down, crashed, starting. https://www.postgresql.org/docs/current/errcodes-appendix.html
_TRANSIENT_STATES = frozenset(
    {"25006", "25P03", "40001", "40P01", "55P03", "57014", "57P01", "57P02", "57P03", "57P05"}
)
_MISUSE = (asyncpg.DataError, asyncpg.exceptions.UnsupportedClientFeatureError)

# Of every session of ours. A plan made while a table was empty would scan it for ever as it grows. Only pg_catalog is
# looked in: a function of the same name that somebody else made is not ours.
_SESSION = {
    "application_name": "recado",
    "search_path": "pg_catalog",
    "default_transaction_isolation": "read committed",  # each statement behind a lock sees what its last holder did
    "enable_seqscan": "off",
    "statement_timeout": "0",  # an append is never cancelled; all else has `time_limit`
    "idle_in_transaction_session_timeout": f"{SILENCE_SECONDS}s",
    "tcp_user_timeout": f"{SILENCE_SECONDS}s",
    "tcp_keepalives_idle": "2",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": str(SILENCE_SECONDS - 2),
}
_KEEPALIVE = {
    "TCP_KEEPIDLE": 2, "TCP_KEEPINTVL": 1, "TCP_KEEPCNT": SILENCE_SECONDS - 2,
    "TCP_USER_TIMEOUT": SILENCE_SECONDS * 1000,
}  # fmt: skip


class Connection(asyncpg.Connection):
    """A connection with no state of a session, so that the pool resets nothing; it notices a peer that has gone."""

    def __init__(self, protocol: Any, transport: asyncio.Transport, *rest: Any) -> None:
        super().__init__(protocol, transport, *rest)
        _notice_silence(transport.get_extra_info("socket"))

    def get_reset_query(self) -> str:
        return ""


def _notice_silence(line: Any) -> None:
    if line is None or line.family not in (socket.AF_INET, socket.AF_INET6):
        return
    with socket.socket(fileno=os.dup(line.fileno())) as sock:  # the loop's own object may offer less
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if (option := getattr(socket, name, None)) is not None:  # not every system has all
                sock.setsockopt(socket.IPPROTO_TCP, option, value)


@contextmanager
def our_errors() -> Iterator[None]:
    """What the driver raises inside, as ours: Unavailable, StatementFailed."""
    try:
        yield
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError) as exc:
        if _is_transient(exc):
            raise Unavailable(f"The database does not answer ({_words(exc)}). Try again.") from exc
        raise StatementFailed(_words(exc), getattr(exc, "sqlstate", None) or "") from exc


def _is_transient(exc: Exception) -> bool:
    if isinstance(exc, asyncpg.InvalidCachedStatementError):
        return True  # the schema changed below a prepared statement; it is prepared again
    if isinstance(exc, asyncpg.PostgresError):
        state = str(exc.sqlstate)
        return state in _TRANSIENT_STATES or state.startswith(("08", "53"))
    if isinstance(exc, asyncpg.InterfaceError):
        return not isinstance(exc, _MISUSE) and "clos" in str(exc)
    return True


def _words(exc: Exception) -> str:
    return f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__


async def connect(dsn: str) -> Connection:
    """One connection outside of the pool.

    Raises:
        Unavailable: the database can't be reached.
    """
    try:
        connection = await asyncpg.connect(
            dsn, connection_class=Connection, timeout=CONNECT_TIMEOUT, server_settings=_SESSION
        )
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as exc:
        raise Unavailable(f"PostgreSQL can't be reached ({_words(exc)}). Check DATABASE_URL.") from exc
    except asyncpg.InternalClientError as exc:  # as in a failover
        raise Unavailable(f"None of the hosts in DATABASE_URL is what target_session_attrs asks for ({exc}).") from exc
    assert isinstance(connection, Connection)
    return connection


@contextmanager
def time_limit(connection: Connection, seconds: float) -> Iterator[None]:
    """Closes the connection where what is done inside takes longer: it fails then as on any lost line."""
    timer = asyncio.get_running_loop().call_later(seconds, connection.terminate)
    try:
        yield
    finally:
        timer.cancel()


class Pool:
    """Named statements over a bounded pool of connections."""

    def __init__(self, dsn: str, size: int = 8) -> None:
        self._dsn = dsn
        self._size = size
        self._queries = load_queries()
        self._pool: asyncpg.Pool | None = None
        self.greet: Callable[[Connection], Awaitable[None]] | None = None  # before all else that is said on a new one

    async def open(self) -> None:
        # The first connection tells, in words, why there is none; the pool would retry in silence.
        await (await connect(self._dsn)).close()
        self._pool = await asyncpg.create_pool(
            self._dsn, min_size=0, max_size=self._size, connection_class=Connection, server_settings=_SESSION,
            timeout=CONNECT_TIMEOUT, max_inactive_connection_lifetime=0, init=self.greet,
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
        """A connection for one transaction, of `STATEMENT_TIME` at most.

        Cancelling is safe: the connection is closed, which undoes what was not committed.

        Raises:
            Unavailable: there is none, or it was lost; what was under way may have been done.
            StatementFailed: the database refuses what was done inside.
        """
        assert self._pool is not None, "open() comes first"
        with our_errors():
            async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as proxy:
                try:
                    with time_limit(proxy, STATEMENT_TIME):
                        yield proxy
                except asyncio.CancelledError:
                    proxy.terminate()  # else the pool would wait for a cancel request to be answered, on whatever line
                    raise

    async def fetch(self, name: str, *args: Any) -> list[asyncpg.Record]:
        """Rows of a named statement, which must be harmless to send again: what is transient is tried four times.

        Raises:
            Unavailable: it did not pass in time.
        """
        return await retrying(partial(self._fetch, name, args), name, tries=MAX_TRIES, base=0.2)

    async def _fetch(self, name: str, args: tuple[Any, ...]) -> list[asyncpg.Record]:
        async with self.connection() as connection:
            rows: list[asyncpg.Record] = await connection.fetch(self._queries[name], *args)
            return rows

    async def row(self, name: str, *args: Any) -> asyncpg.Record | None:
        rows = await self.fetch(name, *args)
        return rows[0] if rows else None

    async def value(self, name: str, *args: Any) -> Any:
        row = await self.row(name, *args)
        return None if row is None else row[0]
