"""What chat platforms say and are answered: the field names are those of the first integrator."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from api.shapes import Position
from messaging.integrator.events import NO_NUL, IdNumber, IdText
from messaging.integrator.rooms import MAX_SEATS
from messaging.model import MAX_NAME

Id = IdNumber | IdText
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=256, pattern=NO_NUL)]
Seats = Annotated[list[Id], msgspec.Meta(max_length=MAX_SEATS)]
Users = Annotated[list[Annotated[dict[str, Seats], msgspec.Meta(max_length=1000)]], msgspec.Meta(max_length=1000)]


class PlatformUser(msgspec.Struct, frozen=True):
    id: msgspec.Raw
    name: str
    platform: str


class ListedPlatform(
    msgspec.Struct, frozen=True, rename={"audio": "supportAudio", "image": "supportImage", "as_of": "usersAsOf"}
):
    """`state`: up, waiting, failing or paused; `usersAsOf`: of the last import; `pending`: news that wait for it."""

    name: str
    users: list[PlatformUser]
    audio: Literal["True", "False"]
    image: Literal["True", "False"]
    state: str
    as_of: datetime | None
    pending: int


class Platforms(msgspec.Struct, frozen=True):
    platforms: list[ListedPlatform]


class UsersQuery(msgspec.Struct, frozen=True):
    """`platform`: only its users. `after`: only those whose id as text comes behind this one."""

    platform: Annotated[str, msgspec.Meta(max_length=64, pattern=NO_NUL)] | None = None
    after: Annotated[str, msgspec.Meta(max_length=MAX_NAME, pattern=NO_NUL)] = ""


class UsersByPlatform(msgspec.Struct, frozen=True):
    users: dict[str, list[PlatformUser]]


_SAID = {
    "room_platform": "roomOriginalPlatform", "room": "roomId", "sender": "senderId", "sender_name": "senderName",
}  # fmt: skip


class UserSaid(msgspec.Struct, frozen=True):
    """`token`: the platform's; or as Authorization: Bearer."""

    id: Id
    name: Text
    token: str = ""


class RoomSaid(msgspec.Struct, frozen=True):
    """`users`: a list of objects, by platform the ids of its users. `type`: private or public; group means public."""

    id: Id
    name: Text
    type: str
    users: Users
    token: str = ""


class MessageSaid(msgspec.Struct, frozen=True, rename=_SAID):
    """`roomOriginalPlatform`: whose room it is, if not one's own. `id`: makes a retry harmless, for seven days."""

    room: Id
    sender: Id
    text: Annotated[str, msgspec.Meta(pattern=NO_NUL)]
    room_platform: Text | None = None
    token: str = ""
    id: IdText | None = None
    sender_name: Text | None = None


class Queued(msgspec.Struct, frozen=True):
    id: str
    status: str
    deliveries: int


class Delivery(msgspec.Struct, frozen=True):
    """`state`: queued, delivered, will_retry, paused or dead; `reason`: why not yet, or never."""

    platform: str
    state: str
    reason: str | None


class MessageState(msgspec.Struct, frozen=True):
    id: str
    deliveries: list[Delivery]


class EventsQuery(msgspec.Struct, frozen=True):
    """`after`: a cursor; everything up to it is confirmed. `wait`: seconds, at most 30."""

    after: Position | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 100
    wait: Annotated[int, msgspec.Meta(ge=0, le=30)] = 0


class Event(msgspec.Struct, frozen=True):
    """`type` gap: what was between these cursors had expired."""

    id: str
    cursor: int
    type: str
    timestamp: datetime | None
    data: msgspec.Raw


class Events(msgspec.Struct, frozen=True):
    events: list[Event]
    next: int


class Pong(msgspec.Struct, frozen=True):
    status: str
    message: str


class PingQuery(msgspec.Struct, frozen=True):
    token: str = ""
