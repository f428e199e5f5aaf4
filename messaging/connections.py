"""Connections to the doors of this process, counted from their accept on: of each address, and all of them. Pure.

Where there is no room, the oldest one that is idle (its headers have not come, or its last answer has left) gives way
to the one that comes: who opens many and says nothing stands in nobody's way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from messaging.addresses import Network, client_address, in_networks, network_of
from messaging.errors import RateLimited

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

    def __init__(
        self, per_address: int, most: int, proxies: Sequence[Network], refused: Callable[[str], None]
    ) -> None:
        """``per_address``: 0 is no limit. ``refused`` is told the name of a limit each time that it refuses one."""
        self._per_address = per_address
        self._most = most
        self._proxies = proxies
        self._refused = refused
        self._open: set[Accepted] = set()
        self._counts: Counter[str] = Counter()
        self._idle: dict[str, dict[Accepted, None]] = {}  # by address, the oldest first

    def __len__(self) -> int:
        return len(self._open)

    def accept(self, peer: str, give_way: Callable[[], None]) -> Accepted | None:
        """Count a connection until its `end`; None: it is refused. ``give_way`` closes it; it has ended by then."""
        proxy = peer if in_networks(peer, self._proxies) else ""
        address = "" if proxy else network_of(peer)
        if self._is_full(address) and not self._make_room(address):
            self._refused("max_connections_per_address")
            return None
        if len(self._open) >= self._most and not self._make_room(self._idlest()):
            self._refused("descriptors")
            return None
        accepted = Accepted(address, proxy, give_way)
        self._open.add(accepted)
        self._count(address, 1)
        self._idle.setdefault(address, {})[accepted] = None
        return accepted

    def work(self, accepted: Accepted, forwarded: Iterable[str]) -> None:
        """Headers have come; ``forwarded``: each X-Forwarded-For, which names the client where a trusted proxy asks.

        Raises:
            TooManyConnections: that client has as many already.
        """
        self._stir(accepted)
        if not accepted.proxy or accepted not in self._open:
            return
        address = network_of(client_address(accepted.proxy, forwarded, self._proxies))
        if self._is_full(address):
            self._refused("max_connections_per_address")
            raise TooManyConnections
        accepted.address = address
        self._count(address, 1)

    def rest(self, accepted: Accepted) -> None:
        """The answer has left: it is idle until the next request."""
        if accepted not in self._open:
            return
        if accepted.proxy:
            self._count(accepted.address, -1)
            accepted.address = ""
        self._idle.setdefault(accepted.address, {})[accepted] = None

    def end(self, accepted: Accepted) -> None:
        """It is closed. Saying so twice is harmless."""
        if accepted in self._open:
            self._stir(accepted)
            self._open.remove(accepted)
            self._count(accepted.address, -1)

    def _is_full(self, address: str) -> bool:
        return bool(address and self._per_address) and self._counts[address] >= self._per_address

    def _count(self, address: str, change: int) -> None:
        self._counts[address] += change
        if not (address and self._counts[address]):
            del self._counts[address]

    def _stir(self, accepted: Accepted) -> None:
        if idle := self._idle.get(accepted.address):
            idle.pop(accepted, None)
            if not idle:
                del self._idle[accepted.address]

    def _idlest(self) -> str:
        """The address with the most idle connections."""
        return max(self._idle, key=lambda address: len(self._idle[address]), default="")

    def _make_room(self, address: str) -> bool:
        oldest = next(iter(self._idle.get(address, ())), None)
        if oldest is None:
            return False
        self.end(oldest)
        oldest.give_way()
        return True
