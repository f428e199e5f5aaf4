"""One process's end of a bus between processes: all of it but the line itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

import msgspec

from messaging.bus.contract import Receiver
from messaging.bus.seal import SEAL_BYTES, Seal
from messaging.bus.wire import ReplayWindow, SendQueue, unpacked
from messaging.model import Notice

HEARTBEAT_SECONDS = 2.0
SILENCE_SECONDS = 6.0


class RemoteBus:
    """Tells and hears notices; a subclass keeps the line. See `messaging.bus.contract.Bus` for what is promised.

    Every parcel also comes back to its sender. A line on which none of our own has come back for six seconds is dead,
    whatever its socket says: that is noticed here, not by the operating system's timers.
    """

    def __init__(self, *, heartbeat: float = HEARTBEAT_SECONDS, silence: float = SILENCE_SECONDS) -> None:
        self._heartbeat = heartbeat
        self._silence = silence
        self._send_queue = SendQueue()
        self._replay_window = ReplayWindow()
        self._receivers: list[Receiver] = []
        self._resyncs: list[Callable[[], None]] = []
        self._some = asyncio.Event()
        self._heard_at = 0.0  # when a parcel of our own last came back, by the loop's clock
        self._defect: Exception | None = None  # of a receiver

    def open(self, seal: Seal, look: Callable[[], None], refused: Callable[[], None]) -> None:
        self._seal = seal
        self._look = look
        self._refused = refused
        self.know(frozenset())

    def know(self, alive: frozenset[str]) -> None:
        everyone = alive | {self._seal.sender}
        self._seal.keep(everyone)
        if self._replay_window.know(everyone):
            self._resync()

    def tell(self, notice: Notice) -> None:
        self._spread(notice)
        self._send_queue.put(notice)
        self._some.set()

    def attach(self, receiver: Receiver, resync: Callable[[], None]) -> None:
        self._receivers.append(receiver)
        self._resyncs.append(resync)

    def line_up(self) -> None:
        """The line hears: now, and not before, the state may be read."""
        self._heard_at = asyncio.get_running_loop().time()
        self._resync()

    def arrived(self, data: bytes) -> None:
        """Something came in: a parcel, or what anybody else has sent. Never raises: a library would only log it."""
        try:
            self._receive(data)
        except Exception as exc:  # what a receiver has raised is a defect, and ends the process, by `check_line`
            self._defect = exc

    def _receive(self, data: bytes) -> None:
        opened = self._seal.open(data)
        if opened is None:
            self._refused()
            return
        sender, number, body = opened
        missing = self._replay_window.take(sender, number)
        if missing is None:
            self._refused()
            if sender not in self._replay_window:
                self._look()
            return
        if sender == self._seal.sender:  # its notices were received when they were told
            self._heard_at = asyncio.get_running_loop().time()
            return
        try:
            notices = unpacked(body)
        except msgspec.DecodeError:
            self._refused()
            missing += 1
        else:
            for notice in notices:
                self._spread(notice)
        if missing:
            self._resync()

    def check_line(self) -> None:
        """Raises TimeoutError where the line is silent; what a receiver has raised."""
        if self._defect is not None:
            raise self._defect
        if asyncio.get_running_loop().time() - self._heard_at > self._silence:
            raise TimeoutError("nothing of our own comes back through it")

    async def departures(self, gather: float, limit: Callable[[], int]) -> AsyncGenerator[bytes, None]:
        """Parcels to send, for ever: what gathers within ``gather`` seconds leaves together; heartbeats when idle.

        Args:
            limit: the most bytes that a parcel may have, asked anew for each departure.
        """
        seal = self._seal
        while True:
            try:
                async with asyncio.timeout(self._heartbeat):
                    await self._some.wait()
            except TimeoutError:
                yield seal.close(*self._send_queue.heartbeat())
                continue
            self._some.clear()
            await asyncio.sleep(gather)
            # All are numbered before the first leaves: those behind a failure are missed, and not only forgotten.
            for numbered in list(self._send_queue.parcels(limit() - SEAL_BYTES)):
                yield seal.close(*numbered)

    def _spread(self, notice: Notice) -> None:
        for receiver in self._receivers:
            receiver(notice)

    def _resync(self) -> None:
        for resync in self._resyncs:
            resync()
