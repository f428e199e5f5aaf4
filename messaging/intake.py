"""Takes into the logs what applications publish by SQL, in their own transactions (`recado.publish`).

One node at a time looks every 20 ms, for a second at a stretch; the others ask once a second whether the turn is
free. Rows are taken in the order of their ids, up to a batch, and go in the transaction that appends their messages;
what can't be appended becomes a dead letter in the same transaction and holds up nobody.

There is no position in the intake: a transaction that was open for long commits rows with low ids, and they are simply
there. Order is kept within a transaction (its ids rise), not between transactions.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from messaging.batch import BATCH_BYTES, notices
from messaging.content import check_content
from messaging.errors import BadRequest
from messaging.metrics import Metrics
from messaging.model import Appended
from messaging.retrying import retrying
from messaging.settings import Settings
from messaging.store_append import Draft, HeadsLocked, Refused, Verdict
from messaging.store_intake import IntakeStore, Posted, Turn

log = logging.getLogger(__name__)

EVERY = 0.02  # seconds between looks
SHARE = 0.1  # of the time may go into looking: where that is slow, there are fewer looks
STRETCH = 1.0  # seconds of looking in one transaction
ASIDE = 1.0  # seconds before asking again for the turn, which another node has
BATCH = 1000  # rows

_REASONS = {
    "unknown_topic": "The topic was deleted before the message could be stored.",
    "conflict": "The key was used for other content in this topic.",
}


@dataclass(frozen=True, slots=True)
class Sorted:
    """A batch: what can be appended, each with its draft, and what can't, each with why."""

    good: list[tuple[Posted, Draft]]
    dead: list[tuple[Posted, str]]


def up_to_double(batch: Sequence[Posted]) -> Sequence[Posted]:
    """The batch before the first row whose key it has already: what becomes of that one, the log says afterwards."""
    seen: set[tuple[int, str, str]] = set()
    for place, posted in enumerate(batch):
        if posted.key is None:
            continue
        identity = (posted.topic_id, posted.sender, posted.key)
        if identity in seen:
            return batch[:place]
        seen.add(identity)
    return batch


def sort_out(batch: Sequence[Posted], settings: Settings) -> Sorted:
    """What of a batch can be appended, in order."""
    found = Sorted([], [])
    for posted in batch:
        try:
            if posted.kind is None:
                raise BadRequest(_REASONS["unknown_topic"])
            check_content(posted.content.encode(), settings.max_frame)
            found.good.append((posted, draft_of(posted, settings)))
        except BadRequest as exc:
            found.dead.append((posted, exc.message))
    return found


def draft_of(posted: Posted, settings: Settings) -> Draft:
    ttl = posted.ttl if posted.ttl is not None else posted.lifetime
    if ttl is None and posted.kind == "direct":
        ttl = settings.inbox_ttl
    digest = None
    if posted.key is not None:
        digest = hashlib.blake2b(posted.content.encode(), digest_size=16).digest()
    return Draft(posted.topic_id, None, posted.sender, posted.key, digest, posted.content, ttl)


class Intake:
    """The way from SQL into the logs."""

    def __init__(
        self, store: IntakeStore, settings: Settings, announce: Callable[[Appended], None], metrics: Metrics
    ) -> None:
        self._store = store
        self._settings = settings
        self._announce = announce
        self._metrics = metrics
        self._held: set[int] = set()  # topics whose head somebody held when their turn came: looked at once a stretch
        self._most = BATCH

    async def run(self) -> None:
        """Take in until cancelled. Cancelling is safe: what was not committed is still in the intake."""
        while True:
            await retrying(self._stretch, "the intake")

    async def _stretch(self) -> None:
        """Look until something is there or the stretch is over; a transaction of its own, or a pause."""
        if self._held:
            self._held = await self._store.held(self._held)
        batch: Sequence[Posted] = ()
        grown: list[Appended] = []
        try:
            async with self._store.turn() as turn:
                if turn is not None:
                    batch = up_to_double(await self._look(turn))
                    grown = await self._take(turn, sort_out(batch, self._settings))
        except HeadsLocked:
            await self._set_aside(batch)
            return
        except Refused as exc:
            await self._narrow(batch, exc)
            return
        self._most = BATCH
        for notice in grown:
            self._metrics.appended.inc(notice.last - notice.first + 1)
            self._announce(notice)
        if turn is None:
            await asyncio.sleep(ASIDE)

    async def _look(self, turn: Turn) -> list[Posted]:
        loop = asyncio.get_running_loop()
        until = loop.time() + STRETCH
        while True:
            began = loop.time()
            batch = await turn.waiting(self._most, BATCH_BYTES, self._held)
            ended = loop.time()
            if batch or ended > until:
                return batch
            await asyncio.sleep(max(EVERY, (ended - began) / SHARE))

    async def _take(self, turn: Turn, batch: Sorted) -> list[Appended]:
        """Append what can be, bury the rest, empty the intake of both. What has grown, once the turn is committed."""
        drafts = [draft for _, draft in batch.good]
        verdicts: list[Verdict] = await turn.append(drafts) if drafts else []
        dead = batch.dead + [
            (posted, _REASONS[verdict.outcome])
            for (posted, _), verdict in zip(batch.good, verdicts, strict=True)
            if verdict.outcome in _REASONS
        ]
        for posted, reason in dead:
            await turn.bury(posted, reason)
        if dead:
            log.warning("%d messages published by SQL became dead letters; the first: %s", len(dead), dead[0][1])
        if batch.good or dead:
            await turn.remove([posted for posted, _ in (*batch.good, *batch.dead)])
        return notices(drafts, verdicts)

    async def _set_aside(self, batch: Sequence[Posted]) -> None:
        """Somebody holds a head: its topic waits, in order; the others go on."""
        self._held |= await self._store.held({posted.topic_id for posted in batch})
        log.warning("%d topics are locked by somebody else; what was published to them by SQL waits", len(self._held))

    async def _narrow(self, batch: Sequence[Posted], exc: Refused) -> None:
        """The database refuses something: take fewer, in order, until it is alone."""
        if len(batch) > 1:
            self._most = len(batch) // 2
            return
        async with self._store.turn() as turn:
            if turn is not None:
                await self._take(turn, Sorted([], [(batch[0], f"The database refuses this message: {exc}")]))
        self._most = BATCH
