"""The replay of dead letters: another try for what was given up.

What was to go out is appended to the bridge's own inbox, where its lane reads it like all else. What came in, by an
inlet or the intake, goes to its topic as it was read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from messaging.actions import Actions
from messaging.auto_topics import aim_at_existing, aim_at_made
from messaging.bus.contract import Bus
from messaging.errors import BadRequest, Conflict, NotFound, RecadoError
from messaging.log.appender import Appender
from messaging.log.content import check_content, our_content
from messaging.model import Changed, Content, Message
from messaging.settings.settings import Settings
from messaging.store.append import Draft, Verdict
from messaging.store.bridges import INTAKE, PREFIX, BridgeStore, Buried
from messaging.store.store import Store

MAX_REPLAYED = 1000  # at a time
KEY = "%replay/"  # of a dead letter that goes to a topic again: no user's key has a '%'
OF_PLATFORMS = frozenset({"platform", "rooms"})  # kinds of bridges that the integrator registers


class UnknownBridge(NotFound):
    """There is no bridge of this name. GET /api/v1/bridges lists them."""

    code = "unknown_bridge"


class Replay(msgspec.Struct, frozen=True, kw_only=True, tag_field="recado", tag="replay"):
    """What a bridge's inbox carries for a dead letter. ``id`` is new: other systems drop ids that they know."""

    id: str
    topic: str
    seq: int
    sender: str
    content: str
    sent_at: datetime

    def message(self) -> Message:
        return Message(self.seq, self.sender, Content(self.content), self.sent_at)


def read_replay(content: str) -> Replay | None:
    """The replay that a message of a bridge's inbox is; None where it is something else."""
    try:
        return msgspec.json.decode(content, type=Replay)
    except msgspec.MsgspecError:
        return None


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of dead letters: how many are on their way again, and by their ids why the others are not."""

    count: int
    refused: dict[int, str]


class PublishOutcome:
    """Hears what became of one draft."""

    def __init__(self) -> None:
        self.outcome: asyncio.Future[Verdict | RecadoError] = asyncio.get_running_loop().create_future()

    def on_result(self, context: Any, outcome: Verdict | RecadoError) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)

    def on_batch_end(self) -> None:
        return


class BridgeOperations:
    """What an operator does with bridges."""

    def __init__(
        self, bridges: BridgeStore, store: Store, appender: Appender, actions: Actions, bus: Bus, settings: Settings
    ) -> None:
        self._bridges = bridges
        self._store = store
        self._appender = appender
        self._actions = actions
        self._bus = bus
        self._settings = settings

    async def known(self, name: str) -> None:
        """Raises UnknownBridge for a name that neither is a bridge's nor stands on a dead letter."""
        if not await self._bridges.knows(name):
            raise UnknownBridge

    async def pause(self, name: str, paused: bool) -> None:
        """Stop a lane or an inlet, or let it go on, at once. Raises UnknownBridge."""
        self._tell(await self._bridges.pause(name, paused, "paused by the operator" if paused else None))

    async def forget(self, name: str) -> None:
        """The bridge leaves all its topics, what was pending is dropped.

        Raises:
            UnknownBridge.
            Conflict: it is a platform's, which would go on and be told nothing.
        """
        if any(report.kind in OF_PLATFORMS for report in await self._bridges.reports(name)):
            raise Conflict(f"The bridge {name!r} belongs to a platform: DELETE /platforms/NAME forgets both.")
        self._tell(await self._bridges.forget(name))

    def _tell(self, user_id: int | None) -> None:
        if user_id is None:
            raise UnknownBridge
        self._bus.tell(Changed(user_id))

    async def replay(
        self, name: str, ids: Sequence[int] | None, since: datetime | None = None, until: datetime | None = None,
        *, dry_run: bool = False,
    ) -> Replayed:  # fmt: skip
        """Give dead letters another try, at most 1000, oldest first. Without ``ids``: all that can have one.

        A crash half-way leaves some in both places: replayed once more, they are recognised by their key.

        Raises:
            UnknownBridge, Unavailable.
            BadRequest: a time that there is not in UTC, at the ends of what a time can be.
        """
        reports = await self._bridges.reports(name)
        inbox = await self._inbox(name) if any(report.direction == "out" for report in reports) else None
        letters = await self._bridges.chosen(name, ids, _in_utc(since), _in_utc(until), MAX_REPLAYED)
        if not reports and (any(each.letter.topic_id for each in letters) or not await self._bridges.knows(name)):
            raise UnknownBridge
        named = ids if since is None and until is None else None
        refused = dict.fromkeys(named or (), "There is no dead letter of this id.")
        again: list[int] = []
        for buried in letters:
            why = _hindrance(buried, inbox)
            if why is None and not dry_run:
                why = await self._try(inbox, buried)
            refused.pop(buried.id, None)
            if why is None:
                again.append(buried.id)
            else:
                refused[buried.id] = why
        if not dry_run:
            await self._bridges.unearth(again)
        return Replayed(len(again), refused)

    async def _inbox(self, name: str) -> int | None:
        """The inbox of a bridge out; one that was forgotten has it still, an inlet too, and nobody reads it."""
        view = await self._store.topic_view("@" + PREFIX + name)
        return None if view is None else view.topic.id

    async def _try(self, inbox: int | None, buried: Buried) -> str | None:
        """Why it is not on its way again; None: it is. Raises Unavailable."""
        try:
            if inbox is not None and buried.letter.topic_id:
                settled = self._to_inbox(inbox, buried)
            else:
                settled = await self._to_topic(buried)
            outcome = await settled.outcome
        except RecadoError as exc:
            outcome = exc
        if isinstance(outcome, RecadoError):
            if outcome.retryable:
                raise outcome
            return outcome.message
        return None

    def _to_inbox(self, inbox: int, buried: Buried) -> PublishOutcome:
        letter = buried.letter
        assert letter.content is not None and letter.sent_at is not None, "it is replayable"
        content = our_content(
            Replay(
                id=f"{letter.topic_id}.{letter.seq}.{buried.id}", topic=letter.topic, seq=letter.seq,
                sender=letter.sender, content=letter.content, sent_at=letter.sent_at,
            )
        )  # fmt: skip
        origin = PublishOutcome()
        draft = Draft(topic_id=inbox, sender="recado", key=f"replay-{buried.id}", content=content)
        self._appender.submit(draft, origin)
        return origin

    async def _to_topic(self, buried: Buried) -> PublishOutcome:
        letter = buried.letter
        assert letter.content is not None, "it is replayable"
        content = check_content(letter.content.encode(), self._settings)
        if letter.bridge == INTAKE:  # whoever published it did not make its topic, which may be deleted for good
            aim = await aim_at_existing(self._actions, letter.topic)
        else:
            aim = await aim_at_made(self._actions, self._settings, letter.topic, letter.sender)
        origin = PublishOutcome()
        self._actions.publish(aim, letter.sender, content, f"{KEY}{buried.id}", letter.ttl, origin, None)
        return origin


def _hindrance(buried: Buried, inbox: int | None) -> str | None:
    """Why a dead letter can have no second try. ``inbox``: of the bridge out, if there is one."""
    letter = buried.letter
    if buried.replayable:
        return "It was to go out, and no bridge out has this name any more." if letter.topic_id and not inbox else None
    if letter.topic_id:
        return "It had expired before it could be sent."
    if letter.came_by is None:
        return f"Its text alone was kept, by an older Recado. It was not stored because: {letter.reason}"
    return f"It can't be read as a message, so it is only kept to be looked at: {letter.reason}"


def _in_utc(moment: datetime | None) -> datetime | None:
    """Raises BadRequest."""
    try:
        return None if moment is None else moment.astimezone(UTC)
    except OverflowError:
        raise BadRequest("since, until: from the year 1 to the year 9999, in UTC.") from None
