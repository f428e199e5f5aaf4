"""What platforms are told, as they are told it. Pure: field names and order are those of the first systems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import quote

import msgspec

from messaging.errors import BadRequest
from messaging.model import MAX_NAME, encoded

OutsideId = int | str
Style = Literal["own", "paths", "webhook", "pull"]
RoomType = Literal["private", "public"]
NewsType = Literal[
    "user.created", "user.updated", "user.removed", "room.created", "room.updated", "message.created", "platform.test"
]

OWN = "recado"  # the name under which Recado's own users take part
MAX_ID = 128
_TYPES: Mapping[str, RoomType] = {"private": "private", "public": "public", "group": "public", "global": "public"}

NO_NUL = r"^[^\x00]*$"  # which PostgreSQL has not in a text
IdText = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID, pattern=NO_NUL)]
IdNumber = Annotated[int, msgspec.Meta(ge=-(2**53) + 1, le=2**53 - 1)]


class PlatformEvent(msgspec.Struct, frozen=True):
    """One entry of a platform's inbox. ``data``: the body that a platform with paths gets; the rest is around it."""

    id: str
    type: NewsType
    timestamp: datetime
    data: msgspec.Raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """A platform as the store has it. ``id`` is that of the user that it is, ``inbox`` the topic of what is for it.

    ``secrets``: the newest first; all of them sign. ``trusted``: the operator's file vouches for its address.
    """

    id: int = 0  # until it is kept
    inbox: int = 0
    name: str
    style: Style
    url: str | None = None
    secrets: tuple[str, ...] = ()
    audio: bool = False
    image: bool = False
    trusted: bool = False
    insecure: bool = False
    retry_ambiguous: bool = True
    import_every: int = 86400  # seconds
    users_as_of: datetime | None = None

    @property
    def bridge(self) -> str:
        return bridge_name(self.name)


@dataclass(frozen=True, slots=True)
class Person:
    """A user of a platform. ``id_json``: its id as that platform writes it."""

    platform: int
    key: str
    id_json: str
    name: str
    introduced: frozenset[int] = frozenset()
    removed: bool = False
    absent: int = 0  # lists of its platform, in a row, that did not have it; -1: only others have mentioned it


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A room of a platform. ``users``: JSON as it came; ``members``: the platforms that belong to it."""

    platform: int
    key: str
    id_json: str
    name: str
    type: RoomType
    users: str
    topic_id: int
    members: frozenset[int]


def bridge_name(platform: str) -> str:
    """The name of a platform's bridge: its own, percent-encoded."""
    return quote(platform, safe="._-")


def key_of(outside: OutsideId) -> str:
    """Ids of one platform are compared as text: 17 and "17" are one."""
    return str(outside)


def json_of(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def room_type(text: str) -> RoomType:
    """`group` and `GLOBAL` are older words for public. Raises BadRequest."""
    found = _TYPES.get(text.lower())
    if found is None:
        raise BadRequest(f"type: {text!r} is none of private, public, group.")
    return found


def outside_name(platform: str, separator: str, key: str) -> str:
    """The name that a user or room of a platform has here: no person's, as these keep their separators as they are.

    Raises:
        BadRequest: it would be too long.
    """
    name = encoded(platform + separator + key)
    if len(name) > MAX_NAME:
        raise BadRequest(f"{platform}{separator}{key} is too long: encoded it may have {MAX_NAME} characters.")
    return name


def user_name(platform: str, key: str) -> str:
    return outside_name(platform, "/", key)


def topic_name(platform: str, key: str) -> str:
    return outside_name(platform, ":", key)


def user_news(person: Person, platform: str) -> bytes:
    return _object([("id", person.id_json), ("name", json_of(person.name)), ("platform", json_of(platform))])


def room_news(room: Room, platform: str) -> bytes:
    return _object([
        ("id", room.id_json), ("name", json_of(room.name)), ("platform", json_of(platform)),
        ("users", room.users), ("type", json_of(room.type)),
    ])  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatMessage:
    """A message as a platform says it; ``room_platform`` and ``room_json`` name the room, known or not."""

    room_platform: str
    room_json: str
    sender: Person
    sender_platform: str
    text: str
    id: str
    timestamp: datetime


def message_news(message: ChatMessage, recipients: Sequence[str]) -> bytes:
    """``recipients``: ids, as JSON, of the destination's own users in the room."""
    return _object([
        ("roomOriginalPlatform", json_of(message.room_platform)), ("roomId", message.room_json),
        ("senderId", message.sender.id_json), ("senderPlatform", json_of(message.sender_platform)),
        ("text", json_of(message.text)), ("id", json_of(message.id)), ("timestamp", json_of(message.timestamp)),
        ("senderName", json_of(message.sender.name)), ("recipients", f"[{','.join(recipients)}]"),
    ])  # fmt: skip


def _object(fields: Sequence[tuple[str, str]]) -> bytes:
    """A JSON object of values that are JSON already."""
    return ("{" + ",".join(f"{json_of(name)}:{value}" for name, value in fields) + "}").encode()
