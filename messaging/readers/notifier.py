"""Wakes readers that are no sessions: a lane, a stream, a long poll. It only hints; the reader reads the store.

Notices come from the bus. What no notice told is found by a sweep of the heads and versions of all that listeners read.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice

from messaging.bus.contract import Bus
from messaging.errors import Unavailable
from messaging.model import Appended, Changed, Notice, Voided
from messaging.store.store import Store

log = logging.getLogger(__name__)

SWEEP_EVERY = 5.0  # seconds
MAX_ASKED = 5000  # heads or versions asked for at a time
UNKNOWN = 0  # no user has this version


class Listener:
    """What one reader listens for: topics, each from a position on, and changes of one user."""

    def __init__(self, listeners: dict[int, set[Listener]], user_id: int | None, version: int) -> None:
        self.user_id = user_id
        self.version = version  # of the user, as the reader knows it
        self.positions: dict[int, int] = {}
        self.grown: dict[int, None] = {}  # topics that may have more than their position, the longest waiting first
        self._listeners = listeners
        self._sound = asyncio.Event()
        self._poke = asyncio.Event()

    def attend(self, topic_id: int, position: int) -> None:
        """Listen for what lies beyond ``position``."""
        self.positions[topic_id] = position
        self._listeners.setdefault(topic_id, set()).add(self)

    def ignore(self, topic_id: int) -> None:
        self.positions.pop(topic_id, None)
        self.grown.pop(topic_id, None)
        listening = self._listeners.get(topic_id, set())
        listening.discard(self)
        if not listening:
            self._listeners.pop(topic_id, None)

    def close(self) -> None:
        for topic_id in list(self.positions):
            self.ignore(topic_id)

    def hear(self, topic_id: int, head: int) -> None:
        if head > self.positions[topic_id]:
            self.grown[topic_id] = None
            self._sound.set()

    def poke(self) -> None:
        """The user may have changed, or somebody asks for a try at once."""
        self._poke.set()
        self._sound.set()

    def take_poke(self) -> bool:
        """Whether there was a poke since the last time."""
        poked = self._poke.is_set()
        self._poke.clear()
        return poked

    async def wait(self, seconds: float) -> None:
        """Until something may have grown or changed, at most so long. Cancelling is safe."""
        await _either(self._sound, seconds)
        self._sound.clear()

    async def wait_for_poke(self, seconds: float) -> None:
        """Until a poke, at most so long: growth does not end it. Cancelling is safe."""
        await _either(self._poke, seconds)


class Notifier:
    """The listeners of this process."""

    def __init__(self, bus: Bus, store: Store) -> None:
        self._store = store
        self._listeners: dict[int, set[Listener]] = {}  # by topic
        self._users: dict[int, set[Listener]] = {}
        self._newest = 0  # the highest topic id heard of: a higher one is new, and may have members made by a pattern
        self._sweep_now = asyncio.Event()
        bus.attach(self._receive, self._sweep_now.set)
        store.epochs.attach(self._begin_anew)

    @contextmanager
    def listen(self, user_id: int | None = None, version: int = 0) -> Iterator[Listener]:
        """A listener. Attend first, then read the store: what came in between is heard."""
        listener = Listener(self._listeners, user_id, version)
        of_user = self._users.setdefault(user_id, set()) if user_id is not None else set()
        of_user.add(listener)
        try:
            yield listener
        finally:
            listener.close()
            of_user.discard(listener)
            if user_id is not None and not of_user:
                self._users.pop(user_id, None)

    def _receive(self, notice: Notice) -> None:
        match notice:
            case Appended(topic_id=topic_id, last=last):
                for listener in self._listeners.get(topic_id, ()):
                    listener.hear(topic_id, last)
                if topic_id > self._newest:
                    self._newest = topic_id
                    self._sweep_now.set()
            case Changed(user_id=user_id):
                for listener in self._users.get(user_id, ()):
                    listener.poke()
            case Voided():  # rare, and listeners know no tokens
                for listeners in self._users.values():
                    for listener in listeners:
                        listener.poke()
            case _:
                return  # what else there is to tell wakes nobody

    def _begin_anew(self) -> None:
        """The logs are others: who reads for a user looks at all that it belongs to, whatever its version says."""
        for listener in [listener for listeners in self._users.values() for listener in listeners]:
            listener.version = UNKNOWN
            listener.poke()

    async def run(self) -> None:
        """Sweep now and then, until cancelled."""
        while True:
            await _either(self._sweep_now, SWEEP_EVERY)
            self._sweep_now.clear()
            try:
                await self.sweep()
            except Unavailable as exc:
                log.warning("the notifier's sweep waits for the database: %s", exc)

    async def sweep(self) -> None:
        """Compare what the listeners know with the store. Raises Unavailable."""
        for ids in _slices(self._users):
            for user_id, (version, _) in (await self._store.tokens.versions(ids)).items():
                for listener in self._users.get(user_id, ()):
                    if listener.version != version:
                        listener.poke()
        for ids in _slices(self._listeners):
            for topic_id, head in (await self._store.heads(ids)).items():
                for listener in self._listeners.get(topic_id, ()):
                    listener.hear(topic_id, head)


def _slices(ids: Iterable[int]) -> Iterator[list[int]]:
    rest = iter(list(ids))
    while some := list(islice(rest, MAX_ASKED)):
        yield some


async def _either(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
