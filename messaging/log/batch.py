"""A batch of drafts: what goes in, which share an idempotency key, what senders and readers hear. No I/O, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol, TypeVar, assert_never

from messaging.errors import Conflict, NotAMember, RecadoError, UnknownTopic
from messaging.model import Appended, Message
from messaging.store.append import Draft, Verdict

T = TypeVar("T")

BATCH_BYTES = 1024 * 1024
BATCH_DRAFTS = 2000
SHARE_BYTES = 132 * 1024  # of a source, before it is the next one's turn; the largest message fits


class Origin(Protocol):
    """Who sent a draft, and hears of it exactly once, synchronously, unless the process dies."""

    def on_result(self, context: Any, outcome: Verdict | RecadoError) -> None: ...

    def on_batch_end(self) -> None:
        """The last of this batch has been told: what `on_result` gathered may leave in one piece."""


@dataclass(slots=True, eq=False)
class Waiting:
    """A draft on its way, with whom to tell and what to tell it by."""

    draft: Draft
    origin: Origin
    context: Any
    size: int  # bytes
    since: float = 0.0  # by the loop's clock
    told: bool = False
    source: int | None = None  # whose share of a batch it takes: a user's, by its id; None: what backends send


class Queue:
    """What waits for the log: a line for each source, from which batches take in turn.

    Of a source the order is kept, and with it that of a session in its topics; between sources there is none.
    """

    def __init__(self) -> None:
        self._lines: dict[int | None, deque[Waiting]] = {}  # who is served next stands first; no line is empty

    def __bool__(self) -> bool:
        return bool(self._lines)

    def append(self, waiting: Waiting) -> None:
        line = self._lines.get(waiting.source)
        if line is None:
            line = self._lines[waiting.source] = deque()
        line.append(waiting)

    def put_back(self, batch: Sequence[Waiting]) -> None:
        """What was taken, in order, comes before all else of its sources."""
        for waiting in reversed(batch):
            self._lines.setdefault(waiting.source, deque()).appendleft(waiting)

    def lines(self) -> list[deque[Waiting]]:
        """Each in the order of sending."""
        return list(self._lines.values())

    def forget_told(self) -> None:
        """What has been answered needs no place in a batch."""
        untold = {source: deque(w for w in line if not w.told) for source, line in self._lines.items()}
        self._lines = {source: line for source, line in untold.items() if line}

    def take_batch(self, held: dict[int, deque[Waiting]]) -> list[Waiting]:
        """The next batch; what belongs to a topic whose head is held joins those that wait for it."""
        batch: list[Waiting] = []
        room = BATCH_BYTES
        while self._lines:
            source, line = next(iter(self._lines.items()))
            count = len(line)
            room -= _take(line, batch, held, room if len(self._lines) == 1 else min(room, SHARE_BYTES))
            if len(line) == count:  # the batch is full; it begins the next one
                break
            del self._lines[source]
            if line:
                self._lines[source] = line
        return batch


def take_batch(line: deque[Waiting], held: dict[int, deque[Waiting]]) -> list[Waiting]:
    """The next batch of one line."""
    batch: list[Waiting] = []
    _take(line, batch, held, BATCH_BYTES)
    return batch


def _take(line: deque[Waiting], batch: list[Waiting], held: dict[int, deque[Waiting]], most: int) -> int:
    """Move at most so many bytes of a line into a batch; into an empty one always something. How many it were."""
    size = 0
    while line and len(batch) < BATCH_DRAFTS and (not batch or size + line[0].size <= most):
        waiting = line.popleft()
        if waiting.draft.topic_id in held:
            held[waiting.draft.topic_id].append(waiting)
        else:
            batch.append(waiting)
            size += waiting.size
    return size


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
    match verdict.outcome:
        case "stored" | "repeated":
            return verdict
        case "conflict":
            return Conflict(f"The id {draft.key!r} was used for other content in this topic.")
        case "unknown_topic":
            return UnknownTopic()
        case "not_a_member":
            return NotAMember()
        case _:
            assert_never(verdict.outcome)


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
        Appended(topic_id, messages[0].seq, messages[-1].seq, tuple(messages)) for topic_id, messages in stored.items()
    ]
