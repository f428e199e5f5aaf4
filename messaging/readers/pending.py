"""What a user has not confirmed, for backends that ask for it and confirm it by its content.

It is the reader's cursor of the device '' once more, moved by naming contents instead of by a pong: the surface of an
older system, which knew no seq.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from messaging.model import Entry, Membership, Message, Topic, User
from messaging.permissions import Caller, sees
from messaging.readers.cursors import Cursors
from messaging.readers.pages import page_of
from messaging.store.store import Store

DEVICE = ""
MAX_PENDING = 1000  # messages in one answer
MAX_PENDING_BYTES = 512 * 1024  # of content in one answer, so that all of it can be confirmed in one request
PAGE_BYTES = 256 * 1024

_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Named:
    """A message as its reader names it. ``content``: JSON."""

    topic_name: str
    content: str


Names = Counter[tuple[str, bytes]]


def names_of(named: Iterable[Named]) -> Names:
    """How often each content was named, by topic."""
    return Counter((each.topic_name, meaning(_decode(each.content))) for each in named)


def meaning(value: Any) -> bytes:
    """What a JSON value means, however it was written: ``1`` and ``1.0`` are one, ``1`` and ``true`` are two.

    Bytes, as it is looked up: Python salts their hash, and not that of numbers or of what is made of them.
    """
    return msgspec.json.encode(_spelled(value), order="deterministic")


def _spelled(value: Any) -> Any:
    """The same with each number spelled in one way, as a text that no other text is."""
    if isinstance(value, dict):
        return {key: _spelled(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_spelled(item) for item in value]
    if isinstance(value, str):
        return "=" + value
    return value if value is None or isinstance(value, bool) else _number(value)


def _number(value: float) -> str:
    try:
        near = float(value)
    except OverflowError:
        return hex(int(value))
    return (near + 0.0).hex() if near == value else hex(int(value))  # + 0.0: -0.0 is 0


def longest_run(entries: Sequence[Entry], topic: Topic, left: Names) -> tuple[int, bool]:
    """How far the entries go on being named, and whether all of them are.

    What is named is taken from ``left``: two messages of one content must be named twice. A gap needs no naming.

    Returns:
        The last seq of the run, 0 where it is empty.
    """
    last = 0
    for entry in entries:
        if isinstance(entry, Message):
            if not _take(left, topic, entry):
                return last, False
            last = entry.seq
        else:
            last = entry.last
    return last, True


def _take(left: Names, topic: Topic, message: Message) -> bool:
    # Who posted into an inbox by the name of a topic knows the message under that name, its sender's.
    topic_names = (topic.name, message.sender) if topic.kind == "direct" else (topic.name,)
    content = meaning(_decode(message.content))
    for topic_name in topic_names:
        if left[topic_name, content] > 0:
            left[topic_name, content] -= 1
            return True
    return False


@dataclass(frozen=True, slots=True)
class _Behind:
    """A topic in which the device has something pending."""

    membership: Membership
    cursor: int


class Pending:
    """Reads and confirms on behalf of a user's nameless device."""

    def __init__(self, store: Store, cursors: Cursors) -> None:
        self._store = store
        self._cursors = cursors

    async def read(self, caller: Caller, user: User) -> list[tuple[str, Message]]:
        """What is pending and seen by the caller, each with its topic's name.

        Oldest first per topic, at most 1000 messages and about 512 KiB.

        Raises:
            LimitReached: the user has too many devices for this one.
        """
        found: list[tuple[str, Message]] = []
        for behind in await self._behind(caller, user):
            gather = partial(_gather, found, behind.membership.topic.name)
            if not await self._walk(behind, gather):
                break
        return found

    async def confirm(self, caller: Caller, user: User, named: Iterable[Named]) -> None:
        """Confirm, per topic, the longest run from the oldest pending message on whose contents are all named.

        Raises:
            LimitReached: the user has too many devices for this one.
            Unavailable: the database could not move the cursors; asking again is harmless.
        """
        left = names_of(named)
        topics = {topic_name for topic_name, _ in left}
        # Inboxes last: what was named by its sender's name may be meant for a topic of that name.
        for behind in sorted(await self._behind(caller, user), key=lambda each: each.membership.topic.kind == "direct"):
            topic = behind.membership.topic
            if topic.name in topics or topic.kind == "direct":
                await self._confirm(behind, left)
        await self._cursors.flush()

    async def _confirm(self, behind: _Behind, left: Names) -> None:
        membership = behind.membership

        def confirm_run(entries: Sequence[Entry]) -> bool:
            last, whole = longest_run(entries, membership.topic, left)
            if last:
                self._cursors.move(membership.topic.id, membership.id, DEVICE, last)
            return whole

        await self._walk(behind, confirm_run)

    async def _behind(self, caller: Caller, user: User) -> list[_Behind]:
        await self._store.see_device(user.id, DEVICE)
        positions = await self._store.positions(user.id, DEVICE)
        found = []
        for membership in await self._store.memberships(user.id):
            head, cursor = positions.get(membership.topic.id, (0, 0))
            if head > cursor and sees(caller, membership.topic, member=True):
                found.append(_Behind(membership, cursor))
        return found

    async def _walk(self, behind: _Behind, take: Callable[[Sequence[Entry]], bool]) -> bool:
        """Hand over pages while ``take`` wants more; whether it took all. A membership that has ended has nothing."""
        after, head = behind.cursor, behind.cursor + 1
        while after < head:
            page = await page_of(self._store, behind.membership, after, PAGE_BYTES)
            if page is None:
                return True
            if not take(page.entries):
                return False
            after, head = page.last, page.head
        return True


def _gather(found: list[tuple[str, Message]], topic_name: str, entries: Sequence[Entry]) -> bool:
    """Add the messages among ``entries`` while there is room; whether there was for all."""
    size = sum(len(message.content) for _, message in found)
    for entry in entries:
        if isinstance(entry, Message):
            size += len(entry.content)
            if len(found) == MAX_PENDING or (found and size > MAX_PENDING_BYTES):
                return False
            found.append((topic_name, entry))
    return True
