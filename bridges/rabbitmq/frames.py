"""AMQP's frames, as bytes: what a producer chose is made harmless before a library parses it. Pure, and linear.

Of a message's properties two are for us, its id and its expiration. All others are left out, a table of headers unread;
what is wrong about them is said in the property ``type``, which no producer can set, as theirs is left out.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from aiormq.abc import DeliveredMessage

METHOD, HEADER, FRAME_END = 1, 2, b"\xce"
HEARTBEAT_FRAME = b"\x08\0\0\0\0\0\0\xce"
MAX_FRAME_BYTES = 16 * 1024 * 1024  # bytes; RabbitMQ's own limit is 128 KiB
_DELIVER = b"\0\x3c\0\x3c"  # class 60, method 60
_LAST_TIME = 253_402_300_799_999  # milliseconds; a number of seconds is smaller yet

# In the order of their flags, from the highest bit on.
_PROPERTIES = (
    ("content_type", "text"), ("content_encoding", "text"), ("headers", "table"), ("delivery_mode", "octet"),
    ("priority", "octet"), ("correlation_id", "text"), ("reply_to", "text"), ("expiration", "text"),
    ("message_id", "text"), ("timestamp", "time"), ("type", "text"), ("user_id", "text"), ("app_id", "text"),
    ("cluster_id", "text"),
)  # fmt: skip
_EXPIRATION, _MESSAGE_ID, _TYPE = (1 << 15 - place for place in (7, 8, 10))


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a queue gave. ``expiration``: seconds that it may live. ``fault``: what of it can't be read."""

    queue: str
    body: bytes
    message_id: str | None = None
    expiration: float | None = None
    fault: str | None = None
    tag: int = 0


def delivery_of(queue: str, message: DeliveredMessage) -> Delivery:
    given = message.header.properties
    lives = given.expiration  # milliseconds
    seconds = int(lives) / 1000 if lives and lives.isascii() and lives.isdigit() and len(lives) < 16 else None
    return Delivery(queue, message.body, given.message_id, seconds, given.message_type, message.delivery_tag or 0)


def frame_head(head: bytes) -> tuple[int, int]:
    """A frame's kind, and the size of its payload. Raises ConnectionError: it is none."""
    kind, _, size = struct.unpack(">BHI", head)
    if size > MAX_FRAME_BYTES:
        raise ConnectionError(f"the server sends a frame of {size} bytes")
    return kind, size


def harmless(kind: int, head: bytes, payload: bytes) -> bytes:
    """A whole frame that says the same of what is ours to know. ``payload``: with the octet at its end."""
    if kind == HEADER and len(payload) > 12:
        inside = payload[:12] + _properties(payload[12:-1])
    elif kind == METHOD and payload.startswith(_DELIVER):
        inside = _without_route(payload[:-1])
    else:
        return head + payload
    return head[:3] + struct.pack(">I", len(inside)) + inside + payload[-1:]


def _without_route(payload: bytes) -> bytes:
    """A delivery without its exchange and routing key, which may be any bytes."""
    end = 4 + 1 + payload[4] + 8 + 1 if len(payload) > 4 else 0
    return payload[:end] + b"\0\0"


def _properties(data: bytes) -> bytes:
    fault = b""
    found: dict[str, bytes] = {}
    try:
        found = _read(data)
    except ValueError as exc:
        fault = str(exc).encode()
    kept = [
        (flag, value)
        for flag, value in (
            (_EXPIRATION, found.get("expiration", b"")), (_MESSAGE_ID, found.get("message_id", b"")), (_TYPE, fault),
        )
        if value
    ]  # fmt: skip
    flags = sum(flag for flag, _ in kept)
    return struct.pack(">H", flags) + b"".join(bytes([len(value)]) + value for _, value in kept)


def _read(data: bytes) -> dict[str, bytes]:
    """Each property's bytes. Raises ValueError: one of them is not as it has to be."""
    if len(data) < 2:
        raise ValueError("its properties are cut off")
    flags, place = int.from_bytes(data[:2], "big"), 2
    if flags & 1:
        raise ValueError("it has properties that nobody knows")
    found = {}
    for number, (name, kind) in enumerate(_PROPERTIES):
        if not flags & 1 << 15 - number:
            continue
        width = {"text": 1, "table": 4, "octet": 1, "time": 8}[kind]
        value, place = data[place : place + width], place + width
        if kind in ("text", "table"):
            size = int.from_bytes(value, "big")
            value, place = data[place : place + size], place + size
        if place > len(data):
            raise ValueError(f"its {name} is cut off")
        found[name] = value
        _check(name, kind, value)
    return found


def _check(name: str, kind: str, value: bytes) -> None:
    if kind == "text":
        try:
            value.decode()
        except UnicodeDecodeError:
            raise ValueError(f"its {name} is no UTF-8") from None
    if kind == "time" and int.from_bytes(value, "big") > _LAST_TIME:
        raise ValueError(f"its {name} is no time, neither in seconds nor in milliseconds")
