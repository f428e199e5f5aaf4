"""What the database is now, as the epochs tell it: looked at before anything is asked on a new connection, as after a
failover, and every few seconds. What a process knew of logs (positions, confirmations) is void once it has changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from messaging.errors import Conflict, Unavailable
from messaging.model import Topic
from messaging.retrying import retrying
from messaging.store.epochs import LogIdentity, epoch_of
from messaging.store.pool import Connection, Pool

LOOK_EVERY = 2.0  # seconds: a counter is raised without a new connection


class Epochs:
    """The epochs of this database. `look` comes first."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._identity: LogIdentity | None = None
        self._told: list[Callable[[], None]] = []
        pool.greet = self._greet

    def attach(self, told: Callable[[], None]) -> None:
        """Call ``told`` in the very step in which the epochs change: nothing that was read before holds."""
        self._told.append(told)

    @property
    def identity(self) -> LogIdentity:
        assert self._identity is not None, "look() comes first"
        return self._identity

    def of(self, topic: Topic) -> str:
        return epoch_of(topic, self.identity)

    def require(self, topic: Topic, given: str | None) -> str:
        """The epoch of a topic. Raises Conflict where a seq of it was ``given`` with another one."""
        epoch = self.of(topic)
        if given not in (None, epoch):
            raise Conflict(f"This seq is of another log: the epoch of {topic.name} is {epoch} now. Begin anew.")
        return epoch

    async def look(self) -> None:
        """Raises Unavailable."""
        self._note(await self._pool.row("log_identity"))

    async def run(self) -> None:
        """Look now and then, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            await retrying(self.look, "looking at the epochs")

    async def restored(self, known: LogIdentity) -> None:
        """Raise the counter, unless somebody has since it was as ``known``: every topic has another epoch. Lasts until
        that is stored."""
        await retrying(lambda: self._pool.fetch("epochs_raise", known.restored), "raising the epochs")
        await retrying(self.look, "looking at the epochs")

    async def _greet(self, connection: Connection) -> None:
        """Raises Unavailable where the database is another one: what is under way was meant for the one before."""
        if self._note(await connection.fetchrow(self._pool.text("log_identity"))):
            raise Unavailable("The database was restored, or has failed over. Try again.")

    def _note(self, row: Any) -> bool:
        """Whether it is another one than was known."""
        before, self._identity = self._identity, LogIdentity(row["installation"], row["incarnation"], row["restored"])
        if before in (None, self._identity):
            return False
        for told in self._told:
            told()
        return True
