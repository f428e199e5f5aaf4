"""What comes from a broker, on its way into the log, or to the dead letters."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from messaging.actions import Actions
from messaging.errors import Conflict, UnknownTopic
from messaging.model import Kind
from messaging.news import kind_of_unowned
from messaging.node import Node
from messaging.permissions import BACKEND, Aim
from messaging.replay import Settled
from messaging.settings import Settings
from messaging.store_bridges import DeadLetter

log = logging.getLogger(__name__)

SHOWN = 16 * 1024  # characters of a message that can't be stored, kept to be looked at


@dataclass(frozen=True, slots=True)
class Incoming:
    """What is to be stored. ``key``: the same for each delivery of one message. ``ttl``: seconds."""

    sender: str
    content: str
    key: str | None = None
    ttl: int | None = None


async def submit(node: Node, settings: Settings, topic: str, incoming: Incoming) -> Settled:
    """Hand it to the appender; what is handed over first is stored first. The topic, or inbox, is made if need be.

    Raises:
        RecadoError: it can't be stored; Unavailable: not now.
    """
    aim = await _aim(node.actions, settings, topic, incoming.sender)
    origin = Settled()
    node.actions.publish(aim, incoming.sender, incoming.content, incoming.key, incoming.ttl, origin, None)
    return origin


async def _aim(actions: Actions, settings: Settings, topic: str, sender: str) -> Aim:
    if topic.startswith("@"):
        await actions.know(topic[1:])
        return await actions.aim(BACKEND, topic)
    with suppress(UnknownTopic):
        aim = await actions.aim(BACKEND, topic)
        if aim.topic.kind != "direct":  # a user of this name has an inbox, which was not meant
            return aim
    await _make(actions, kind_of_unowned(settings), topic, sender)
    return await actions.aim(BACKEND, topic)


async def _make(actions: Actions, kind: Kind, topic: str, sender: str) -> None:
    owner = await actions.know(sender)
    try:
        await actions.create_topic(BACKEND, topic, owner, kind)
    except Conflict:
        return  # somebody else was faster


async def bury(node: Node, bridge: str, topic: str, number: int, sender: str, raw: bytes, reason: str) -> None:
    """Keep what can't be stored as a dead letter. ``number`` stands for its seq; once more changes nothing.

    Raises:
        Unavailable: it is not kept.
    """
    await node.book.bury(DeadLetter(bridge, topic, 0, number, sender, remains(raw), None, reason))
    node.metrics.bridge_buried.labels(bridge).inc()
    log.error("bridge %s gives up a message for %s: %s", bridge, topic, reason)


def remains(raw: bytes) -> str:
    """JSON text that shows some bytes, whatever they are."""
    text = raw[: 4 * SHOWN].decode(errors="backslashreplace").replace("\0", "\\x00")
    return msgspec.json.encode(text[:SHOWN]).decode()
