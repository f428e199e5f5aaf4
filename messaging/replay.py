"""Dead letters on their way again: appended to the bridge's own inbox, where its lane reads them like all else."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from messaging.appender import Appender
from messaging.bus import Bus
from messaging.errors import BadRequest, Conflict, NotFound, RecadoError
from messaging.model import Changed, Message
from messaging.store import Store
from messaging.store_append import Draft, Verdict
from messaging.store_bridges import PREFIX, BridgeBook, Buried

MOST = 1000  # at a time
OF_PLATFORMS = frozenset({"platform", "rooms"})  # kinds of bridges that the integrator registers


class UnknownBridge(NotFound):
    """There is no bridge of this name. GET /api/v1/bridges lists them."""


class Replay(msgspec.Struct, frozen=True, tag_field="recado", tag="replay"):
    """What a bridge's inbox carries for a dead letter. ``id`` is new: other systems drop ids that they know."""

    id: str
    topic: str
    seq: int
    sender: str
    content: str
    sent_at: datetime

    def message(self) -> Message:
        return Message(self.seq, self.sender, self.content, self.sent_at)


def read_replay(content: str) -> Replay | None:
    """The replay that a message of a bridge's inbox is; None where it is something else."""
    try:
        return msgspec.json.decode(content, type=Replay)
    except msgspec.MsgspecError:
        return None


class Settled:
    """Hears what became of one draft."""

    def __init__(self) -> None:
        self.outcome: asyncio.Future[Verdict | RecadoError] = asyncio.get_running_loop().create_future()

    def settled(self, context: Any, outcome: Verdict | RecadoError) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)

    def settle_end(self) -> None:
        return


class Bridges:
    """What an operator does with bridges."""

    def __init__(self, book: BridgeBook, store: Store, appender: Appender, bus: Bus) -> None:
        self._book = book
        self._store = store
        self._appender = appender
        self._bus = bus

    async def pause(self, name: str, paused: bool) -> None:
        """Stop a lane, or let it go on. What comes is kept meanwhile. Raises UnknownBridge."""
        self._tell(await self._book.pause(name, paused, "paused by the operator" if paused else None))

    async def forget(self, name: str) -> None:
        """The bridge leaves all its topics, what was pending is dropped.

        Raises:
            UnknownBridge.
            Conflict: it is a platform's, which would go on and be told nothing.
        """
        if any(report.kind in OF_PLATFORMS for report in await self._book.reports(name)):
            raise Conflict(f"The bridge {name!r} belongs to a platform: DELETE /platforms/NAME forgets both.")
        self._tell(await self._book.forget(name))

    def _tell(self, user_id: int | None) -> None:
        if user_id is None:
            raise UnknownBridge
        self._bus.tell(Changed(user_id))

    async def replay(
        self, name: str, ids: Sequence[int] | None, since: datetime | None = None, until: datetime | None = None,
        *, dry_run: bool = False,
    ) -> int:  # fmt: skip
        """Send dead letters again, at most 1000, oldest first. How many they are.

        A crash half-way leaves some in both places: replayed once more, they are recognised by their key.

        Raises:
            UnknownBridge, Unavailable.
            BadRequest: a time that there is not in UTC, at the ends of what a time can be.
        """
        standing = await self._store.standing("@" + PREFIX + name)
        if standing is None or not await self._book.reports(name):  # a forgotten one has its inbox still
            raise UnknownBridge
        letters = await self._book.chosen(name, ids, _in_utc(since), _in_utc(until), MOST)
        if dry_run:
            return len(letters)
        for letter in letters:
            await self._append(standing.topic.id, letter)
        await self._book.unearth([letter.id for letter in letters])
        return len(letters)

    async def _append(self, inbox: int, buried: Buried) -> None:
        letter = buried.letter
        assert letter.content is not None and letter.sent_at is not None, "chosen() has those with content alone"
        content = msgspec.json.encode(
            Replay(
                f"{letter.topic_id}.{letter.seq}.{buried.id}", letter.topic, letter.seq, letter.sender, letter.content,
                letter.sent_at,
            )
        ).decode()  # fmt: skip
        digest = hashlib.blake2b(content.encode(), digest_size=16).digest()
        origin = Settled()
        self._appender.submit(Draft(inbox, None, "recado", f"replay-{buried.id}", digest, content, None), origin)
        outcome = await origin.outcome
        if isinstance(outcome, RecadoError):
            raise outcome


def _in_utc(moment: datetime | None) -> datetime | None:
    """Raises BadRequest."""
    try:
        return None if moment is None else moment.astimezone(UTC)
    except OverflowError:
        raise BadRequest("since, until: from the year 1 to the year 9999, in UTC.") from None
