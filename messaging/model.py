"""The words of Recado as types: frozen, and the rules of names."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NewType
from urllib.parse import quote, unquote

import msgspec

from messaging.errors import BadRequest

# JSON text that may be in a message: `log.content` alone makes it, from what it has checked. The store has no other.
Content = NewType("Content", str)
Kind = Literal["public", "private", "direct"]
Role = Literal["owner", "member"]

MAX_SEQ = 2**53 - 1  # the largest integer that every JSON reader keeps exact (RFC 8259, section 6)
MAX_LIFETIME = 365 * 24 * 3600  # seconds
LEEWAY = 30  # seconds that clocks of two machines may differ
MAX_NAME = 128
# No empty, "." or ".." segment between slashes: a name must survive in a URL and in a file system.
NAME_PATTERN = r"^(?!\.{1,2}(?:/|$))[A-Za-z0-9._:@+|-]+(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._:@+|-]+)*\Z"
NAME_RULE = "1 to 128 of A–Z a–z 0–9 . _ - : @ / + |, no empty, . or .. segment between slashes"
# What comes from other systems is percent-encoded (RFC 3986, 2.1) into the same set: no name of ours has a '%'.
ENCODED_PATTERN = NAME_PATTERN.replace("[A-Za-z0-9._:@+|-]", "(?:[A-Za-z0-9._:@+|-]|%[0-9A-F]{2})")
# Of what a person is called only what the set has not is encoded, so it is no platform's user or room: in these the
# separators are.
USER_PATTERN = ENCODED_PATTERN.replace("%", "%(?!2[BDEF]|3[0-9A]|4|5[0-9AF]|6[1-9A-F]|7[0-9AC])")
_NAME = re.compile(NAME_PATTERN)
_ENCODED = re.compile(ENCODED_PATTERN)
# Whom a message is from where a backend or a broker names nobody.
NOBODYS = frozenset({"api", "publish", "nats", "rabbitmq"})
NEWS = "updates.store."  # how the topics begin that belong to nobody; see news.py
_KEPT = ":@/+|"  # of what a person is called, beside letters, digits and . _ -


def is_name(text: str) -> bool:
    """Whether ``text`` may name anything here: a user, a topic, a device, an idempotency key."""
    return len(text) <= MAX_NAME and _NAME.match(text) is not None


def is_topic_name(text: str) -> bool:
    """Whether ``text`` may name a topic; ``@`` in front is kept for inboxes."""
    return is_name(text) and not text.startswith("@")


def is_encoded_name(text: str) -> bool:
    """Whether ``text`` may be a name, of ours or from outside."""
    return len(text) <= MAX_NAME and _ENCODED.match(text) is not None


def encoded(text: str, kept: str = "") -> str:
    """Percent-encoded as UTF-8, all but letters, digits, ``. _ -`` and what is ``kept``."""
    return quote(text, safe="._-" + kept).replace("~", "%7E")


def is_like_news(text: str) -> bool:
    """Whether a reader may take a topic of this name for news: the UUID in capitals, without hyphens, in braces …"""
    return text.lower().startswith(NEWS)


def is_user_name(text: str) -> bool:
    """Whether ``text`` may name a user: by the rule, or as `person_name` encodes what others call a person."""
    if is_like_news(text):  # a user of that name would keep the topic from being made
        return False
    if "%" not in text or not is_encoded_name(text):
        return is_name(text)
    original = unquote(text)
    return original.isprintable() and encoded(original, _KEPT) == text


def person_name(text: str) -> str:
    """The name here of a person whom another system calls ``text``. One that is encoded already stays as it is.

    Its separators stay, so that it is never the name of a platform's user or room: these are encoded there.

    Raises:
        BadRequest: it does not fit even so.
    """
    if is_user_name(text):
        return text
    if len(text) <= MAX_NAME and text.isprintable() and is_user_name(name := encoded(text, _KEPT)):
        return name
    raise BadRequest(
        f"{text[:MAX_NAME]!r} is not a name that a user may have, though percent-encoded: {NAME_RULE};"
        f" none begins with {NEWS}"
    )


def bearer_name(text: str) -> str:
    """The name that a token may name: of a person, and not one that idempotency keys and readers take for a backend's.

    Raises:
        BadRequest: there is none.
    """
    name = person_name(text)
    if name in NOBODYS:
        raise BadRequest(f"{name!r} is no user's name: messages of backends are from it.")
    return name


def original_name(name: str) -> str:
    """What another system calls who or what has this name here."""
    return unquote(name)


def name_of_topic(target: str) -> str:
    """The name that a target stands for, if it is a topic's: ``#NAME`` is the topic NAME, whoever is called so too."""
    return target[1:] if target.startswith("#") and not target.startswith("#@") else target


def inbox_of(user: str) -> str:
    """The name of a user's direct topic."""
    return "@" + user


def digest_of(text: str) -> bytes:
    """What is kept of a message to tell a retry from another message under its idempotency key."""
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()


class Topic(msgspec.Struct, frozen=True, gc=False):  # a node has very many, which its collector need not walk over
    """A named, ordered, append-only log. Inside, it is its id; ids never come back."""

    id: int
    name: str
    kind: Kind
    creator: str
    retention: int | None = None  # seconds; None: the setting RETENTION
    lifetime: int | None = None  # seconds; None: messages have none of their own
    in_doubt: bool = False  # a user has the same name, and no backend made it: see `permissions.aim_at`
    origin: int | None = None  # its id before it was renumbered; None: it never was


class Membership(msgspec.Struct, frozen=True, gc=False):
    """A user's belonging to a topic, from joining to leaving; joining again makes a new one."""

    id: int
    topic: Topic
    role: Role
    joined_seq: int
    invited_by: str | None


@dataclass(frozen=True, slots=True)
class TopicView:
    """A topic, how far its log is, and what one user is in it."""

    topic: Topic
    head: int
    membership: Membership | None
    is_invited: bool = False  # by an invitation that it has not taken up


@dataclass(frozen=True, slots=True)
class Member:
    name: str
    role: Role
    joined_seq: int
    cursors: dict[str, int]


@dataclass(frozen=True, slots=True)
class User:
    """Who a token names. ``version`` rises with every change of its memberships or revocations."""

    id: int
    name: str
    version: int


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One immutable entry of a log. ``content`` is byte for byte as it came."""

    seq: int
    sender: str
    content: Content
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


# Notices go over the bus as they are, as arrays: what is new in one stands at its end, with a default.


class Appended(msgspec.Struct, frozen=True, array_like=True, tag="a"):
    """Notice: a topic has grown by first … last; with the messages, or without where they did not fit."""

    topic_id: int
    first: int
    last: int
    messages: tuple[Message, ...] | None


class Changed(msgspec.Struct, frozen=True, array_like=True, tag="c"):
    """Notice: memberships or revocations of a user changed; ``ended``: topic and membership that ended."""

    user_id: int
    ended: tuple[int, int] | None = None


class Voided(msgspec.Struct, frozen=True, array_like=True, tag="v"):
    """Notice: a token was revoked by its id."""

    jti: str


Notice = Appended | Changed | Voided
