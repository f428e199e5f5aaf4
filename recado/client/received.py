"""What a client receives, typed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of a topic's log. ``content`` is whatever JSON its sender sent."""

    topic: str  # an inbox is "@" and the name of its user
    seq: int
    sender: str
    content: Any
    sent_at: datetime
    epoch: str = ""  # which log of this name its seq is of


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages first … last were removed before this reader got them: "expired", or "seen" on another device."""

    topic: str
    first: int
    last: int
    reason: str
    epoch: str = ""


@dataclass(frozen=True, slots=True)
class Invited:
    """Somebody made this user a member of a topic; what comes to it, follows."""

    topic: str
    by: str


@dataclass(frozen=True, slots=True)
class Removed:
    """This user is no member of the topic any more, or the topic was deleted."""

    topic: str


Entry = Message | Gap
Thing = Message | Gap | Invited | Removed


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic that the user belongs to. ``pending``: how many messages this device has not confirmed."""

    name: str
    kind: str  # public, private, direct
    role: str
    last_seq: int
    cursor: int
    pending: int


@dataclass(frozen=True, slots=True)
class History:
    """A part of a log, in order; whether there is more on its far side."""

    messages: list[Message]
    more: bool


def thing_of(frame: Mapping[str, Any], epoch: str = "") -> Thing | None:
    """What a push carries; None for one that this client does not know, which newer servers may send."""
    match frame:
        case {"action": "message", "topic_name": str(topic), "seq": int()}:
            return message_of(topic, frame, epoch)
        case {"action": "gap", "topic_name": str(topic), "from": int(first), "to": int(last)}:
            return Gap(topic, first, last, str(frame.get("reason", "")), epoch)
        case {"action": "invited", "topic_name": str(topic)}:
            return Invited(topic, str(frame.get("user_source", "")))
        case {"action": "removed", "topic_name": str(topic)}:
            return Removed(topic)
    return None


def message_of(topic: str, frame: Mapping[str, Any], epoch: str = "") -> Message:
    sent_at = datetime.fromisoformat(frame["sent_at"])
    return Message(topic, frame["seq"], frame["user_source"], frame.get("content"), sent_at, epoch)


def history_of(frame: Mapping[str, Any]) -> History:
    topic, epoch = frame["topic_name"], str(frame.get("epoch", ""))
    return History([message_of(topic, message, epoch) for message in frame["messages"]], bool(frame["more"]))


def topics_of(frame: Mapping[str, Any]) -> list[TopicState]:
    return [
        TopicState(
            state["topic_name"], state["kind"], state["role"], state["last_seq"], state["cursor"], state["pending"]
        )
        for state in frame["topics"]
    ]
