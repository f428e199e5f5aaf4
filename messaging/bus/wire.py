"""What every bus between processes has in common: how notices are packed, and how their loss is noticed. Pure.

A *parcel* is one message of the bus: who sent it and its number (`seal`), and notices. Numbers of one sender are
consecutive, so a receiver sees from the next parcel (a heartbeat at the latest) that one is missing, and reads the
store.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable

import msgspec

from messaging.model import Appended, Notice

MAX_OUTBOX = 10_000  # notices; beyond it the oldest go, and peers find out


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Notice]).decode
_ARRAY = struct.Struct(">BH")  # msgpack's head of a list of up to 65,535


def packed(parts: list[bytes]) -> bytes:
    """The body of a parcel; a heartbeat's has no parts."""
    return _ARRAY.pack(0xDC, len(parts)) + b"".join(parts)


def unpacked(body: bytes) -> list[Notice]:
    """Raises msgspec.DecodeError: a node of another release has sealed it."""
    return _decode(body)


class SendQueue:
    """Notices on their way to the peers: bounded, packed into numbered bodies of parcels that fit the bus."""

    def __init__(self) -> None:
        self._number = 0
        self._waiting: deque[Notice] = deque()

    def put(self, notice: Notice) -> None:
        if len(self._waiting) >= MAX_OUTBOX:
            self._waiting.popleft()
            self._number += 1  # the gap in the numbers tells the peers
        self._waiting.append(notice)

    def heartbeat(self) -> tuple[int, bytes]:
        return self._numbered([])

    def parcels(self, limit: int) -> Iterable[tuple[int, bytes]]:
        """Everything gathered, in bodies of at most ``limit`` bytes each; messages only where they fit."""
        parts: list[bytes] = []
        room = limit - _ARRAY.size
        size = 0
        while self._waiting:
            part = fitting(self._waiting.popleft(), room)
            if parts and size + len(part) > room:
                yield self._numbered(parts)
                parts, size = [], 0
            parts.append(part)
            size += len(part)
        if parts:
            yield self._numbered(parts)

    def _numbered(self, parts: list[bytes]) -> tuple[int, bytes]:
        self._number += 1
        return self._number, packed(parts)


def fitting(notice: Notice, room: int) -> bytes:
    """A notice in at most ``room`` bytes: with its messages, or without."""
    if isinstance(notice, Appended) and notice.messages is not None:
        size = sum(len(message.content) for message in notice.messages)  # a lower bound, without encoding
        if size <= room:
            whole = _encode(notice)
            if len(whole) <= room:
                return whole
        notice = Appended(notice.topic_id, notice.first, notice.last, None)
    return _encode(notice)


class ReplayWindow:
    """The newest number of each sender that is alive: what of it was received, and what was missed."""

    def __init__(self) -> None:
        self._newest: dict[str, int] = {}
        self._strangers: set[str] = set()

    def know(self, alive: frozenset[str]) -> bool:
        """Forget all senders but these. Whether one of these was turned away before."""
        self._newest = {sender: self._newest.get(sender, 0) for sender in alive}
        turned_away = not self._strangers.isdisjoint(alive)
        self._strangers.clear()
        return turned_away

    def take(self, sender: str, number: int) -> int | None:
        """How many parcels of the sender are missing before this one; None where it is not to be received.

        It is not where it was received already, or its sender is not known to be alive: old parcels may be played
        again by anybody. Of a sender that was not heard before, all may be missing.
        """
        newest = self._newest.get(sender)
        if newest is None:
            self._strangers.add(sender)
            return None
        if number <= newest:
            return None
        self._newest[sender] = number
        return number - newest - 1

    def __contains__(self, sender: str) -> bool:
        return sender in self._newest
