"""A unit of work: the events that one request of a platform causes are gathered, then written in one transaction."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import msgspec

from messaging.integrator.events import (
    NewsType,
    OutsideId,
    Person,
    Platform,
    PlatformEvent,
    json_of,
    key_of,
    user_news,
)
from messaging.integrator.store import Acceptance, draft_of
from messaging.model import Changed
from messaging.store.append import Draft

KEPT_SECONDS = 30 * 86400  # seconds that news wait for a platform at most; its lane buries them earlier


@dataclass(slots=True)
class UnitOfWork:
    """One acceptance at work. Nothing leaves before `send`."""

    acceptance: Acceptance
    platforms: dict[int, Platform]
    sender: str  # in whose name news lie in the inboxes
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    drafts: list[Draft] = field(default_factory=list)
    changed: set[Changed] = field(default_factory=set)  # users of Recado whose memberships are others now

    def others(self, origin: Platform) -> list[Platform]:
        """Every platform with an inbox, but the one that speaks."""
        return [p for p in self.platforms.values() if p.id != origin.id and p.style != "own"]

    def some(self, ids: Iterable[int], origin: Platform) -> list[Platform]:
        wanted = set(ids)
        return [platform for platform in self.others(origin) if platform.id in wanted]

    def named(self, name: str) -> Platform | None:
        return next((platform for platform in self.platforms.values() if platform.name == name), None)

    def tell(self, platform: Platform, kind: NewsType, data: bytes, identity: str | None = None) -> int:
        """Put news for a platform on the pile. Its place there."""
        news = PlatformEvent(identity or "evt_" + secrets.token_urlsafe(16), kind, self.now, msgspec.Raw(data))
        self.drafts.append(draft_of(platform.inbox, self.sender, news, KEPT_SECONDS))
        return len(self.drafts) - 1

    async def send(self) -> list[int]:
        """Store the pile. The seq of each piece in its topic."""
        return await self.acceptance.append(self.drafts)

    # People

    async def meet(self, platform: Platform, outside: OutsideId, name: str, *, quietly: bool = False) -> Person:
        """A user as its platform says it is, told where that is new; ``quietly``: to those that heard of it before."""
        key = key_of(outside)
        known = (await self.acceptance.people([(platform.id, key)])).get((platform.id, key))
        knew = known.introduced if known is not None and not known.removed else frozenset()
        if known is not None and not known.removed and (known.name, known.id_json) == (name, json_of(outside)):
            return known
        others = self.some(knew, platform) if quietly else self.others(platform)
        person = Person(platform.id, key, json_of(outside), name, knew | {other.id for other in others})
        await self.acceptance.keep_person(person)
        for other in others:
            kind: NewsType = "user.updated" if other.id in knew else "user.created"
            self.tell(other, kind, user_news(person, platform.name))
        return person

    async def placeholders(self, whom: Iterable[tuple[Platform, OutsideId]]) -> list[Person]:
        """Users that were only mentioned: known by their id until their platform says more. Nobody is told yet."""
        wanted = {(platform.id, key_of(outside)): outside for platform, outside in whom}
        known = await self.acceptance.people(wanted)
        for at, outside in wanted.items():
            if at not in known or known[at].removed:
                known[at] = Person(at[0], at[1], json_of(outside), at[1], absent=-1)
                await self.acceptance.keep_person(known[at])
        return [known[at] for at in wanted]

    async def introduce(self, person: Person, to: Iterable[Platform]) -> None:
        """A user's news come before all else of it: tell those that have not heard of it yet."""
        new = [p for p in to if p.id not in person.introduced and p.id != person.platform and p.style != "own"]
        if not new:
            return
        platform = self.platforms[person.platform]
        for other in new:
            self.tell(other, "user.created", user_news(person, platform.name))
        introduced = person.introduced | {other.id for other in new}
        await self.acceptance.keep_person(replace(person, introduced=introduced))
