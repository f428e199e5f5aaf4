"""One ticker per process: pings what is unconfirmed within 100 ms, idle sessions every 20 s, and ends the stuck."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

from ws_server.feeds.hub import Hub
from ws_server.session import Session

TICK = 0.1  # seconds
STUCK = 30.0  # seconds
IDLE_TICKS = 200  # a quiet session is pinged every 200 ticks, 20 s: below every proxy's idle limit


class Ticker:
    """Pings sessions. A pong confirms what its ping recorded; silence without any progress ends a session."""

    def __init__(self, hub: Hub, stuck: Callable[[Session], None], stuck_after: float = STUCK) -> None:
        self._hub = hub
        self._stuck = stuck
        self._stuck_after = stuck_after
        self._due: set[Session] = set()
        self._pinged: dict[Session, float] = {}  # who has a ping outstanding, since when; oldest first
        self._wheel: list[set[Session]] = [set() for _ in range(IDLE_TICKS)]
        self._wheel_place: dict[Session, int] = {}
        self._number = -1  # of the last tick

    def add(self, session: Session) -> None:
        """Ping this session now and then, from here on."""
        place = self._wheel_place[session] = self._number % IDLE_TICKS  # it has just had its turn
        self._wheel[place].add(session)

    def remove(self, session: Session) -> None:
        self._due.discard(session)
        self._pinged.pop(session, None)
        place = self._wheel_place.pop(session, None)
        if place is not None:
            self._wheel[place].discard(session)

    def ping_soon(self, session: Session) -> None:
        """Ping at once; behind a ping that is outstanding, as soon as its pong is here."""
        if session.gone:
            return
        if session.ledger.outstanding:
            self._due.add(session)
        else:
            self._ping(session)

    def ponged(self, session: Session) -> None:
        """The outstanding ping was answered."""
        self._pinged.pop(session, None)
        if session.due:
            self._due.add(session)

    async def run(self) -> None:
        """Tick until cancelled. A late tick is not made up for."""
        loop = asyncio.get_running_loop()
        for number in itertools.count():
            await asyncio.sleep(TICK)
            self.tick(number, loop.time())

    def tick(self, number: int, now: float) -> None:
        self._number = number
        self._note_moved()
        for session in [session for session in self._due if not session.ledger.outstanding]:
            self._ping(session)
        for session in [session for session in self._wheel[number % IDLE_TICKS] if not session.ledger.outstanding]:
            self._ping(session)
        self._end_stuck(now)

    def _note_moved(self) -> None:
        """Live sessions are written to without a note of it: the feeds that moved tell which."""
        for feed in self._hub.moved:
            for session, place in feed.live.items():
                session.ledger.sent.add(place)
                self._due.add(session)
        self._hub.moved.clear()

    def _ping(self, session: Session) -> None:
        self._due.discard(session)
        if session.ending:  # it may stand in feeds still: what they moved by was not written to it
            return
        now = asyncio.get_running_loop().time()
        session.ping(now)
        self._pinged[session] = now

    def _end_stuck(self, now: float) -> None:
        while self._pinged:
            session, since = next(iter(self._pinged.items()))
            if now - since < self._stuck_after:
                return
            del self._pinged[session]
            if session.progressed():
                self._pinged[session] = now
            else:
                self._stuck(session)
