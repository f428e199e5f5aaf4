"""The words of Recado as types: frozen, and the rules of names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Kind = Literal["public", "private", "direct"]
Role = Literal["owner", "member"]

MAX_SEQ = 2**53 - 1  # the largest integer that every JSON reader keeps exact (RFC 8259, section 6)
MAX_LIFETIME = 365 * 24 * 3600  # seconds
MAX_NAME = 128
# No empty, "." or ".." segment between slashes: a name must survive in a URL and in a file system.
NAME_PATTERN = r"^(?!\.{1,2}(?:/|$))[A-Za-z0-9._:@+|-]+(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._:@+|-]+)*\Z"
NAME_RULE = "1 to 128 of A–Z a–z 0–9 . _ - : @ / + |, no empty, . or .. segment between slashes"
# What comes from other systems is percent-encoded into the same set: no name of ours has a '%'.
TOPIC_PATTERN = NAME_PATTERN.replace("[A-Za-z0-9._:@+|-]", "(?:[A-Za-z0-9._:@+|-]|%[0-9A-F]{2})")
_NAME = re.compile(NAME_PATTERN)
_TOPIC = re.compile(TOPIC_PATTERN)


def is_name(text: str) -> bool:
    """Whether ``text`` may name a user, a device or an idempotency key."""
    return len(text) <= MAX_NAME and _NAME.match(text) is not None


def is_topic_name(text: str) -> bool:
    """Whether ``text`` may name a topic; ``@`` in front is kept for inboxes."""
    return is_name(text) and not text.startswith("@")


def may_be_topic(text: str) -> bool:
    """Whether ``text`` may be looked up as a topic: rooms of other systems, too, are topics."""
    return len(text) <= MAX_NAME and _TOPIC.match(text) is not None


def inbox_of(user: str) -> str:
    """The name of a user's direct topic."""
    return "@" + user


@dataclass(frozen=True, slots=True)
class Topic:
    """A named, ordered, append-only log. Inside, it is its id; ids never come back."""

    id: int
    name: str
    kind: Kind
    creator: str
    retention: int | None = None  # seconds; None: the setting RETENTION
    lifetime: int | None = None  # seconds; None: messages have none of their own
    origin: int | None = None  # its id before it was renumbered; None: it never was


@dataclass(frozen=True, slots=True)
class Membership:
    """A user's belonging to a topic, from joining to leaving; joining again makes a new one."""

    id: int
    topic: Topic
    role: Role
    joined_seq: int
    invited_by: str | None


@dataclass(frozen=True, slots=True)
class User:
    """Who a token names. ``version`` rises with every change of its memberships or revocations."""

    id: int
    name: str
    version: int


@dataclass(frozen=True, slots=True)
class Message:
    """One immutable entry of a log. ``content`` is JSON text, byte for byte as it came."""

    seq: int
    sender: str
    content: str
    sent_at: datetime


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages that retention, a lifetime or being seen removed before this reader got them."""

    first: int
    last: int
    reason: Literal["expired", "seen"]


Entry = Message | Gap


@dataclass(frozen=True, slots=True)
class Page:
    """What one statement said of a log beyond a position: entries in order, and the head at that moment.

    ``last`` is the seq that a reader of all ``entries`` has reached; the page was not cut where it equals ``head``.
    """

    entries: tuple[Entry, ...]
    last: int
    head: int


@dataclass(frozen=True, slots=True)
class Appended:
    """Notice: a topic has grown by first … last; with the messages, or without where they did not fit."""

    topic_id: int
    first: int
    last: int
    messages: tuple[Message, ...] | None


@dataclass(frozen=True, slots=True)
class Changed:
    """Notice: memberships or revocations of a user changed."""

    user_id: int


@dataclass(frozen=True, slots=True)
class Voided:
    """Notice: a token was revoked by its id."""

    jti: str


Notice = Appended | Changed | Voided
