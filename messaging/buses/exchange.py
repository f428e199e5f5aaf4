"""One process's end of a bus between processes: all of it but the line itself."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable

from messaging.bus import Receiver
from messaging.buses.wire import Inbox, Outbox
from messaging.model import Notice

HEARTBEAT_SECONDS = 2.0
SILENCE_SECONDS = 6.0


class Exchange:
    """Tells and hears notices; a subclass keeps the line. See `messaging.bus.Bus` for what is promised.

    Every parcel also comes back to its sender. A line on which none of our own has come back for six seconds is dead,
    whatever its socket says: that is noticed here, not by the operating system's timers.
    """

    def __init__(self) -> None:
        self.name = secrets.token_hex(8)
        self._outbox = Outbox(self.name)
        self._inbox = Inbox(self.name)
        self._receivers: list[Receiver] = []
        self._resyncs: list[Callable[[], None]] = []
        self._some = asyncio.Event()
        self._heard_at = 0.0  # when a parcel of our own last came back, by the loop's clock

    def tell(self, notice: Notice) -> None:
        self._spread(notice)
        self._outbox.put(notice)
        self._some.set()

    def attach(self, receiver: Receiver, resync: Callable[[], None]) -> None:
        self._receivers.append(receiver)
        self._resyncs.append(resync)

    def line_up(self) -> None:
        """The line hears: now, and not before, the state may be read."""
        self._heard_at = asyncio.get_running_loop().time()
        self._resync()

    def arrived(self, data: bytes) -> None:
        """A parcel came in."""
        notices, missed, own = self._inbox.open(data)
        if own:
            self._heard_at = asyncio.get_running_loop().time()
        for notice in notices:
            self._spread(notice)
        if missed:
            self._resync()

    def check_line(self) -> None:
        """Raises TimeoutError where the line is silent."""
        if asyncio.get_running_loop().time() - self._heard_at > SILENCE_SECONDS:
            raise TimeoutError("nothing of our own comes back through it")

    async def departures(self, gather: float, limit: Callable[[], int]) -> AsyncIterator[bytes]:
        """Parcels to send, for ever: what gathers within ``gather`` seconds leaves together; heartbeats when idle.

        Args:
            limit: the most bytes that a parcel may have, asked anew for each departure.
        """
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await self._some.wait()
            except TimeoutError:
                yield self._outbox.heartbeat()
                continue
            self._some.clear()
            await asyncio.sleep(gather)
            for parcel in self._outbox.parcels(limit()):
                yield parcel

    def _spread(self, notice: Notice) -> None:
        for receiver in self._receivers:
            receiver(notice)

    def _resync(self) -> None:
        for resync in self._resyncs:
            resync()
