"""What came and was not taken yet: bounded, in order, nothing twice; and what was taken and is to be acknowledged."""

from __future__ import annotations

import asyncio
from collections import deque

from recado.client.pending_requests import PendingRequests
from recado.client.received import Entry, Gap, Message, Thing
from recado.client.resuming import Positions, last_of, reached


class ReceiveBuffer:
    """Between the connection, which offers, and the application, which takes.

    Where it is full, nothing is read until there is room, so that the server sees a slow reader. But the answer that
    the application waits for may be behind what there is no room for: then reading goes on, what has no room is let
    go, and the connection is given up once there is room again. None of it was acknowledged: the server sends it anew.
    """

    def __init__(self, requests: PendingRequests, most: int) -> None:
        self._requests = requests
        self._most = most
        self._positions = Positions()
        self._things: deque[Thing] = deque()
        self._arrived = asyncio.Event()
        self._acks: dict[str, tuple[str, int]] = {}  # by topic: epoch, seq
        self._end: BaseException | None = None
        self.acks_due = asyncio.Event()
        self.deaf = asyncio.Event()  # it is we who do not read
        self.overflowed = False  # something was let go
        self.cut = asyncio.Event()  # and there is room again

    async def offer(self, thing: Thing) -> None:
        """Something came. Waits for room, unless the application waits for an answer."""
        if isinstance(thing, Message | Gap):
            self._positions.arrive(thing)
        fresh = self._positions.fresh(thing)
        if fresh is None:
            self._ack_again(thing)
            return
        while len(self._things) >= self._most and not self._requests:
            await self._room()
        self.overflowed = self.overflowed or len(self._things) >= self._most
        if not self.overflowed:
            self._positions.receive(fresh)
            self._things.append(fresh)
            self._arrived.set()
        elif len(self._things) <= self._most // 2:
            self.cut.set()

    async def take(self) -> Thing:
        """The next thing. Cancelling is safe: nothing is taken then. Raises what `end` was given."""
        while not self._things:
            if self._end is not None:
                raise self._end
            self._arrived.clear()
            await self._arrived.wait()
        thing = self._things.popleft()
        self._requests.made.set()
        if self.overflowed and len(self._things) <= self._most // 2:
            self.cut.set()
        return thing

    def ack(self, entry: Entry) -> None:
        if self._positions.ack(entry):
            self._acks[entry.topic] = entry.epoch, max(last_of(entry), reached(self._acks, entry))
            self.acks_due.set()

    def take_acks(self) -> dict[str, tuple[str, int]]:
        """By topic, the epoch and the seq to acknowledge."""
        self.acks_due.clear()
        acks, self._acks = self._acks, {}
        return acks

    def reconnected(self) -> None:
        """What the last connection did not hear of comes again, and is acknowledged then."""
        self._positions.reconnected()
        self.take_acks()
        self.overflowed = False
        self.cut.clear()

    def end(self, error: BaseException) -> None:
        """Nothing will come any more; what is here is still given."""
        self._end = error
        self._arrived.set()

    async def _room(self) -> None:
        """Wait until something was taken, or asked."""
        self.deaf.set()
        self._requests.made.clear()
        try:
            await self._requests.made.wait()
        finally:
            self.deaf.clear()

    def _ack_again(self, thing: Thing) -> None:
        if isinstance(thing, Message | Gap) and self._positions.is_acked(thing):
            self.ack(thing)
