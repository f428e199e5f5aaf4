"""The bus carries notices between processes. Notices are hints: bounded, droppable, never load-bearing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from messaging.bus.seal import Seal
from messaging.model import Notice

Receiver = Callable[[Notice], None]


class Bus(Protocol):
    """What every bus promises, and what none does.

    `tell` first calls every receiver of this process, in the same synchronous step and in the order of the calls;
    then the other processes *may* hear of it: a notice can be lost, doubled, late, out of order, or come without its
    messages. `tell` never waits, never raises for a bus that is down, and keeps a bounded number of notices at most.
    After every (re)connect of its line the bus calls `resync`: whatever was missed is then read from the store.
    """

    def open(self, seal: Seal, look: Callable[[], None], refused: Callable[[], None]) -> None:
        """Before `run`: how parcels are sealed.

        Args:
            look: called where somebody is heard who is not known to be alive; `know` should follow soon.
            refused: called for each parcel that is dropped: not sealed by this installation, of a sender that is not
                known to be alive, or received before.
        """

    def know(self, alive: frozenset[str]) -> None:
        """Who is alive now, by the names that they seal with: all others are forgotten."""

    def tell(self, notice: Notice) -> None: ...

    def attach(self, receiver: Receiver, resync: Callable[[], None]) -> None: ...

    async def run(self) -> None:
        """Keep the line up until cancelled."""


class LocalBus:
    """The bus of a single process: its own receivers, and nobody else."""

    def __init__(self) -> None:
        self._receivers: list[Receiver] = []

    def open(self, seal: Seal, look: Callable[[], None], refused: Callable[[], None]) -> None:
        return

    def know(self, alive: frozenset[str]) -> None:
        return

    def tell(self, notice: Notice) -> None:
        for receiver in self._receivers:
            receiver(notice)

    def attach(self, receiver: Receiver, resync: Callable[[], None]) -> None:
        self._receivers.append(receiver)

    async def run(self) -> None:
        return
