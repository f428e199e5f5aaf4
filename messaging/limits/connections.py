"""Connections to the doors of this process, counted from their accept on: of each address, and all of them. Pure.

Where there is no room, the oldest that waits for its peer gives way to the one that comes: its headers have not come,
or its last answer has left; or somebody unknown has not sent all of a request, or does not take the answer. Who opens
many and says nothing, or not the rest, stands in nobody's way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from messaging.errors import RateLimited
from messaging.settings.addresses import Network, client_address, in_networks, network_of

MAX_HEAD = 64 * 1024  # bytes of a request before its body
HEAD_TIME = 10.0  # seconds until all of them must be there


class TooManyConnections(RateLimited):
    """Your address has as many connections here as MAX_CONNECTIONS_PER_ADDRESS says. Close one, or come back later."""


@dataclass(slots=True, eq=False)
class Accepted:
    """One connection. ``address``: whom it counts for; "": nobody, as a trusted proxy's between its requests."""

    address: str
    proxy: str  # its address, where it is a trusted one
    give_way: Callable[[], None]


class Connections:
    """Those of this process, whatever door they came to."""

    def __init__(self, per_address: int, most: int, proxies: Sequence[Network], refused: Callable[[str], None]) -> None:
        """``per_address``: 0 is no limit. ``refused`` is told the name of a limit each time that it refuses one."""
        self._per_address = per_address
        self._most = most
        self._proxies = proxies
        self._refused = refused
        self._open: set[Accepted] = set()
        self._counts: Counter[str] = Counter()
        self._waiting: dict[str, dict[Accepted, None]] = {}  # for their peers; by address, the oldest first

    def __len__(self) -> int:
        return len(self._open)

    def accept(self, peer: str, give_way: Callable[[], None]) -> Accepted | None:
        """Count a connection until its `end`; None: it is refused. ``give_way`` closes it; it has ended by then."""
        proxy = peer if in_networks(peer, self._proxies) else ""
        address = "" if proxy else network_of(peer)
        if self._is_full(address) and not self._make_room(address):
            self._refused("max_connections_per_address")
            return None
        if len(self._open) >= self._most and not self._make_room(self._slowest()):
            self._refused("descriptors")
            return None
        accepted = Accepted(address, proxy, give_way)
        self._open.add(accepted)
        self._count(address, 1)
        self.wait(accepted)
        return accepted

    def ask(self, accepted: Accepted, forwarded: Iterable[str]) -> None:
        """Headers have come; ``forwarded``: each X-Forwarded-For, which names the client where a trusted proxy asks.

        Raises:
            TooManyConnections: that client has as many already.
        """
        if not accepted.proxy or accepted not in self._open:
            return
        address = network_of(client_address(accepted.proxy, forwarded, self._proxies))
        if self._is_full(address) and not self._make_room(address):
            self._refused("max_connections_per_address")
            raise TooManyConnections
        self._move(accepted, address)

    def work(self, accepted: Accepted) -> None:
        """It waits for us, or for somebody who is known: it stays until it waits for its peer."""
        if waiting := self._waiting.get(accepted.address):
            waiting.pop(accepted, None)
            if not waiting:
                del self._waiting[accepted.address]

    def wait(self, accepted: Accepted) -> None:
        """It waits for its peer."""
        if accepted in self._open:
            self._waiting.setdefault(accepted.address, {})[accepted] = None

    def rest(self, accepted: Accepted) -> None:
        """The answer has left: it waits for the next request."""
        if accepted in self._open:
            self._move(accepted, "" if accepted.proxy else accepted.address)

    def end(self, accepted: Accepted) -> None:
        """It is closed. Saying so twice is harmless."""
        if accepted in self._open:
            self.work(accepted)
            self._open.remove(accepted)
            self._count(accepted.address, -1)

    def _is_full(self, address: str) -> bool:
        return bool(address and self._per_address) and self._counts[address] >= self._per_address

    def _count(self, address: str, change: int) -> None:
        self._counts[address] += change
        if not (address and self._counts[address]):
            del self._counts[address]

    def _move(self, accepted: Accepted, address: str) -> None:
        """It counts for this address from here on, as the newest that waits."""
        self.work(accepted)
        self._count(accepted.address, -1)
        accepted.address = address
        self._count(address, 1)
        self.wait(accepted)

    def _slowest(self) -> str:
        """The address for whose peers the most connections wait."""
        return max(self._waiting, key=lambda address: len(self._waiting[address]), default="")

    def _make_room(self, address: str) -> bool:
        oldest = next(iter(self._waiting.get(address, ())), None)
        if oldest is None:
            return False
        self.end(oldest)
        oldest.give_way()
        return True
