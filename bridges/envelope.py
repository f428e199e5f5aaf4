"""A message as one JSON object, for systems that want to know more than its content."""

from __future__ import annotations

from datetime import datetime

import msgspec

from bridges.outlet import OutgoingMessage


class Envelope(msgspec.Struct, frozen=True):
    """The names are those of a frame of the WebSocket door; the content stays byte for byte as it came."""

    topic_name: str
    seq: int
    user_source: str
    sent_at: datetime
    content: msgspec.Raw


def envelope(parcel: OutgoingMessage) -> bytes:
    message = parcel.message
    content = msgspec.Raw(message.content.encode())
    return msgspec.json.encode(Envelope(parcel.topic, message.seq, message.sender, message.sent_at, content))


def payload_of(parcel: OutgoingMessage, payload: str) -> bytes:
    """What a broker is handed: an "envelope", or the "content" alone."""
    return envelope(parcel) if payload == "envelope" else parcel.message.content.encode()
