"""What an operator asks of the store: how much there is, where it is busy, who is behind.

Every reading is bounded: it walks over the heads (one narrow row per topic) and then looks closer at a few of them. No
message is counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from messaging.model import Kind
from messaging.store.pool import Pool

RECENT = 100  # topics, the last ones written to, among which the busiest are looked for
SAMPLE = 200  # messages of each of them
LONGEST = 50  # topics, those with the most messages ever, among whose members those behind are looked for
CROWD = 1000  # members of each of them


@dataclass(frozen=True, slots=True)
class Totals:
    """All logs together. ``kept`` is an estimate, and None until PostgreSQL has made one."""

    at: datetime  # by the database's clock
    appended: int  # ever, in the topics that there are
    topics: int  # inboxes included
    kept: int | None
    bytes: int  # on disk, of messages and their indexes


@dataclass(frozen=True, slots=True)
class Busy:
    """A topic that was written to within the last minute."""

    name: str
    kind: Kind
    last_seq: int
    per_minute: float


@dataclass(frozen=True, slots=True)
class Behind:
    """A member, and what none of its devices has confirmed. ``oldest_at``: when the first of that was sent."""

    name: str
    topic: str
    pending: int
    oldest_at: datetime | None


class Overview:
    """Readings over a pool that is open. They may be cancelled."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def totals(self) -> Totals:
        row = await self._pool.row("overview_totals")
        assert row is not None
        return Totals(**row)

    async def busiest(self, limit: int) -> list[Busy]:
        """The topics with the most messages in the last minute, most first."""
        return [Busy(**row) for row in await self._pool.fetch("overview_busiest", RECENT, SAMPLE, limit)]

    async def behind(self, limit: int) -> list[Behind]:
        """The members that are furthest behind, furthest first."""
        return [Behind(**row) for row in await self._pool.fetch("overview_behind", LONGEST, CROWD, limit)]
