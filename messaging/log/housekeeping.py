"""Retention, lifetimes, purge: small batches, in nobody's way, no head taken.

Every step deletes at most `MAX_PURGED_ROWS` rows in a transaction of its own. Inboxes whose cursors have just moved are
purged by the node that moved them, from a hint in memory; a walk over all topics, by the leader, finds what a lost hint
would have told. All of it is idempotent: a leader that is late deletes what nobody is owed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from messaging.model import MAX_LIFETIME
from messaging.retrying import retrying
from messaging.runtime.leader import run_as_leader
from messaging.settings.settings import Settings
from messaging.store.store import DEVICE_KEPT, Store

MAX_PURGED_ROWS = 1000  # rows
WALK_TOPICS = 500  # topics of the walk at a time
ROUND_SECONDS = 1.0  # seconds between rounds
KEYS_KEPT = timedelta(hours=24)
REVOCATIONS_KEPT = timedelta(seconds=MAX_LIFETIME + 86400)  # longer than a token lives, whatever clocks say
NEWS_KEPT = timedelta(days=7)
DEAD_KEPT = timedelta(days=90)
HINTS = 100_000  # inboxes; the walk finds what did not fit
LEASE = "housekeeping"


class Housekeeping:
    """Deletes what nobody is owed any more."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._inboxes: set[int] = set()
        self._walked = 0  # the walk goes on behind this topic id

    def seen(self, topic_ids: set[int]) -> None:
        """Cursors of these inboxes moved."""
        self._inboxes |= topic_ids if len(self._inboxes) < HINTS else set()

    async def run(self) -> None:
        """A round every second, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._repeat(self.purge_seen, "the purge of inboxes"))
            tasks.create_task(run_as_leader(self._store.leases, LEASE, lambda _: self._repeat(self.round, LEASE)))

    async def _repeat(self, work: Callable[[], Awaitable[None]], what: str) -> None:
        while True:
            await retrying(work, what)
            await asyncio.sleep(ROUND_SECONDS)

    async def purge_seen(self) -> None:
        """The inboxes that were hinted at, on whichever node."""
        while self._inboxes:
            some = set(list(self._inboxes)[:WALK_TOPICS])
            self._inboxes -= some  # before, not after: a cursor that moves meanwhile is a hint of its own
            await self._purge("purge_seen", list(some), DEVICE_KEPT, MAX_PURGED_ROWS)

    async def round(self) -> None:
        """Everything once: lifetimes, keys, deleted topics, and a slice of the walk."""
        await self._purge("purge_expired", MAX_PURGED_ROWS)
        await self._purge("purge_keys", KEYS_KEPT, MAX_PURGED_ROWS)
        await self._purge("purge_revocations", REVOCATIONS_KEPT)
        await self._purge("purge_tickets")
        await self._purge("purge_news", NEWS_KEPT, MAX_PURGED_ROWS)
        await self._purge("purge_dead_letters", DEAD_KEPT, MAX_PURGED_ROWS)
        await self._purge("purge_writers", MAX_PURGED_ROWS)
        for topic_id in await self._store.deleted_topics(WALK_TOPICS):
            await self._purge("purge_topic_messages", topic_id, MAX_PURGED_ROWS)
            await self._purge("purge_topic_keys", topic_id, MAX_PURGED_ROWS)
            await self._purge("purge_topic", topic_id)
        await self._walk()

    async def _purge(self, name: str, *args: object) -> None:
        """Repeat one purge until it finds less than a batch."""
        while await self._store.purge(name, *args) >= MAX_PURGED_ROWS:
            pass

    async def _walk(self) -> None:
        topics = await self._store.topics_slice(self._walked, WALK_TOPICS)
        inboxes = [topic_id for topic_id, kind in topics if kind == "direct"]
        others = [topic_id for topic_id, kind in topics if kind != "direct"]
        await self._purge("purge_seen", inboxes, DEVICE_KEPT, MAX_PURGED_ROWS)
        await self._purge("purge_aged", others, self._settings.retention, MAX_PURGED_ROWS)
        self._walked = topics[-1][0] if len(topics) == WALK_TOPICS else 0
