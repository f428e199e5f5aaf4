"""What every bus between processes has in common: how notices are packed, and how their loss is noticed. Pure.

A *parcel* is one message of the bus: who sent it, its number, and notices. Numbers of one sender are consecutive, so a
receiver sees from the next parcel (a heartbeat at the latest) that one is missing, and reads the store.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import datetime

import msgspec

from messaging.model import Appended, Changed, Message, Notice, Voided

OUTBOX_MOST = 10_000  # notices; beyond it the oldest go, and peers find out
PEERS_MOST = 1_000


class _Message(msgspec.Struct, array_like=True):
    seq: int
    sender: str
    content: str
    sent_at: datetime


class _Appended(msgspec.Struct, array_like=True, tag="a"):
    topic_id: int
    first: int
    last: int
    messages: list[_Message] | None


class _Changed(msgspec.Struct, array_like=True, tag="c"):
    user_id: int


class _Voided(msgspec.Struct, array_like=True, tag="v"):
    jti: str


class Parcel(msgspec.Struct, array_like=True):
    """One message of the bus; a heartbeat where it holds no notices."""

    sender: str
    number: int
    notices: list[_Appended | _Changed | _Voided]


_encode = msgspec.json.Encoder().encode
_parcels: msgspec.json.Decoder[Parcel] = msgspec.json.Decoder(Parcel)


def _to_wire(notice: Notice) -> _Appended | _Changed | _Voided:
    if isinstance(notice, Changed):
        return _Changed(notice.user_id)
    if isinstance(notice, Voided):
        return _Voided(notice.jti)
    messages = notice.messages
    wire = None if messages is None else [_Message(m.seq, m.sender, m.content, m.sent_at) for m in messages]
    return _Appended(notice.topic_id, notice.first, notice.last, wire)


def _from_wire(wire: _Appended | _Changed | _Voided) -> Notice:
    if isinstance(wire, _Changed):
        return Changed(wire.user_id)
    if isinstance(wire, _Voided):
        return Voided(wire.jti)
    messages = wire.messages
    entries = None if messages is None else tuple(Message(m.seq, m.sender, m.content, m.sent_at) for m in messages)
    return Appended(wire.topic_id, wire.first, wire.last, entries)


class Outbox:
    """Notices on their way to the peers: bounded, packed into parcels that fit the bus."""

    def __init__(self, sender: str) -> None:
        self._sender = sender
        self._number = 0
        self._notices: deque[Notice] = deque()

    def __bool__(self) -> bool:
        return bool(self._notices)

    def put(self, notice: Notice) -> None:
        if len(self._notices) >= OUTBOX_MOST:
            self._notices.popleft()
            self._number += 1  # the gap in the numbers tells the peers
        self._notices.append(notice)

    def heartbeat(self) -> bytes:
        return self._parcel([])

    def parcels(self, limit: int) -> Iterable[bytes]:
        """Everything gathered, in parcels of at most ``limit`` bytes each; messages only where they fit."""
        parts: list[bytes] = []
        room = limit - 100 - len(self._sender)  # for the brackets, the sender and the number
        size = 0
        while self._notices:
            part = fitting(self._notices.popleft(), room)
            if parts and size + len(part) + 1 > room:
                yield self._parcel(parts)
                parts, size = [], 0
            parts.append(part)
            size += len(part) + 1
        if parts:
            yield self._parcel(parts)

    def _parcel(self, parts: list[bytes]) -> bytes:
        self._number += 1
        return b"[%b,%d,[%b]]" % (_encode(self._sender), self._number, b",".join(parts))


def fitting(notice: Notice, room: int) -> bytes:
    """A notice in at most ``room`` bytes: with its messages, or without."""
    if isinstance(notice, Appended) and notice.messages is not None:
        size = sum(len(message.content) for message in notice.messages)  # a lower bound, without encoding
        if size <= room:
            whole = _encode(_to_wire(notice))
            if len(whole) <= room:
                return whole
        notice = Appended(notice.topic_id, notice.first, notice.last, None)
    return _encode(_to_wire(notice))


class Inbox:
    """Parcels from the peers, and whether one was missed."""

    def __init__(self, sender: str) -> None:
        self._me = sender
        self._numbers: dict[str, int] = {}

    def open(self, data: bytes) -> tuple[list[Notice], bool, bool]:
        """The notices of a parcel; whether one before it is missing; whether it is our own.

        Our own notices were received when they were told, and are not given again. What is no parcel is ignored.
        """
        try:
            parcel = _parcels.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return [], False, False
        if parcel.sender == self._me:
            return [], False, True
        before = self._numbers.get(parcel.sender, 0)  # of a peer not heard of before, all may have been missed
        if not before and len(self._numbers) >= PEERS_MOST:
            self._numbers.clear()
        self._numbers[parcel.sender] = max(parcel.number, before)
        missed = parcel.number > before + 1
        return [_from_wire(wire) for wire in parcel.notices], missed, False
