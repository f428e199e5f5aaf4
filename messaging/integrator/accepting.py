"""What platforms say, accepted: in one transaction each, with everything that follows from it. Nothing is sent here.

Rules, in short. The token decides who speaks, never the body. A user's news come before its first message, always. A
message for a known room goes to that room's platforms alone, and to its topic; never back to where it came from.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from messaging.bus import Bus
from messaging.integrator.desk import Desk
from messaging.integrator.importing import Diff
from messaging.integrator.news import OWN, OutsideId, Platform, RoomType, user_news
from messaging.integrator.rooms import Members, settle_room
from messaging.integrator.talk import Accepted, Said, accept
from messaging.model import Changed, Message
from messaging.store_bridges import PREFIX
from messaging.store_platforms import PlatformBook


class Integrator:
    """The one desk at which all platforms speak. All that it does raises Unavailable where the database is away."""

    def __init__(self, book: PlatformBook, bus: Bus) -> None:
        self._book = book
        self._bus = bus

    async def take_user(self, platform: Platform, outside: OutsideId, name: str) -> None:
        """A user as its platform says it is. An unchanged one is told to nobody."""
        async with self._accepting(platform) as desk:
            await desk.meet(platform, outside, name)
            await desk.send()

    async def take_room(
        self, platform: Platform, outside: OutsideId, name: str, kind: RoomType, users: Members
    ) -> None:
        """A room as its platform says it is, with its members of all platforms. Raises BadRequest."""
        async with self._accepting(platform) as desk:
            await settle_room(desk, platform, outside, name, kind, users)
            await desk.send()

    async def take_message(self, platform: Platform, said: Said) -> Accepted:
        """A message, for everybody in its room. Raises Conflict, UnknownPlatform, UnknownRoom, Forbidden."""
        async with self._accepting(platform) as desk:
            return await accept(desk, platform, said)

    async def take_own(self, topic_id: int, message: Message) -> None:
        """What somebody wrote into a room's topic, for the platforms of that room.

        What came from a platform is not told again: names from outside have a ``%``, ours never.
        """
        if "%" in message.sender:
            return
        [own] = await self._book.platforms(OWN)
        async with self._accepting(own) as desk:
            room = await desk.acceptance.room_of(topic_id)
            if room is None:
                return
            origin = desk.platforms[room.platform]
            said = Said(
                origin.name, msgspec.json.decode(room.id_json), message.sender, _text(message),
                f"{topic_id}.{message.seq}",
            )  # fmt: skip
            await accept(desk, own, said)

    async def import_users(self, platform: Platform, diff: Diff) -> None:
        """What has changed in a platform's list of users. Its first list is told to nobody: they read GET /users."""
        async with self._accepting(platform) as desk:
            for user in diff.changed:
                await desk.meet(platform, user.id, user.name, quietly=platform.users_as_of is None)
            for person in (await desk.acceptance.people((platform.id, key) for key in diff.removed)).values():
                for other in desk.some(person.introduced, platform):
                    desk.tell(other, "user.removed", user_news(person, platform.name))
            await desk.acceptance.mark(platform.id, seen=diff.seen, missed=diff.missed, removed=diff.removed)
            await desk.send()

    @asynccontextmanager
    async def _accepting(self, platform: Platform) -> AsyncIterator[Desk]:
        """A desk; what is on it is stored at the end of the block, and the bus hears of it."""
        async with self._book.acceptance() as acceptance:
            platforms = {each.id: each for each in await acceptance.platforms()}
            desk = Desk(acceptance, platforms, PREFIX + platform.bridge)
            yield desk
        for notice in acceptance.notices:
            self._bus.tell(notice)
        for user_id in desk.changed:
            self._bus.tell(Changed(user_id))


def _text(message: Message) -> str:
    """The text that a content is: a string as it is, anything else as JSON."""
    content = msgspec.json.decode(message.content)
    return content if isinstance(content, str) else message.content
