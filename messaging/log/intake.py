"""Takes into the logs what applications publish by SQL, in their own transactions (`recado.publish`).

One node at a time, the leader, looks every 20 ms. Rows are taken in the order of their ids, up to a batch, of which
every source has its share, and go in the transaction that appends their messages; what can't be appended becomes a dead
letter in the same transaction and holds up nobody.

There is no position in the intake: a transaction that was open for long commits rows with low ids, and they are simply
there. Order is kept within a transaction (its ids rise, and it has one source), not between transactions.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter

from messaging.errors import BadRequest, Conflict
from messaging.log.batch import BATCH_BYTES, answer_double, notices, without_doubles
from messaging.log.content import check_content, lifetime_of
from messaging.model import Appended, Kind
from messaging.observability.metrics import Metrics
from messaging.retrying import retrying
from messaging.runtime.leader import Lease, run_as_leader
from messaging.settings.settings import Settings
from messaging.store.append import Draft, HeadsLocked, Refused, Verdict
from messaging.store.intake import IntakeStore, Posted
from messaging.store.leases import LeaseStore

log = logging.getLogger(__name__)

LEASE = "intake"
LOOK_SECONDS = 0.02  # seconds between looks
LOOK_SHARE = 0.1  # of the time may go into looking: where that is slow, there are fewer looks
HELD_EVERY = 1.0  # seconds between looks at heads that somebody held
MAX_TAKEN_ROWS = 1000  # rows

_REASONS = {
    "unknown_topic": "The topic was deleted before the message could be stored.",
    "conflict": "The key was used for other content in this topic.",
}


@dataclass(frozen=True, slots=True)
class Good:
    """A row that can be appended."""

    posted: Posted
    draft: Draft


@dataclass(frozen=True, slots=True)
class Sorted:
    """A batch: what can be appended, its doubles with the places of what they double, and what is dead, with why."""

    good: list[Good]
    doubles: list[tuple[Good, int]]
    dead: list[tuple[Posted, str]]


def sort_out(batch: Sequence[Posted], settings: Settings) -> Sorted:
    """What of a batch can be appended, in order."""
    good: list[Good] = []
    dead: list[tuple[Posted, str]] = []
    for posted in batch:
        try:
            if posted.kind is None:
                raise BadRequest(_REASONS["unknown_topic"])
            good.append(Good(posted, draft_of(posted, posted.kind, settings)))
        except BadRequest as exc:
            dead.append((posted, exc.message))
    return Sorted(*without_doubles(good, attrgetter("draft")), dead)


def draft_of(posted: Posted, kind: Kind, settings: Settings) -> Draft:
    """``kind``: its topic's. Raises BadRequest for what may not be in a message."""
    return Draft(
        topic_id=posted.topic_id, sender=posted.sender, key=posted.key,
        content=check_content(posted.content.encode(), settings),
        ttl=lifetime_of(posted.ttl, posted.lifetime, kind, settings),
    )  # fmt: skip


def dead_of(batch: Sorted, verdicts: Sequence[Verdict]) -> list[tuple[Posted, str]]:
    """All of a batch that can't be appended, and why, once the log has said what becomes of the rest."""
    dead = list(batch.dead)
    for good, verdict in zip(batch.good, verdicts, strict=True):
        if verdict.outcome in _REASONS:
            dead.append((good.posted, _REASONS[verdict.outcome]))
    for double, place in batch.doubles:
        outcome = verdicts[place].outcome
        if isinstance(answer_double(double.draft, batch.good[place].draft, verdicts[place]), Conflict):
            outcome = "conflict"
        if outcome in _REASONS:
            dead.append((double.posted, _REASONS[outcome]))
    return dead


class Intake:
    """The way from SQL into the logs."""

    def __init__(
        self, store: IntakeStore, leases: LeaseStore, settings: Settings, announce: Callable[[Appended], None],
        metrics: Metrics,
    ) -> None:  # fmt: skip
        self._store = store
        self._leases = leases
        self._settings = settings
        self._announce = announce
        self._metrics = metrics
        self._held: set[int] = set()  # topics whose head somebody held when their turn came
        self._held_until = 0.0  # then they are looked at, by the loop's clock
        self._after = ""  # the source with which the last batch was full

    async def run(self) -> None:
        """Take in whenever this node is the leader, until cancelled. Cancelling is safe: a row is there or taken in."""
        await run_as_leader(self._leases, LEASE, self._work)

    async def _work(self, lease: Lease) -> None:
        while True:
            await retrying(partial(self._step, lease), "the intake")

    async def _step(self, lease: Lease) -> None:
        """Take in a batch, or pause."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        if self._held and began >= self._held_until:
            self._held, self._held_until = await self._store.held(self._held), began + HELD_EVERY
        batch = await self._store.waiting(MAX_TAKEN_ROWS, BATCH_BYTES, self._held, self._after)
        is_round, self._after = not self._after, max(p.source for p in batch) if len(batch) == MAX_TAKEN_ROWS else ""
        if not batch:
            await asyncio.sleep(max(LOOK_SECONDS, (loop.time() - began) / LOOK_SHARE) if is_round else 0)
            return
        try:
            await self._take_in(lease, batch)
        except HeadsLocked:
            await self._set_aside(batch)

    async def _take_in(self, lease: Lease, batch: Sequence[Posted]) -> None:
        """Append what can be, bury the rest. One bad row never fails its neighbours: halve until it is alone.

        Raises:
            HeadsLocked: it stopped there, so that a topic keeps its order.
        """
        try:
            await self._take(lease, batch, sort_out(batch, self._settings))
        except Refused as exc:
            if len(batch) == 1:
                reason = f"The database refuses this message: {exc}"
                await self._take(lease, batch, Sorted([], [], [(batch[0], reason)]))
                return
            middle = len(batch) // 2
            await self._take_in(lease, batch[:middle])
            await self._take_in(lease, batch[middle:])

    async def _take(self, lease: Lease, batch: Sequence[Posted], sorted_out: Sorted) -> None:
        drafts = [good.draft for good in sorted_out.good]
        async with self._store.taking(batch, lease.term) as taking:
            verdicts = await taking.append(drafts)
            if dead := dead_of(sorted_out, verdicts):
                await taking.bury(dead)
        if dead:
            log.warning("%d messages published by SQL became dead letters; the first: %s", len(dead), dead[0][1])
        for notice in notices(drafts, verdicts):
            self._metrics.appended.inc(notice.last - notice.first + 1)
            self._announce(notice)

    async def _set_aside(self, batch: Sequence[Posted]) -> None:
        """Somebody holds a head: its topic waits, in order; the others go on."""
        self._held |= await self._store.held({posted.topic_id for posted in batch})
        self._held_until = asyncio.get_running_loop().time() + HELD_EVERY
        log.warning("%d topics are locked by somebody else; what was published to them by SQL waits", len(self._held))
