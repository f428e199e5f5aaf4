"""A room as its platform says it: who belongs to it, who hears of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from messaging.errors import BadRequest
from messaging.integrator.events import OWN, OutsideId, Platform, Room, RoomType, json_of, key_of, room_news, topic_name
from messaging.integrator.unit_of_work import UnitOfWork
from messaging.model import person_name

Members = Sequence[Mapping[str, Sequence[OutsideId]]]  # [{platform: [ids]}, …]: how platforms write it
MAX_SEATS = 2000  # all platforms wait while a room is taken in
Seats = list[tuple[Platform, OutsideId]]

_decode_members = msgspec.json.Decoder(list[dict[str, list[OutsideId]]]).decode


async def settle_room(
    unit: UnitOfWork, platform: Platform, outside: OutsideId, name: str, kind: RoomType, users: Members
) -> None:
    """Keep a room as it is said to be now, and tell it. Raises BadRequest."""
    key = key_of(outside)
    before = await unit.acceptance.room(platform.id, key)
    seats = seats_of(unit, platform, users)
    is_there = before is not None and await unit.acceptance.has_topic(before.topic_id)
    if before and is_there:
        topic_id = before.topic_id
    else:
        topic_id = await unit.acceptance.make_topic(topic_name(platform.name, key), kind, platform.name)
    members = frozenset({platform.id, *(each.id for each, _ in seats)})
    room = Room(
        platform=platform.id, key=key, id_json=json_of(outside), name=name, type=kind, users=json_of(users),
        topic_id=topic_id, members=members,
    )  # fmt: skip
    if room == before:
        return
    await unit.acceptance.keep_room(room)
    if before is None or before.type != kind:  # the topic may be there already, of a platform that was forgotten
        await unit.acceptance.change_kind(topic_id, kind)
    await _seat_ours(unit, room, before if is_there else None)
    for person in await unit.placeholders(seats):
        await unit.introduce(person, unit.some(members, platform))
    for member in unit.some(members, platform):
        had_it = before is not None and member.id in before.members
        unit.tell(member, "room.updated" if had_it else "room.created", room_news(room, platform.name))


def seats_of(unit: UnitOfWork, speaker: Platform, users: Members) -> Seats:
    """Who is named, of which platform. Raises BadRequest for a platform that there is not, or no name of ours.

    Older platforms read once which platforms there are: one that has gone since is not their mistake.
    """
    seats: Seats = []
    for name, ids in ((name, ids) for each in users for name, ids in each.items()):
        platform = unit.named(name)
        if platform is None and (speaker.style == "paths" or not ids):
            continue
        if platform is None:
            raise BadRequest(f"users: there is no platform {name!r}. GET /platforms lists them.")
        if platform.style == "own":
            for outside in ids:
                person_name(str(outside))
        seats += [(platform, outside) for outside in ids]
    if len(seats) > MAX_SEATS:
        raise BadRequest(f"users: a room may have {MAX_SEATS} members.")
    return seats


def ids_in(room: Room | None, platform: str) -> list[OutsideId]:
    """A platform's own users in a room, as it writes their ids."""
    members = _decode_members(room.users) if room is not None else []
    return [outside for each in members for outside in each.get(platform, ())]


async def _seat_ours(unit: UnitOfWork, room: Room, before: Room | None) -> None:
    """Users of Recado belong to the topic that the room is; its platform is who invited them."""
    now, earlier = _own_in(room), await _seated(unit, room, before)
    await unit.acceptance.know(sorted(now - earlier))
    for name in sorted(now - earlier):
        unit.changed.add(await unit.acceptance.join(room.topic_id, name, unit.platforms[room.platform].bridge))
    for name in sorted(earlier - now):
        unit.changed.add(await unit.acceptance.leave(room.topic_id, name))


async def _seated(unit: UnitOfWork, room: Room, before: Room | None) -> set[str]:
    """Users of Recado that sat in a room, by what was said of it; in a private one that is new, whoever is there."""
    if before is not None:
        return _own_in(before)
    return await unit.acceptance.people_in(room.topic_id) if room.type == "private" else set()


def _own_in(room: Room) -> set[str]:
    return {person_name(str(each)) for each in ids_in(room, OWN)}
