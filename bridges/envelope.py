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


def envelope(outgoing: OutgoingMessage) -> bytes:
    message = outgoing.message
    content = msgspec.Raw(message.content.encode())
    return msgspec.json.encode(Envelope(outgoing.topic, message.seq, message.sender, message.sent_at, content))


def payload_of(outgoing: OutgoingMessage, payload: str) -> bytes:
    """What a broker is handed: an "envelope", or the "content" alone."""
    return envelope(outgoing) if payload == "envelope" else outgoing.message.content.encode()
