"""A message as a platform says it: to whom it goes, and what comes before it."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass

from messaging.errors import Conflict, Forbidden, NotFound
from messaging.integrator.events import (
    ChatMessage,
    OutsideId,
    Person,
    Platform,
    Room,
    json_of,
    key_of,
    message_news,
    user_name,
)
from messaging.integrator.rooms import ids_in
from messaging.integrator.unit_of_work import UnitOfWork
from messaging.log.content import our_content
from messaging.model import digest_of
from messaging.store.append import Draft

log = logging.getLogger(__name__)


class UnknownPlatform(NotFound):
    """There is no platform of this name. GET /platforms lists them."""


class UnknownRoom(NotFound):
    """There is no such room: tell it first, with POST /room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingMessage:
    """A message as its platform says it. ``room_platform``: None for its own."""

    room_platform: str | None
    room: OutsideId
    sender: OutsideId
    text: str
    id: str | None = None
    sender_name: str | None = None

    @property
    def digest(self) -> bytes:
        return digest_of(json_of([self.room_platform, key_of(self.room), key_of(self.sender), self.text]))


@dataclass(frozen=True, slots=True)
class Accepted:
    """A message that will be delivered; ``deliveries``: to so many platforms. ``repeated``: it was accepted before."""

    id: str
    deliveries: int
    repeated: bool = False


def new_id() -> str:
    return "msg_" + secrets.token_urlsafe(16)


async def accept(unit: UnitOfWork, platform: Platform, incoming: IncomingMessage) -> Accepted:
    """Pass a message on. The same id again is answered the same, and nothing is sent.

    Raises:
        Conflict: the id was used for another message.
        UnknownPlatform, UnknownRoom: nobody told of its room.
        Forbidden: the room is private, and this platform not in it.
    """
    identity = incoming.id or new_id()
    kept = await unit.acceptance.accepted(platform.id, identity)
    if kept is not None and kept.digest != incoming.digest:
        raise Conflict(f"The id {identity!r} was used for another message.")
    if kept is not None:
        return Accepted(identity, len(kept.topic_ids), repeated=True)
    origin = unit.named(incoming.room_platform or platform.name)
    if origin is None:
        raise UnknownPlatform
    room = await unit.acceptance.room(origin.id, key_of(incoming.room))
    to = destinations(unit, platform, room)
    person = await _introduced(unit, platform, incoming, to)
    room_json = room.id_json if room else json_of(incoming.room)
    message = ChatMessage(
        room_platform=origin.name, room_json=room_json, sender=person, sender_platform=platform.name,
        text=incoming.text, id=identity, timestamp=unit.now,
    )  # fmt: skip
    return await _deliver(unit, platform, room, message, to, incoming.digest)


def destinations(unit: UnitOfWork, platform: Platform, room: Room | None) -> list[Platform]:
    """The platforms of the room; where nobody told of it, all, for platforms of the first kind alone."""
    if room is not None:
        if room.type == "private" and platform.id not in room.members:
            raise Forbidden("This room is private, and nobody of your platform is in it.")
        return unit.some(room.members, platform)
    if platform.style != "paths":
        raise UnknownRoom
    log.warning("platform %s writes to a room that nobody told of: it goes to all platforms", platform.name)
    return unit.others(platform)


async def _introduced(unit: UnitOfWork, platform: Platform, incoming: IncomingMessage, to: list[Platform]) -> Person:
    [person] = await unit.placeholders([(platform, incoming.sender)])
    if incoming.sender_name is not None and person.name == person.key != incoming.sender_name:
        return await unit.meet(platform, incoming.sender, incoming.sender_name)
    await unit.introduce(person, to)
    return person


async def _deliver(
    unit: UnitOfWork, platform: Platform, room: Room | None, message: ChatMessage, to: list[Platform], digest: bytes
) -> Accepted:
    event = new_id()
    places = []
    for each in to:
        recipients = [json_of(outside) for outside in ids_in(room, each.name)]
        places.append(unit.tell(each, "message.created", message_news(message, recipients), event))
    if room is not None and platform.style != "own":  # what Recado's own users say is in the topic already
        sender = user_name(platform.name, message.sender.key)
        unit.drafts.append(Draft(topic_id=room.topic_id, sender=sender, content=our_content(message.text)))
    seqs = await unit.send()
    where = [(unit.drafts[place].topic_id, seqs[place]) for place in places]
    await unit.acceptance.keep_news(platform.id, message.id, digest, where)
    return Accepted(message.id, len(where))
