"""What queues are called and messages look like on RabbitMQ's side. Pure."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass
from datetime import UTC
from typing import Any
from urllib.parse import urlsplit

import msgspec

from bridges.config import RabbitOut
from bridges.envelope import payload_of
from bridges.outlet import OutgoingMessage, Undeliverable
from bridges.rabbitmq.frames import Delivery
from messaging.bridge.arrivals import Incoming
from messaging.errors import BadRequest
from messaging.log.content import check_content
from messaging.model import MAX_LIFETIME, original_name, person_name
from messaging.settings.settings import Settings

QUEUE_RULE = "1 to 255 of A–Z a–z 0–9 - _ . : @ # , / + and space, not beginning with amq."
# The server reserves amq.*, the protocol has a byte for the length, the client library refuses other characters.
_QUEUE = re.compile(r"(?!amq\.)[A-Za-z0-9_.:@#,/+ -]{1,255}\Z")
_PORTS = {"amqp": 5672, "amqps": 5671}


# --- queues ------------------------------------------------------------------------------------------


def is_queue_name(text: str) -> bool:
    """Whether a queue of this name can be declared."""
    return _QUEUE.match(text) is not None


def queue_of(template: str, topic: str) -> str:
    """The queue that a topic goes to; of a pattern of topics, the pattern of their queues.

    A user's is called as other systems call the person.
    """
    return template.replace("{topic}", topic).replace("{user}", original_name(topic.removeprefix("@")))


def server_of(url: str) -> tuple[str, int, str]:
    """Host, port and virtual host: where two URLs agree in them, they mean one server. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("it is amqp://USER:PASSWORD@HOST[:PORT][/VHOST], or amqps://…")
    return parts.hostname, parts.port or _PORTS[parts.scheme], parts.path.removeprefix("/").replace("%2F", "/") or "/"


# --- out ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Letter:
    """What is handed to the server."""

    queue: str
    body: bytes


def letter_of(out: RabbitOut, outgoing: OutgoingMessage) -> Letter:
    """Raises Undeliverable where no queue can have the name."""
    queue = queue_of(out.queue, outgoing.topic)
    if not is_queue_name(queue):
        raise Undeliverable(f"RabbitMQ has no queue {queue!r}: a name is {QUEUE_RULE}")
    return Letter(queue, offer(outgoing) if out.payload == "prontogram" else payload_of(outgoing, out.payload))


def offer(outgoing: OutgoingMessage) -> bytes:
    """As ProntoGram's backend writes it. Its browser drops what names another receiver than its user."""
    message = outgoing.message
    content = msgspec.json.decode(message.content)
    fields = {
        "sender": original_name(message.sender),
        "receiver": original_name(outgoing.topic.removeprefix("@")),
        "body": content if isinstance(content, str) else message.content,
        "send_time": message.sent_at.astimezone(UTC).isoformat(),
    }
    return json.dumps(fields).encode()


# --- in ----------------------------------------------------------------------------------------------


class Offer(msgspec.Struct, frozen=True):
    """What a legacy producer sends. Who receives it, the queue says."""

    sender: str
    body: str
    send_time: Any = None
    ttl: Any = None


def read_content(delivery: Delivery, sender: str, settings: Settings) -> Incoming:
    """Any JSON, as it is. Raises BadRequest."""
    return Incoming(sender, check_content(delivery.body, settings), _key(delivery), _lifetime(delivery.expiration))


def read_offer(delivery: Delivery, settings: Settings) -> Incoming:
    """A legacy producer's message: its body becomes the content, as with POST /messages. Raises BadRequest.

    Where it carries no id, a time of sending with a fraction of a second tells it from all others: what comes again
    after a crash is then the same message. Without either, it is stored again.
    """
    try:
        found = msgspec.json.decode(delivery.body, type=Offer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise BadRequest(f"It is not JSON with sender, receiver and body: {exc}.") from None
    sender = person_name(found.sender)
    if not found.body:
        raise BadRequest("Its body is empty.")
    content = check_content(msgspec.json.encode(found.body), settings)
    key = _key(delivery)
    if key is None and isinstance(found.send_time, str) and "." in found.send_time:
        key = _digest(delivery.body)
    return Incoming(sender, content, key, _lifetime(delivery.expiration or found.ttl))


def _key(delivery: Delivery) -> str | None:
    """Ids are their producer's own: those of another queue may be the same, and of any form."""
    if not delivery.message_id:
        return None
    return _digest(f"{delivery.queue}\0{delivery.message_id}".encode())


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _lifetime(seconds: Any) -> int | None:
    """None where it is no lifetime that a message may have."""
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 < seconds <= MAX_LIFETIME:
        return None
    return math.ceil(seconds)
