"""The bus over PostgreSQL's LISTEN and NOTIFY.

NOTIFY takes a lock of the whole cluster at COMMIT, so it is never part of an append: notices are gathered for a few
milliseconds and sent in a transaction of their own, on a connection of its own. LISTEN needs a direct connection (no
pooler in transaction mode) and says nothing when it dies, so a heartbeat must come back through it.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable

from messaging.bus.remote import HEARTBEAT_SECONDS, SILENCE_SECONDS, RemoteBus
from messaging.retrying import retrying
from messaging.store.pool import Connection, connect, our_errors
from messaging.store.queries import load_queries

CHANNEL = "recado"
MAX_PAYLOAD_BYTES = 7_999  # bytes: https://www.postgresql.org/docs/current/sql-notify.html
GATHER_SECONDS = 0.005


class PostgresBus(RemoteBus):
    """Notices by NOTIFY."""

    def __init__(self, dsn: str, *, heartbeat: float = HEARTBEAT_SECONDS, silence: float = SILENCE_SECONDS) -> None:
        super().__init__(heartbeat=heartbeat, silence=silence)
        self._dsn = dsn
        self._queries = load_queries()

    async def run(self) -> None:
        """Keep both lines up until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._forever(self._listen), name="bus: listen")
            tasks.create_task(self._forever(self._send), name="bus: send")

    async def _forever(self, work: Callable[[Connection], Awaitable[None]]) -> None:
        """Do ``work`` with a connection; after a failure that passes, again with a new one."""

        async def with_connection() -> None:
            connection = await connect(self._dsn)
            try:
                with our_errors():
                    await work(connection)
            finally:
                connection.terminate()

        await retrying(with_connection, "the bus over PostgreSQL")

    async def _listen(self, connection: Connection) -> None:
        # The callback is synchronous: asyncpg makes a task of a coroutine, and tasks have no order.
        await connection.add_listener(CHANNEL, lambda _, pid, channel, payload: self.arrived(binary(payload)))
        self.line_up()
        while True:
            await asyncio.sleep(self._heartbeat / 2)
            await connection.fetch(self._queries["ping"], timeout=self._silence / 2)
            self.check_line()

    async def _send(self, connection: Connection) -> None:
        async for parcel in self.departures(GATHER_SECONDS, lambda: MAX_PAYLOAD_BYTES // 4 * 3):
            payload = base64.b64encode(parcel).decode()
            await connection.execute(self._queries["notify"], CHANNEL, payload, timeout=self._silence / 2)


def binary(payload: object) -> bytes:
    """A parcel out of what NOTIFY carries, which is text; nothing, where it is none."""
    try:
        return base64.b64decode(str(payload), validate=True)
    except ValueError:
        return b""
