"""A batch of drafts: what goes into it, whose doubles it has, what its senders and readers hear. No I/O, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol, TypeVar

from messaging.errors import Conflict, NotAMember, RecadoError, UnknownTopic
from messaging.model import Appended, Message
from messaging.store_append import Draft, Verdict

T = TypeVar("T")

BATCH_BYTES = 1024 * 1024
BATCH_DRAFTS = 2000

_REFUSALS: dict[str, type[RecadoError]] = {"unknown_topic": UnknownTopic, "not_a_member": NotAMember}


class Origin(Protocol):
    """Who sent a draft, and hears of it exactly once, synchronously, unless the process dies."""

    def settled(self, context: Any, outcome: Verdict | RecadoError) -> None: ...

    def settle_end(self) -> None:
        """The last of this batch has been told: what `settled` gathered may leave in one piece."""


@dataclass(slots=True, eq=False)
class Waiting:
    """A draft on its way, with whom to tell and what to tell it by."""

    draft: Draft
    origin: Origin
    context: Any
    size: int  # bytes
    since: float = 0.0  # by the loop's clock
    told: bool = False


def take_batch(queue: deque[Waiting], held: dict[int, deque[Waiting]]) -> list[Waiting]:
    """The next batch of a queue, in order; what belongs to a topic whose head is held joins those that wait for it."""
    batch: list[Waiting] = []
    size = 0
    while queue and len(batch) < BATCH_DRAFTS and (not batch or size + queue[0].size <= BATCH_BYTES):
        waiting = queue.popleft()
        if waiting.draft.topic_id in held:
            held[waiting.draft.topic_id].append(waiting)
        else:
            batch.append(waiting)
            size += waiting.size
    return batch


def overdue(lines: Iterable[Sequence[Waiting]], before: float) -> list[Waiting]:
    """What waits since ``before`` or longer, and with each all that its origin sent to the same topic behind it.

    Each line is in the order of sending; what of one topic stands in several is older in the first.
    """
    late: set[tuple[Origin, int]] = set()
    found = []
    for waiting in chain.from_iterable(lines):
        of = (waiting.origin, waiting.draft.topic_id)
        if not waiting.told and (waiting.since <= before or of in late):
            late.add(of)
            found.append(waiting)
    return found


def without_doubles(batch: Iterable[T], draft_of: Callable[[T], Draft]) -> tuple[list[T], list[tuple[T, int]]]:
    """The batch with each key once, and the doubles, each with the place of the draft whose fate it shares."""
    leaders: list[T] = []
    doubles: list[tuple[T, int]] = []
    seen: dict[tuple[int, str, str], int] = {}
    for each in batch:
        draft = draft_of(each)
        if draft.key is not None:
            leader = seen.setdefault((draft.topic_id, draft.sender, draft.key), len(leaders))
            if leader < len(leaders):
                doubles.append((each, leader))
                continue
        leaders.append(each)
    return leaders, doubles


def answer(draft: Draft, verdict: Verdict) -> Verdict | RecadoError:
    """What the sender of ``draft`` hears."""
    if verdict.outcome == "conflict":
        return Conflict(f"The id {draft.key!r} was used for other content in this topic.")
    refusal = _REFUSALS.get(verdict.outcome)
    return verdict if refusal is None else refusal()


def answer_double(draft: Draft, leader: Draft, outcome: Verdict | RecadoError) -> Verdict | RecadoError:
    """What the sender of a draft hears whose key ``leader``, in the same batch, had first."""
    if isinstance(outcome, Verdict) and draft.digest != leader.digest:
        return Conflict(f"The id {draft.key!r} was used for other content in this topic.")
    return outcome


def notices(drafts: Sequence[Draft], verdicts: Sequence[Verdict]) -> list[Appended]:
    """One notice per topic of a committed batch."""
    stored: dict[int, list[Message]] = {}
    for draft, verdict in zip(drafts, verdicts, strict=True):
        if verdict.outcome == "stored" and verdict.seq is not None and verdict.sent_at is not None:
            message = Message(verdict.seq, draft.sender, draft.content, verdict.sent_at)
            stored.setdefault(draft.topic_id, []).append(message)
    return [
        Appended(topic_id, messages[0].seq, messages[-1].seq, tuple(messages))
        for topic_id, messages in stored.items()
    ]
