"""The delivery rule: what a reader is sent next, and when its cursor moves. No I/O, no clock.

A topic is a log 1, 2, 3 … without gaps. A *node* (one process) keeps a `Feed` for each topic that somebody here reads:

    position   the last seq that was written to every live reader; None while nobody is live
    heard      the highest seq that this node has been told of, by a notice, a page or a sweep

Readers are *live* or *behind*. A live reader is at the feed's position, by definition: nothing is kept for it, and
one range of frames is one write for it. A reader that is behind has a position of its own (its `Place`) and is served
pages from the store. Whatever goes wrong (absence, a slow socket, a lost notice, a restarted node) ends in the same
state, *behind*, and there is one way out of it:

    attach (be heard for)  ->  read pages from the own position on  ->  reach the node's position  ->  live

Attaching comes before the first read. So a message is either in a page, or its notice came after attaching and raised
`heard`, and a reader whose position is below `heard` is not let in. A notice lost altogether is made good by the sweep,
which raises `heard` from the heads themselves. Nothing is merged, buffered or compared beyond two integers.

A range of a notice is judged by its ends alone:

    last <= position               known already: dropped
    first == position + 1, framed  delivered
    anything else                  raises `heard`; one reader for the whole node delivers pages until position >= heard

Confirmation is the `Ledger`'s: one ping outstanding per connection, sent with a record of this connection's position in
each topic at that very moment. The pong confirms that record and nothing later (RFC 6455, 5.5.3: a pong proves that the
peer's endpoint has parsed all that came before the ping). On a connection that acknowledges by itself, pongs prove that
it lives, and only its acks move cursors.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from enum import Enum, auto
from typing import Generic, TypeVar

from messaging.model import Entry, Gap, Message, Page, Topic

R = TypeVar("R")  # a reader: one session

TAIL_BYTES = 64 * 1024  # of the newest frames, kept only while somebody is behind
CHUNK_MIN = 16 * 1024  # bytes
CHUNK_MAX = 128 * 1024
SLOW_PONG = 5.0  # seconds: a chunk that took longer is not followed by a larger one
STUCK_PONG = 10.0  # seconds: nor, beyond this, by one of the same size


class Step(Enum):
    """What a node does with a range that it was told of."""

    IGNORE = auto()
    DELIVER = auto()
    READ = auto()


class Feed(Generic[R]):
    """One topic on one node."""

    __slots__ = ("_tail", "_tail_bytes", "_tail_start", "behind", "heard", "live", "position", "topic", "untold")

    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        self.position: int | None = None
        self.heard = 0
        self.live: dict[R, Place[R]] = {}
        self.behind: dict[R, Place[R]] = {}
        self.untold: set[R] | None = None  # live, but yet to be told which log this is, before their first frame
        self._tail: deque[tuple[int, bytes]] | None = None  # most feeds never have one
        self._tail_start = 0  # the tail continues from this seq
        self._tail_bytes = 0

    def offer(self, first: int, last: int, framed: bool) -> Step:
        """Judge the range first … last; ``framed``: its frames are at hand."""
        self.hear(last)
        if self.position is None or last <= self.position:
            return Step.IGNORE
        return Step.DELIVER if framed and first == self.position + 1 else Step.READ

    def hear(self, seq: int) -> None:
        self.heard = max(self.heard, seq)

    @property
    def wants_page(self) -> bool:
        """Whether the node itself must read for its live readers."""
        return self.position is not None and self.position < self.heard

    def advance(self, frames: Iterable[tuple[int, bytes]], last: int) -> None:
        """The live readers were sent ``frames`` (each with the seq that it reaches), up to ``last``."""
        if not self._tail:
            self._tail_start = self.position or 0
        self.position = last
        self.hear(last)
        if self.behind:
            self._keep(frames)

    def _keep(self, frames: Iterable[tuple[int, bytes]]) -> None:
        if self._tail is None:
            self._tail = deque()
        for seq, frame in frames:
            self._tail.append((seq, frame))
            self._tail_bytes += len(frame)
        while self._tail_bytes > TAIL_BYTES:
            self._tail_start, oldest = self._tail.popleft()
            self._tail_bytes -= len(oldest)

    def attach(self, reader: R, place: Place[R]) -> None:
        self.behind[reader] = place

    def learn(self, place: Place[R], head: int) -> None:
        """The log's head was read after ``place`` was attached: only now may it go live."""
        self.hear(head)
        place.knows_head = True

    def admit(self, reader: R) -> bool:
        """Let a reader that is behind go live, if its position is the node's; the first one sets it."""
        place = self.behind[reader]
        if not place.knows_head:
            return False
        if self.position is None:
            if place.position < self.heard:
                return False
            self.position = self.heard = place.position
        elif place.position != self.position:
            return False
        self.live[reader] = self.behind.pop(reader)
        place.live = True
        if place.untold:
            self.untold = self.untold or set()
            self.untold.add(reader)
        self._forget_tail()
        return True

    def drop_behind(self, reader: R, at: int) -> None:
        """A live reader could not take more: from ``at`` on it is served from the store."""
        place = self.live.pop(reader)
        if self.untold:
            self.untold.discard(reader)
        place.position, place.live = at, False
        self.behind[reader] = place
        self._settle()

    def detach(self, reader: R) -> None:
        """Forget a reader. Its place keeps what it was sent, and follows the feed no longer."""
        if reader in self.live:
            self.drop_behind(reader, self.position or 0)
        self.behind.pop(reader, None)
        self._settle()

    def missing(self, place: Place[R]) -> list[tuple[int, bytes]] | None:
        """The frames between a reader's position and the node's, if the tail continues from just there."""
        tail = list(self._tail or ())
        known = sum(seq <= place.position for seq, _ in tail)
        start = tail[known - 1][0] if known else self._tail_start
        if known == len(tail) or start != place.position:
            return None
        return tail[known:]

    def _settle(self) -> None:
        if not self.live:
            self.position = None
        self._forget_tail()

    def _forget_tail(self) -> None:
        if self.position is None or not self.behind:
            self._tail = None
            self._tail_bytes = 0


class Place(Generic[R]):
    """Where one reader is in one topic."""

    __slots__ = ("confirmed", "feed", "joined", "knows_head", "live", "membership_id", "position", "untold")

    def __init__(self, feed: Feed[R], membership_id: int, joined: int, untold: bool = False) -> None:
        self.feed = feed
        self.membership_id = membership_id
        self.joined = joined
        self.position = joined  # of a live reader the feed's counts instead: see `at`
        self.confirmed = joined
        self.knows_head = False
        self.live = False
        self.untold = untold  # the reader wants to be told which log this is, before its first frame

    def start(self, cursor: int) -> None:
        """Begin at what the device has confirmed, or at joining where that is later."""
        self.position = self.confirmed = max(cursor, self.joined)

    @property
    def at(self) -> int:
        """The last seq written to this reader."""
        return self.feed.position if self.live and self.feed.position is not None else self.position


class Ledger(Generic[R]):
    """What one connection was sent and what it has confirmed, over all its topics."""

    __slots__ = ("_payload", "_record", "explicit", "sent")

    def __init__(self, explicit: bool) -> None:
        self.explicit = explicit  # acks move cursors, pongs do not
        self.sent: set[Place[R]] = set()  # written to since the last ping
        self._payload: bytes | None = None
        self._record: list[tuple[Place[R], int]] = []

    @property
    def outstanding(self) -> bool:
        return self._payload is not None

    def ping(self, payload: bytes) -> None:
        """Record the positions of this moment; the caller writes the ping in the same synchronous step."""
        self._payload = payload
        self._record = [(place, place.at) for place in self.sent]
        self.sent.clear()

    def pong(self, payload: bytes) -> list[tuple[Place[R], int]] | None:
        """The moves that this pong confirms; None where it answers no ping of ours."""
        if payload != self._payload:
            return None
        record, self._record, self._payload = self._record, [], None
        return [] if self.explicit else [(place, seq) for place, seq in record if self._moves(place, seq)]

    def ack(self, place: Place[R], seq: int) -> bool:
        """Whether this acknowledgement moves the cursor. From the first one on, pongs no longer do."""
        self.explicit = True
        return self._moves(place, seq)

    @staticmethod
    def _moves(place: Place[R], seq: int) -> bool:
        if seq <= place.confirmed:
            return False
        place.confirmed = seq
        return True


def next_chunk(size: int, seconds: float) -> int:
    """The size of the chunk after one of ``size`` bytes that was confirmed after ``seconds``.

    It doubles while the reader is quick. A slow one keeps a size that it takes well within the 30 seconds after
    which an unanswered ping ends a session, so that it never loses its connection for being slow.
    """
    if seconds > STUCK_PONG:
        return max(CHUNK_MIN, size // 2)
    return size if seconds > SLOW_PONG else min(CHUNK_MAX, size * 2)


def fill(rows: Sequence[Message], after: int, head: int, cut: bool, seen: int) -> Page:
    """The page beyond ``after``: the rows that are left, and gaps where others were.

    Args:
        head: the topic's last seq, read in the same statement as the rows.
        cut: a limit ended the rows before the head; what follows them is not missing.
        seen: in an inbox, the highest cursor: what is missing up to it was seen, beyond it expired. Else 0.
    """
    entries: list[Entry] = []
    position = after
    for row in rows:
        entries += gaps(position + 1, row.seq - 1, seen)
        entries.append(row)
        position = row.seq
    if not cut:
        entries += gaps(position + 1, head, seen)
        position = max(position, head)
    return Page(tuple(entries), position, head)


def gaps(first: int, last: int, seen: int) -> list[Gap]:
    """The gap first … last, in two where only its beginning was seen; none where it is empty."""
    parts = (Gap(first, min(last, seen), "seen"), Gap(max(first, seen + 1), last, "expired"))
    return [part for part in parts if part.first <= part.last]


def between(entries: Iterable[Entry], after: int, until: int) -> list[Entry]:
    """The entries, or parts of gaps, with after < seq <= until."""
    inside: list[Entry] = []
    for entry in entries:
        if isinstance(entry, Message):
            if after < entry.seq <= until:
                inside.append(entry)
        elif entry.last > after and entry.first <= until:
            inside.append(Gap(max(entry.first, after + 1), min(entry.last, until), entry.reason))
    return inside
