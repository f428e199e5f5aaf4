"""Asks a platform for its users, now and then: what they did not tell by themselves is found so."""

from __future__ import annotations

import asyncio
import logging
import random
from datetime import UTC, datetime

from bridges.webhooks.client import NotReached, PlatformHttpClient, Unanswered
from messaging.integrator.accepting import Integrator
from messaging.integrator.events import Person, Platform
from messaging.integrator.importing import Implausible, compare, portions, read_list
from messaging.integrator.store import PlatformStore

log = logging.getLogger(__name__)

LIST_BYTES = 1 << 20
AT_A_TIME = 500  # changed users in one transaction
LOOK_EVERY = 60.0  # seconds in which a changed interval is noticed
MIN_SECONDS = 60.0  # seconds between two imports
JITTER = 0.1


class Importer:
    """Imports the users of one platform, for as long as it has a path for them."""

    def __init__(
        self, platform_id: int, platforms: PlatformStore, integrator: Integrator, client: PlatformHttpClient
    ) -> None:
        self._platform_id = platform_id
        self._platforms = platforms
        self._integrator = integrator
        self._client = client
        self._failures = 0
        self._tried_at = datetime.now(UTC)
        self._chance = random.random()

    async def run(self) -> None:
        """At once where it was never done, then every so often. Cancelling is safe: what is not stored is asked again.

        Raises:
            Unavailable: our own database is away.
        """
        while (platform := await self._platforms.by_id(self._platform_id)) is not None and platform.style == "paths":
            pause = due_in(platform, self._failures, self._tried_at, datetime.now(UTC), self._chance)
            if pause > 0:
                await asyncio.sleep(min(pause, LOOK_EVERY))
            else:
                await self._try(platform)

    async def _try(self, platform: Platform) -> None:
        self._tried_at, self._chance = datetime.now(UTC), random.random()
        try:
            await self.once(platform)
        except (NotReached, Unanswered, Implausible) as exc:
            self._failures += 1
            log.warning("the users of platform %s stay as they were: %s", platform.name, exc)
        else:
            self._failures = 0

    async def once(self, platform: Platform) -> None:
        """Raises NotReached, Unanswered, Implausible: then nothing has changed."""
        assert platform.url is not None
        answer = await self._client.ask(platform, "GET", platform.url + "users", LIST_BYTES)
        if not answer.is_success:
            raise Implausible(str(answer))
        if not answer.is_whole:
            raise Implausible(f"its list broke off, or has more than {LIST_BYTES >> 20} MiB")
        others = {each.name for each in await self._platforms.platforms() if each.id != platform.id}
        listed = read_list(answer.body, others)
        known, absences = await self._known(platform)
        for portion in portions(compare(known, absences, listed), AT_A_TIME):
            await self._integrator.import_users(platform, portion)

    async def _known(self, platform: Platform) -> tuple[dict[str, Person], dict[str, int]]:
        async with self._platforms.acceptance() as acceptance:
            absences = await acceptance.absences(platform.id)
            people = await acceptance.people((platform.id, key) for key in absences)
        return {key: person for (_, key), person in people.items()}, absences


def due_in(platform: Platform, failures: int, tried_at: datetime, now: datetime, chance: float) -> float:
    """Seconds until the next import. Pure. ``chance``: 0 … 1, so that platforms of one file do not keep step."""
    every = max(platform.import_every, MIN_SECONDS)
    if failures:
        return min(every, MIN_SECONDS * 2.0 ** min(failures - 1, 16)) - (now - tried_at).total_seconds()
    if platform.users_as_of is None:
        return 0.0
    return every * (1 + JITTER * (2 * chance - 1)) - (now - platform.users_as_of).total_seconds()
