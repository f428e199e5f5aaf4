"""A lane: the one reader that serves a bridge, in order. Read from the cursor, send, confirm, go on.

The bridge is a member, so its cursors say what it has; there is no queue here and no list of what is to be sent again.
One message is in flight. Whatever goes wrong is one of four things:

    the other system has a problem    stand still, try the same message again, sooner or later (`Schedule`)
    the message has a problem         bury it (a dead letter), go on behind it
    the other system wants no more    pause; what comes is kept
    our database is away              wait for it
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from bridges.outlet import Gone, OutgoingMessage, Outlet, Undeliverable, Unreachable, original
from messaging.bridge.health import Health
from messaging.bridge.schedule import Pace, Schedule
from messaging.model import Entry, Gap, Membership, Message
from messaging.node import Node
from messaging.observability.metrics import Metrics
from messaging.readers.cursors import Cursors
from messaging.readers.notifier import Listener, Notifier
from messaging.readers.pages import page_of
from messaging.replay import read_replay
from messaging.retrying import retrying
from messaging.runtime.leader import Lease
from messaging.store.bridges import BridgeState, BridgeStore, DeadLetter
from messaging.store.store import Store

log = logging.getLogger(__name__)

PAGE_BYTES = 64 * 1024
MAX_UNSTORED = 16  # messages confirmed and not yet stored as such: so many a crash may repeat
IDLE_SECONDS = 60.0  # seconds; its listener wakes a lane long before
LOOK_SHARE = 0.1  # of the time may go into reading what a bridge belongs to: with many topics that is long


@dataclass(slots=True)
class Position:
    """Where a lane is in one topic."""

    membership: Membership
    seq: int


class Lane:
    """Serves one bridge until cancelled. Another lane for the same bridge must not run at the same time."""

    def __init__(
        self, user_id: int, outlet: Outlet, node: Node, *,
        schedule: Schedule | None = None, pace: Pace | None = None, keep_for: float | None = None,
        lease: Lease | None = None,
    ) -> None:  # fmt: skip
        """``keep_for``: seconds after which a message that could not be sent is buried; None: as long as it lives.

        ``lease``: in which it serves; None where nobody else could.
        """
        self._user_id = user_id
        self._lease = lease
        self._outlet = outlet
        self._store: Store = node.store
        self._cursors: Cursors = node.cursors
        self._bridge_store: BridgeStore = node.bridge_store
        self._notifier: Notifier = node.notifier
        self._metrics: Metrics = node.metrics
        self._schedule = schedule or Schedule()
        self._pace = pace or Pace()
        self._keep_for = keep_for
        self._positions: dict[int, Position] = {}
        self._health = Health(user_id, node.bridge_store, node.metrics, lease)
        self._tries = 0  # in vain, with the message at hand
        self._unflushed = 0
        self._refresh_at = 0.0  # not before, by the steady clock

    async def run(self) -> None:
        """Serve until cancelled. Cancelling is safe: what is in flight is sent again, with the same id.

        Raises:
            LeadershipLost: its lease is over.
        """
        with self._notifier.listen(self._user_id) as listener:
            await retrying(lambda: self._serve(listener), self)

    def __str__(self) -> str:
        return f"bridge {self._name}"

    @property
    def _bridge_state(self) -> BridgeState | None:
        return self._health.bridge_state

    @property
    def _name(self) -> str:
        return self._bridge_state.name if self._bridge_state else str(self._user_id)

    async def _serve(self, listener: Listener) -> None:
        """Returns once the bridge is forgotten."""
        await self._refresh(listener)
        while self._bridge_state is not None:
            patience = self._patience(self._bridge_state, listener)
            if listener.take_poke() or patience <= 0:
                await self._refresh(listener)
            elif listener.grown and not self._bridge_state.paused:
                await self._serve_page(listener, next(iter(listener.grown)))
            else:
                await self._flush()
                await (listener.wait_for_poke(patience) if self._bridge_state.paused else listener.wait(patience))

    def _patience(self, bridge_state: BridgeState, listener: Listener) -> float:
        """Seconds until there is something to do though nobody says so."""
        return IDLE_SECONDS if bridge_state.version == listener.version else self._refresh_at - time.monotonic()

    async def _refresh(self, listener: Listener) -> None:
        """Read anew what the bridge is and, where that has changed, belongs to; soon, where that was read just now."""
        await self._health.look()
        began = time.monotonic()
        if self._bridge_state is None or self._bridge_state.version == listener.version or began < self._refresh_at:
            return
        await self._sync_all(listener)
        listener.version = self._bridge_state.version
        ended = time.monotonic()
        self._refresh_at = ended + (ended - began) / LOOK_SHARE

    async def _sync_all(self, listener: Listener) -> None:
        await self._flush()
        memberships = {m.topic.id: m for m in await self._store.memberships(self._user_id)}
        for topic_id in set(self._positions) - set(memberships):
            self._leave(listener, topic_id)
        for topic_id in memberships:  # before the heads are read: what comes in between is heard
            listener.attend(topic_id, listener.positions.get(topic_id, 0))
        for topic_id, (head, cursor) in (await self._store.positions(self._user_id, "")).items():
            if topic_id in memberships:
                self._sync_topic(listener, memberships[topic_id], cursor)
                listener.hear(topic_id, head)

    def _sync_topic(self, listener: Listener, membership: Membership, cursor: int) -> None:
        known = self._positions.get(membership.topic.id)
        # Below where it is, though all is flushed: the log was restored.
        if known is None or known.membership.id != membership.id or cursor < known.seq:
            self._positions[membership.topic.id] = Position(membership, cursor)
            listener.attend(membership.topic.id, cursor)

    def _leave(self, listener: Listener, topic_id: int) -> None:
        self._positions.pop(topic_id, None)
        listener.ignore(topic_id)

    async def _serve_page(self, listener: Listener, topic_id: int) -> None:
        """One page of one topic; then another's turn comes."""
        listener.grown.pop(topic_id, None)  # to the end of the queue where there is more
        position = self._positions.get(topic_id)
        page = None if position is None else await page_of(self._store, position.membership, position.seq, PAGE_BYTES)
        if position is None or page is None:
            self._leave(listener, topic_id)
            return
        for entry in page.entries:
            if not await self._deliver_or_bury(listener, position, entry):
                if topic_id in self._positions:
                    listener.grown[topic_id] = None  # it begins again where its position is
                return
        listener.attend(topic_id, position.seq)
        listener.hear(topic_id, page.head)

    async def _deliver_or_bury(self, listener: Listener, position: Position, entry: Entry) -> bool:
        """Send one entry, or bury it. False: the lane is to stop before it."""
        while await self._may_go_on(listener, position):
            try:
                await self._send(position, entry)
            except Unreachable as exc:
                await self._back_off(listener, exc)
                continue
            except Gone as exc:
                reason = str(exc) or "the other system wants no more"
                await self._bridge_store.pause(self._name, True, reason, self._health.term)
                await self._refresh(listener)
                continue
            except Undeliverable as exc:
                await self._bury(position, entry, str(exc))
            await self._settle(position, entry)
            return True
        return False

    async def _may_go_on(self, listener: Listener, position: Position) -> bool:
        if listener.take_poke():
            await self._refresh(listener)
        is_here = self._positions.get(position.membership.topic.id) is position
        return is_here and self._bridge_state is not None and not self._bridge_state.paused

    async def _send(self, position: Position, entry: Entry) -> None:
        if isinstance(entry, Gap):
            raise Undeliverable(f"{entry.first} to {entry.last} were {entry.reason} before they could be sent")
        age = (datetime.now(UTC) - entry.sent_at).total_seconds()
        if self._keep_for is not None and age > self._keep_for:
            raise Undeliverable(f"it could not be delivered in {self._keep_for / 86400:g} days")
        await asyncio.sleep(self._pace.wait(time.monotonic()))
        if self._lease is not None:
            self._lease.check()
        await self._outlet.send(outgoing(position.membership, entry, self._tries))
        self._metrics.bridge_sent.labels(self._name).inc()

    async def _back_off(self, listener: Listener, exc: Unreachable) -> None:
        """Wait for the next try: for its time, or for somebody who asks for one."""
        self._tries += 1
        await self._flush()
        attempts = await self._health.failed(str(exc))
        await listener.wait_for_poke(self._schedule.pause(attempts, random.random(), exc.retry_after))
        await self._refresh(listener)

    async def _bury(self, position: Position, entry: Entry, reason: str) -> None:
        """Only what is in the store as a dead letter is left behind."""
        topic = position.membership.topic
        log.error("bridge %s gives up a message of %s: %s", self._name, topic.name, reason)
        self._metrics.bridge_buried.labels(self._name).inc()
        await self._bridge_store.bury(_letter(self._name, position.membership, entry, reason), self._health.term)
        if self._lease is not None:
            self._lease.check()  # late, it was not buried

    async def _settle(self, position: Position, entry: Entry) -> None:
        """The cursor moves, after the other system has confirmed, or after the burial."""
        membership = position.membership
        position.seq = entry.seq if isinstance(entry, Message) else entry.last
        self._cursors.move(membership.topic.id, membership.id, "", position.seq)
        self._tries = 0
        self._unflushed += 1
        if self._unflushed >= MAX_UNSTORED:
            await self._flush()
        await self._health.succeeded()

    async def _flush(self) -> None:
        if self._unflushed:
            await self._cursors.flush()
            self._unflushed = 0


def outgoing(membership: Membership, message: Message, tries: int) -> OutgoingMessage:
    """A message as the other system is to get it. What lies in the bridge's own inbox may be a dead letter's replay."""
    topic = membership.topic
    again = read_replay(message.content) if membership.role == "owner" else None
    if again is not None:
        return OutgoingMessage(again.id, again.topic, again.message(), tries)
    return OutgoingMessage(original(topic, message), topic.name, message, tries)


def _letter(bridge: str, membership: Membership, entry: Entry, reason: str) -> DeadLetter:
    topic = membership.topic
    if isinstance(entry, Gap):
        return DeadLetter(
            bridge=bridge, topic=topic.name, topic_id=topic.id, seq=entry.first, sender="", content=None, sent_at=None,
            reason=reason,
        )  # fmt: skip
    sent = outgoing(membership, entry, 0)
    return DeadLetter(
        bridge=bridge, topic=sent.topic, topic_id=topic.id, seq=entry.seq, sender=sent.message.sender,
        content=sent.message.content, sent_at=sent.message.sent_at, reason=reason,
    )  # fmt: skip
