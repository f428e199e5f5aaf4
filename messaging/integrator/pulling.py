"""News for a platform that asks for them: its inbox, read from its cursor, which moves by what it asks for next."""

from __future__ import annotations

from dataclasses import dataclass

from messaging.errors import BadRequest, Conflict, Unavailable
from messaging.integrator.events import Platform
from messaging.limits.under_way import UnderWay
from messaging.model import Entry, Membership, Message
from messaging.readers.cursors import Cursors
from messaging.readers.notifier import Listener, Notifier
from messaging.readers.pages import page_of
from messaging.replay import read_replay
from messaging.store.store import Store

DEVICE = ""
PAGE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Pulled:
    """Entries in order, and the cursor to ask with next."""

    entries: tuple[Entry, ...]
    next: int


class Pulling:
    """The inboxes of platforms that pull."""

    def __init__(self, store: Store, cursors: Cursors, notifier: Notifier, under_way: UnderWay) -> None:
        self._store = store
        self._cursors = cursors
        self._notifier = notifier
        self._under_way = under_way
        self._waiting: set[Listener] = set()
        self._closed = False

    def close(self) -> None:
        """Answer those who wait, and let nobody wait from here on: the process ends."""
        self._closed = True
        for listener in self._waiting:
            listener.poke()

    async def news(self, platform: Platform, after: int | None, limit: int, wait: float) -> Pulled:
        """What comes after a cursor; None: after what was confirmed. Everything up to ``after`` is confirmed by asking.

        Waits up to ``wait`` seconds where there is nothing yet. Cancelling is safe.

        Raises:
            Conflict: this platform is told its news. BadRequest: the cursor is none that it was given.
            RateLimited: too many ask for this platform at a time. Unavailable.
        """
        if platform.style != "pull":
            raise Conflict(f"The style of this platform is {platform.style}: its news are sent to it.")
        membership, cursor = await self._place(platform)
        topic = membership.topic
        with self._under_way.one_more(platform.id), self._notifier.listen() as listener:
            start = cursor if after is None else await self._confirm(membership, after)
            listener.attend(topic.id, start)
            pulled = await self._page(membership, start, limit)
            if not pulled.entries and wait > 0 and not self._closed:
                await self._wait(listener, wait)
                pulled = await self._page(membership, start, limit)
            return pulled

    async def _wait(self, listener: Listener, seconds: float) -> None:
        self._waiting.add(listener)
        try:
            await listener.wait(seconds)
        finally:
            self._waiting.discard(listener)

    async def _place(self, platform: Platform) -> tuple[Membership, int]:
        memberships = await self._store.memberships(platform.id)
        membership = next((each for each in memberships if each.topic.id == platform.inbox), None)
        if membership is None:
            raise Unavailable
        positions = await self._store.positions(platform.id, DEVICE)
        return membership, positions[platform.inbox][1]

    async def _confirm(self, membership: Membership, after: int) -> int:
        if after > (await self._store.heads([membership.topic.id])).get(membership.topic.id, 0):
            raise BadRequest("after: this cursor is ahead of everything that you were given.")
        self._cursors.move(membership.topic.id, membership.id, DEVICE, after)
        await self._cursors.flush()
        return after

    async def _page(self, membership: Membership, after: int, limit: int) -> Pulled:
        page = await page_of(self._store, membership, after, PAGE_BYTES)
        entries = page.entries[:limit] if page else ()
        last = entries[-1] if entries else None
        reached = after if last is None else last.seq if isinstance(last, Message) else last.last
        return Pulled(entries, reached)


def news_of(message: Message) -> str:
    """The news that an entry of an inbox is, as JSON; a dead letter's replay is what it was the first time."""
    again = read_replay(message.content)
    return message.content if again is None else again.content
