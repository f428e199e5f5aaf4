"""Page reads of many readers at the same place are one read (single-flight), and encoded once for all of them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from messaging.errors import Unavailable, UnknownTopic
from messaging.model import Membership, Message, Page, Topic
from messaging.store.store import Store

F = TypeVar("F")


@dataclass(slots=True, eq=False)
class _Flight(Generic[F]):
    """One read that several wait for."""

    landed: asyncio.Future[SharedPage[F]]
    memberships: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class SharedPage(Generic[F]):
    """A page, its frames encoded once, and which of the asking memberships still hold."""

    page: Page
    frames: F
    memberships: set[int]


class Pages(Generic[F]):
    """Page reads, one in flight per topic, position and size: who comes meanwhile shares the next."""

    def __init__(self, store: Store, encode: Callable[[Topic, Page], F]) -> None:
        self._store = store
        self._encode = encode
        self._in_flight: dict[tuple[int, int, int], _Flight[F]] = {}
        self._gathering: dict[tuple[int, int, int], _Flight[F]] = {}

    async def read(self, topic: Topic, after: int, budget: int, membership: int | None = None) -> SharedPage[F]:
        """The page beyond ``after`` of at most ``budget`` bytes (one entry at least). Cancelling is safe.

        Raises:
            UnknownTopic, Unavailable.
        """
        key = (topic.id, after, 1 << (budget.bit_length() - 1))  # like sizes share
        flight = self._gathering.get(key)
        leads = flight is None
        if flight is None:
            flight = self._gathering[key] = _Flight(asyncio.get_running_loop().create_future())
        if membership is not None:
            flight.memberships.add(membership)
        if leads:
            await self._lead(key, flight, topic)
        return await asyncio.shield(flight.landed)

    async def _lead(self, key: tuple[int, int, int], flight: _Flight[F], topic: Topic) -> None:
        try:
            while key in self._in_flight:
                await asyncio.wait([self._in_flight[key].landed])
            del self._gathering[key]
            self._in_flight[key] = flight
            page, holds = await self._store.page(topic, key[1], key[2], list(flight.memberships))
            flight.landed.set_result(SharedPage(page, self._encode(topic, page), holds))
        except BaseException as exc:
            # Who leads may be cancelled; the others, who are not, ask again.
            cancelled = isinstance(exc, asyncio.CancelledError)
            flight.landed.set_exception(Unavailable() if cancelled else exc)
            flight.landed.exception()  # whoever waits gets it; if nobody does, it is not lost: we raise it
            raise
        finally:
            for stage in (self._gathering, self._in_flight):
                if stage.get(key) is flight:
                    del stage[key]


async def page_of(store: Store, membership: Membership, after: int, budget: int) -> Page | None:
    """What a member reads beyond ``after``; None where the topic or the membership has gone. Raises Unavailable."""
    try:
        page, held = await store.page(membership.topic, after, budget, [membership.id])
    except UnknownTopic:
        return None
    return page if held else None


def fit(messages: list[Message], limit: int, budget: int, *, newest: bool) -> list[Message]:
    """At most ``limit`` messages, from the newest or the oldest on, within ``budget`` bytes; one at least."""
    size, count = 0, 0
    for message in itertools.islice(reversed(messages) if newest else messages, limit):
        size += len(message.content.encode())
        if count and size > budget:
            break
        count += 1
    return messages[len(messages) - count :] if newest else messages[:count]
