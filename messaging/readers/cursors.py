"""Confirmations on their way to the store: gathered, the highest per cursor, moved in batches within 500 ms."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from messaging.errors import Unavailable
from messaging.retrying import retrying
from messaging.store.store import Move, Store

FLUSH_EVERY = 0.3  # seconds; a flush may take the rest of the 500 ms
MAX_MOVES = 5000


class Cursors:
    """The confirmed positions that are not yet in the store."""

    def __init__(self, store: Store, seen: Callable[[set[int]], None]) -> None:
        """``seen`` hears of inboxes whose cursors moved: what all have seen there may go."""
        self._store = store
        self._seen = seen
        self._moves: dict[tuple[int, int, str], int] = {}
        self._flushing = asyncio.Lock()
        self._some = asyncio.Event()

    def move(self, topic_id: int, membership_id: int, device: str, seq: int) -> None:
        """Note a confirmation; only the highest of a cursor counts."""
        cursor = (topic_id, membership_id, device)
        self._moves[cursor] = max(seq, self._moves.get(cursor, 0))
        self._some.set()

    def forget(self) -> None:
        """Let go of what is noted: it was confirmed of other logs."""
        self._moves.clear()

    async def run(self) -> None:
        """Flush now and then, until cancelled. While the database is away, confirmations wait here."""
        while True:
            await self._some.wait()
            await asyncio.sleep(FLUSH_EVERY)
            await retrying(self.flush, "storing confirmations")

    async def settle(self) -> None:
        """Flush what is noted, so that a session that opens now starts where the one before it ended.

        While the database is away this does nothing: what was confirmed may then be delivered again.
        """
        if self._moves:
            with suppress(Unavailable):
                await self.flush()

    async def flush(self) -> None:
        """Move every cursor noted until now. Cancelling is safe: what was not moved stays noted.

        Raises:
            Unavailable: likewise.
        """
        async with self._flushing:
            while self._moves:
                batch = dict(list(self._moves.items())[:MAX_MOVES])
                inboxes = await self._store.move_cursors([Move(*cursor, seq) for cursor, seq in batch.items()])
                for cursor, seq in batch.items():
                    if self._moves.get(cursor) == seq:
                        del self._moves[cursor]
                self._seen(inboxes)
            self._some.clear()
