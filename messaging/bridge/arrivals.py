"""Messages from outside, on their way into the log, or to the dead letters."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from messaging.auto_topics import aim_at_made
from messaging.errors import BadRequest, Conflict, RecadoError, Unavailable
from messaging.log.content import our_content
from messaging.model import Content
from messaging.node import Node
from messaging.permissions import Aim
from messaging.runtime.leader import Lease
from messaging.settings.settings import Settings
from messaging.store.append import Verdict
from messaging.store.bridges import DeadLetter

log = logging.getLogger(__name__)

OVERHEAD = 1024  # bytes that a message costs beside its own
KEY = "%in/"  # before the key of what comes in: no user's has a '%', who may be called like the sender
SHOWN = 16 * 1024  # characters of a message that can't be stored, kept to be looked at

Outcome = asyncio.Future[Verdict | RecadoError]


@dataclass(frozen=True, slots=True)
class Incoming:
    """What is to be stored. ``ttl``: seconds.

    ``key``: the same at each delivery, None where nothing tells it from another like it.
    """

    sender: str
    content: Content
    key: str | None = None
    ttl: int | None = None


@dataclass(slots=True, eq=False)
class Arrival:
    """One message of a source, until it is acknowledged.

    ``came_by``: the subject or queue, shown with a dead letter. ``raw``: the body as it came, any bytes.
    ``topic``: where it goes, a topic or an inbox (`@name`), made if need be; any text.
    ``id``: what its producer calls it, or "".
    ``read``: what is to be stored; or why it can't be; or None: it is one of our own, and only acknowledged.
    ``receipt``: the source's own: what it acknowledges by.
    """

    came_by: str
    raw: bytes
    topic: str
    id: str
    read: Incoming | RecadoError | None
    receipt: Any = None
    tries: int = 0  # in vain

    @property
    def weight(self) -> int:
        return len(self.raw) + OVERHEAD

    def number(self) -> int:
        """What stands for its seq as a dead letter: buried once more it is the same one."""
        told_by = f"{self.came_by}\0{self.id}\0".encode(errors="surrogatepass") + self.raw
        return int.from_bytes(hashlib.blake2b(told_by, digest_size=6).digest(), "big")


class Storing:
    """What one inlet brings in, stored; an `Origin`."""

    def __init__(self, inlet: str, tries: int, node: Node, settings: Settings) -> None:
        """``tries``: after which a message is buried that can't be stored for no fault of its own that we know."""
        self._inlet = inlet
        self._tries = tries
        self._node = node
        self._settings = settings
        self.lease: Lease | None = None

    async def store(self, topic: str, batch: Sequence[Arrival]) -> dict[Arrival, None]:
        """Submit all, then await what became of each. Those that are to be tried again, in order.

        The appender keeps the order of what one origin submits: what is behind one that is `Unavailable` is so too.
        """
        if self.lease is not None:
            self.lease.check()
        aim: Aim | None = None
        outcomes: list[tuple[Arrival, RecadoError | Outcome | None]] = []
        for place, arrival in enumerate(batch):
            outcome: RecadoError | Outcome | None
            if isinstance(read := arrival.read, Incoming):
                try:
                    aim = aim or await aim_at_made(self._node.actions, self._settings, topic, read.sender)
                    outcome = self._submit(aim, read)
                except (BadRequest, Conflict) as exc:
                    outcome = exc
                except RecadoError as exc:  # it is tried again, and nothing overtakes it
                    outcomes += [(arrival, exc), *((behind, Unavailable()) for behind in batch[place + 1 :])]
                    break
            else:
                outcome = read
            outcomes.append((arrival, outcome))
        left: dict[Arrival, None] = {}
        for arrival, outcome in outcomes:
            became = await outcome if isinstance(outcome, asyncio.Future) else outcome
            if not await self._is_settled(arrival, became):
                left[arrival] = None
        return left

    def _submit(self, aim: Aim, read: Incoming) -> Outcome:
        outcome: Outcome = asyncio.get_running_loop().create_future()
        key = None if read.key is None else KEY + read.key
        self._node.actions.publish(aim, read.sender, read.content, key, read.ttl, self, outcome)
        return outcome

    def on_result(self, context: Outcome, outcome: Verdict | RecadoError) -> None:
        """See `Origin`."""
        if not context.done():
            context.set_result(outcome)

    def on_batch_end(self) -> None:
        """See `Origin`."""

    async def _is_settled(self, arrival: Arrival, outcome: Verdict | RecadoError | None) -> bool:
        """Whether it may be acknowledged: stored, buried, or our own."""
        if outcome is None:
            self._node.metrics.bridge_skipped.labels(self._inlet).inc()
        if not isinstance(outcome, RecadoError):
            return True
        if isinstance(outcome, Unavailable):
            return False
        arrival.tries += 1
        if not isinstance(outcome, BadRequest | Conflict) and arrival.tries < self._tries:
            return False
        try:
            await self._bury(arrival, outcome.message)
        except Unavailable:
            return False
        return True

    async def _bury(self, arrival: Arrival, reason: str) -> None:
        """Keep it as it was read, for another try; what could not be read, to be looked at."""
        topic, came_by, read = legible(arrival.topic), legible(arrival.came_by), arrival.read
        if not isinstance(read, Incoming):
            read = Incoming("", our_content(legible(arrival.raw)))
        letter = DeadLetter(
            bridge=self._inlet, topic=topic, topic_id=0, seq=arrival.number(), sender=read.sender, content=read.content,
            sent_at=None, reason=legible(reason), came_by=came_by, ttl=read.ttl,
        )  # fmt: skip
        await self._node.bridge_store.bury(letter)  # of no term: it is acknowledged next, and late it is harmless
        self._node.metrics.bridge_buried.labels(self._inlet).inc()
        log.error("bridge %s gives up a message for %s: %s", self._inlet, topic, letter.reason)


def legible(given: str | bytes) -> str:
    """Text that can be stored and shows what was given, whatever it is, at most 16 Ki characters of it."""
    data = given[:SHOWN].encode(errors="surrogatepass") if isinstance(given, str) else given[: 4 * SHOWN]
    return data.decode(errors="backslashreplace").replace("\0", "\\x00")[:SHOWN]
