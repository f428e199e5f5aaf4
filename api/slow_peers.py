"""What this process holds for peers that do not take their answers, or do not send the rest of a body. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Generic, TypeVar

P = TypeVar("P")

MAX_BYTES = 24 * 1024 * 1024  # of all; an answer may be there twice, as it was made and as it is sent


class SlowPeers(Generic[P]):
    """Bytes by peer. Beyond the bound an address gives for which most are held, and of it the peer that waits longest.

    So who takes an answer slowly is cut off only where no other address has as many of them.
    """

    def __init__(self, most: int = MAX_BYTES) -> None:
        self._most = most
        self._sizes: dict[str, dict[P, int]] = {}  # by address, the longest waiting first
        self._sums: Counter[str] = Counter()
        self._addresses: dict[P, str] = {}
        self.total = 0

    def hold(self, peer: P, address: str, size: int) -> list[P]:
        """Hold more for a peer, until its `release`. Whom to cut off for it: nothing is held for them from here on."""
        address = self._addresses.setdefault(peer, address)
        sizes = self._sizes.setdefault(address, {})
        sizes[peer] = sizes.get(peer, 0) + size
        self._add(address, size)
        cut_off = []
        while self.total > self._most:
            worst = max(self._sums, key=self._sums.__getitem__)
            cut_off.append(next(iter(self._sizes[worst])))
            self.release(cut_off[-1])
        return cut_off

    def release(self, peer: P) -> None:
        """Nothing is held for it any more; harmless where nothing was."""
        address = self._addresses.pop(peer, None)
        if address is None:
            return
        self._add(address, -self._sizes[address].pop(peer))
        if not self._sizes[address]:
            del self._sizes[address], self._sums[address]

    def _add(self, address: str, size: int) -> None:
        self._sums[address] += size
        self.total += size
