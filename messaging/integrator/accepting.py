"""What platforms say, accepted: in one transaction each, with everything that follows from it. Nothing is sent here.

Rules, in short. The token decides who speaks, never the body. A user's news come before its first message, always. A
message for a known room goes to that room's platforms alone, and to its topic; never back to where it came from.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

import msgspec

from messaging.bus.contract import Bus
from messaging.integrator.events import OWN, OutsideId, Platform, RoomType, user_news
from messaging.integrator.importing import Diff
from messaging.integrator.incoming import Accepted, IncomingMessage, accept, new_id
from messaging.integrator.rooms import Members, settle_room
from messaging.integrator.store import PlatformStore
from messaging.integrator.unit_of_work import UnitOfWork
from messaging.model import Message, Notice, is_user_name, original_name
from messaging.retrying import retrying
from messaging.store.bridges import PREFIX

T = TypeVar("T")

MAX_TRIES = 4


class Integrator:
    """Accepts what platforms say. All that it does raises Unavailable where the database stays away.

    A try whose COMMIT was not answered is made again: whatever is accepted is recognised by its id, or changes nothing.
    """

    def __init__(self, platforms: PlatformStore, bus: Bus) -> None:
        self._platforms = platforms
        self._bus = bus

    async def take_user(self, platform: Platform, outside: OutsideId, name: str) -> None:
        """A user as its platform says it is. An unchanged one is told to nobody."""

        async def work(unit: UnitOfWork) -> None:
            await unit.meet(platform, outside, name)
            await unit.send()

        await self._accept(platform, work)

    async def take_room(
        self, platform: Platform, outside: OutsideId, name: str, kind: RoomType, users: Members
    ) -> None:
        """A room as its platform says it is, with its members of all platforms. Raises BadRequest."""

        async def work(unit: UnitOfWork) -> None:
            await settle_room(unit, platform, outside, name, kind, users)
            await unit.send()

        await self._accept(platform, work)

    async def take_message(self, platform: Platform, incoming: IncomingMessage) -> Accepted:
        """A message, for everybody in its room. Raises Conflict, UnknownPlatform, UnknownRoom, Forbidden."""
        named = incoming if incoming.id else replace(incoming, id=new_id())
        return await self._accept(platform, lambda unit: accept(unit, platform, named))

    async def take_own(self, topic_id: int, message: Message) -> None:
        """What somebody wrote into a room's topic, for the platforms of that room.

        What came from a platform is not told again: names of their users no user of ours can have. Raises Forbidden.
        """
        if not is_user_name(message.sender):
            return
        [own] = await self._platforms.platforms(OWN)

        async def work(unit: UnitOfWork) -> None:
            room = await unit.acceptance.room_of(topic_id)
            if room is not None:
                incoming = IncomingMessage(
                    room_platform=unit.platforms[room.platform].name, room=msgspec.json.decode(room.id_json),
                    sender=original_name(message.sender), text=_text(message), id=f"{topic_id}.{message.seq}",
                )  # fmt: skip
                await accept(unit, own, incoming)

        await self._accept(own, work)

    async def import_users(self, platform: Platform, diff: Diff) -> None:
        """What has changed in a platform's list of users. Its first list is told to nobody: they read GET /users."""
        await self._accept(platform, lambda unit: settle_list(unit, platform, diff))

    async def _accept(self, platform: Platform, work: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        return await retrying(lambda: self._once(platform, work), "acceptance", tries=MAX_TRIES, base=0.1)

    async def _once(self, platform: Platform, work: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        """All that follows from one thing, in one transaction; then the bus hears of it."""
        async with self._platforms.acceptance() as acceptance:
            platforms = {each.id: each for each in await acceptance.platforms()}
            unit = UnitOfWork(acceptance, platforms, PREFIX + platform.bridge)
            result = await work(unit)
        notices: list[Notice] = [*acceptance.notices, *unit.changed]
        for notice in notices:
            self._bus.tell(notice)
        return result


async def settle_list(unit: UnitOfWork, platform: Platform, diff: Diff) -> None:
    """Keep what an import found, and tell it."""
    for user in diff.changed:
        await unit.meet(platform, user.id, user.name, quietly=platform.users_as_of is None)
    gone = await unit.acceptance.people((platform.id, key) for key in diff.removed)
    for person in gone.values():
        for other in unit.some(person.introduced, platform):
            unit.tell(other, "user.removed", user_news(person, platform.name))
    await unit.acceptance.mark(platform.id, seen=diff.seen, missed=diff.missed, removed=diff.removed)
    await unit.send()


def _text(message: Message) -> str:
    """The text that a content is: a string as it is, anything else as JSON."""
    content = msgspec.json.decode(message.content)
    return content if isinstance(content, str) else message.content
