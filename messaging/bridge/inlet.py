"""What comes in from outside: one contract for every broker, and the one reader that keeps it.

A source gives out messages in order, no more than a window of them, and keeps each until it is acknowledged. Here each
topic's messages are appended as one batch, in order, and acknowledged after COMMIT. Whatever goes wrong is one of:

    the other system has a problem    the source is closed and opened again, sooner or later (`Schedule`)
    the message has a problem         bury it (a dead letter), acknowledge it, go on behind it
    our database is away              nothing is acknowledged; the same message again, and nothing of its topic before
    the operator wants no more        pause: the source is closed, and what comes is kept by the other system
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

from messaging.bridge.arrivals import Arrival, Storing
from messaging.bridge.health import Health
from messaging.bridge.schedule import Schedule
from messaging.node import Node
from messaging.patterns import like
from messaging.readers.notifier import Listener
from messaging.retrying import backoff_delays, retrying
from messaging.runtime.leader import Lease
from messaging.settings.settings import Settings

log = logging.getLogger(__name__)

WINDOW_BYTES = 8 * 1024 * 1024  # bytes in our hands; beyond it nothing is taken from the source
IDLE_SECONDS = 60.0  # seconds; a poke comes long before
MAX_TRIES = 5


class SourceLost(Exception):
    """The other system can't be reached, or the line to it has ended: another one is to be opened, later."""


class Source(Protocol):
    """Another system, of which is read. Built without I/O.

    Whatever its library raises is `SourceLost`; what passes through else is a defect of ours. What peers may send
    costs one message, never the line: it is given out as an `Arrival` that can't be stored.
    """

    @property
    def keeps(self) -> bool:
        """Whether the other system keeps what is not acknowledged, and delivers it again on another line."""

    async def open(self) -> None:
        """Connect, and ask for all that is not acknowledged, in order. Takes bounded time.

        Cancelling is safe, if `close` follows.

        Raises:
            SourceLost.
            Unavailable: our own database is away, and nothing has been opened.
        """

    async def receive(self) -> Sequence[Arrival]:
        """What has come since the last time, in order; waits where there is nothing, and may return nothing.

        A source holds at most a window of its own beyond what it gave out. Cancelling is safe, if `close` follows.

        Raises:
            SourceLost: nothing more will come by this line; what came before has been given out.
        """

    async def acknowledge(self, settled: Sequence[Arrival]) -> None:
        """They are stored, buried or our own; in order per topic, and while others are being acknowledged.

        Raises SourceLost.
        """

    async def close(self) -> None:
        """Let go of the line, whatever state it is in, within bounded time. Never raises; `open` may follow."""


class Inlet:
    """Brings in what one source gives. Registered as a bridge: its row is its state, and pauses it."""

    def __init__(
        self, name: str, kind: str, source: Source, node: Node, settings: Settings, *,
        topics: str | None = None, schedule: Schedule | None = None, tries: int = MAX_TRIES,
    ) -> None:  # fmt: skip
        """``topics``: the pattern of those that it feeds.

        ``tries``: after which a message is buried that can't be stored for no fault of its own that we know.
        """
        self.name = name
        self._kind = kind
        self._like = None if topics is None else like(topics)
        self._source = source
        self._node = node
        self._storing = Storing(name, tries, node, settings)
        self._schedule = schedule or Schedule()
        self._topics: dict[str, deque[Arrival]] = {}  # what waits, by topic
        self.is_open = False
        self.held = 0  # bytes that are not acknowledged
        self._changed = asyncio.Event()  # of `held`

    def __str__(self) -> str:
        return f"bridge {self.name}"

    async def run(self, lease: Lease | None = None) -> None:
        """Until cancelled, which is safe: what is not acknowledged comes again. A defect of ours passes through.

        ``lease``: in which it reads; None where nobody else could. Raises LeadershipLost where it is over.
        """
        self._storing.lease = lease
        while True:
            register = partial(self._node.bridge_store.register_inlet, self.name, self._kind, self._like)
            user_id = await retrying(register, self)
            health = Health(user_id, self._node.bridge_store, self._node.metrics, lease)
            with self._node.notifier.listen(user_id) as listener:
                await retrying(partial(self._serve, listener, health), self)
            log.warning("%s was forgotten, but it is configured: it begins anew", self)

    async def _serve(self, listener: Listener, health: Health) -> None:
        """Returns once the bridge is forgotten."""
        await self._look(listener, health)
        while health.bridge_state is not None:
            if health.is_paused:
                await listener.wait_for_poke(IDLE_SECONDS)
            elif lost := await self._read(listener, health):
                attempts = await health.failed(str(lost))
                await listener.wait_for_poke(self._schedule.pause(attempts, random.random()))
            await self._look(listener, health)

    async def _look(self, listener: Listener, health: Health) -> None:
        """A poke may mean: paused, resumed, forgotten, or somebody asks for a try at once."""
        listener.take_poke()
        await health.look()
        if health.bridge_state is not None:
            listener.version = health.bridge_state.version

    async def _read(self, listener: Listener, health: Health) -> SourceLost | None:
        """One line, to its end. None: the bridge was paused or forgotten meanwhile."""
        async with asyncio.TaskGroup() as tasks:
            line = tasks.create_task(self._line(health), name=str(self))
            guard = tasks.create_task(self._end_when_paused(line, listener, health))
            await asyncio.wait([line])
            guard.cancel()
        return None if line.cancelled() else line.result()

    async def _end_when_paused(self, line: asyncio.Task[Any], listener: Listener, health: Health) -> None:
        while health.bridge_state is not None and not health.is_paused:
            await listener.wait_for_poke(IDLE_SECONDS)
            await retrying(lambda: self._look(listener, health), self)
        line.cancel()

    async def _line(self, health: Health) -> SourceLost:
        self._topics.clear()
        self.held = 0
        lost: list[BaseException] = []
        try:
            await retrying(self._source.open, self)
            self.is_open = True
            log.info("%s: open", self)
            await retrying(health.succeeded, self)
            async with asyncio.TaskGroup() as storing:
                await self._take_in(storing)
        except* SourceLost as group:
            lost = [group]
        finally:
            self.is_open = False
            await self._source.close()
        return _first(lost[0])

    async def _take_in(self, storing: asyncio.TaskGroup) -> None:
        try:
            while True:
                await self._until_held(WINDOW_BYTES)
                for arrival in await self._source.receive():
                    self.held += arrival.weight
                    if (waiting := self._topics.get(arrival.topic)) is not None:
                        waiting.append(arrival)
                        continue
                    waiting = self._topics[arrival.topic] = deque([arrival])
                    storing.create_task(self._store_in_order(arrival.topic, waiting))
        except SourceLost:
            if not self._source.keeps:  # nobody else has what is in our hands
                await self._until_held(1)
            raise

    async def _until_held(self, less_than: int) -> None:
        while self.held >= less_than:
            self._changed.clear()
            await self._changed.wait()

    async def _store_in_order(self, topic: str, waiting: deque[Arrival]) -> None:
        """All that waits for one topic, as batches, until nothing does; other topics have tasks of their own."""
        delays = backoff_delays()
        while waiting:
            batch = [waiting.popleft() for _ in range(len(waiting))]
            left = await self._storing.store(topic, batch)
            if settled := [arrival for arrival in batch if arrival not in left]:
                await self._source.acknowledge(settled)
                self.held -= sum(arrival.weight for arrival in settled)
                self._changed.set()
            if left:
                waiting.extendleft(reversed(left))
                await asyncio.sleep(next(delays))
            else:
                delays = backoff_delays()
        del self._topics[topic]


def _first(group: BaseException) -> SourceLost:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    assert isinstance(group, SourceLost)
    return group
