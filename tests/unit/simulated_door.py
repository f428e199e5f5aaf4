"""A WebSocket door without clock, socket or database: the real hub, catch-up, roster, ticker and sessions of several
nodes, over a plain model of the store, the bus and the peers.

The product's coroutines are stepped by hand. Every answer of the store is what was true when it was asked, and is
applied later: between the two anything may happen. Whatever a peer is sent is checked as it is written.
"""

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import msgspec

import messaging.delivery
import ws_server.feeds.catchup
import ws_server.feeds.hub
import ws_server.feeds.memberships
import ws_server.protocol
import ws_server.session
from messaging.auth.tokens import Claims
from messaging.delivery import Feed, Place
from messaging.errors import Unavailable
from messaging.model import MAX_SEQ, Appended, Changed, Content, Membership, Message, Notice, Page, Topic, User
from messaging.readers.cursors import Cursors
from messaging.readers.pages import SharedPage
from messaging.store.store import Move
from ws_server.feeds.catchup import CatchUp
from ws_server.feeds.hub import Hub
from ws_server.feeds.membership_sync import SLICES, MembershipSync
from ws_server.feeds.memberships import Walk
from ws_server.feeds.ticker import Ticker
from ws_server.handshake import ConnectOptions
from ws_server.protocol import entry_frames
from ws_server.session import Session

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SIZES: list[tuple[Any, dict[str, Any]]] = [  # everything so small that a few messages overflow it
    (messaging.delivery, {"TAIL_BYTES": 400, "CHUNK_MIN": 150, "CHUNK_MAX": 600}),
    (ws_server.protocol, {"PIECE_BYTES": 300}),
    (ws_server.session, {"BUFFER_BYTES": 600, "CHUNK_MIN": 150}),
    (ws_server.feeds.hub, {"BUFFER_BYTES": 600, "PLACES": 1}),
    (ws_server.feeds.memberships, {"MAX_IN_TURN": 1}),
    (ws_server.feeds.catchup, {"LEAST_SHARE": 100, "NODE_PAGE": 500}),
]


@contextmanager
def small_sizes() -> Iterator[None]:
    patches = [patch.multiple(module, **values) for module, values in SIZES]
    for each in patches:
        each.start()
    try:
        yield
    finally:
        for each in patches:
            each.stop()


class _Pause:
    """The point between asking the store and getting its answer."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class Job:
    """A coroutine of the product, stepped by hand; made at its first step."""

    def __init__(self, function: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        self._make = partial(function, *args)
        self._coroutine: Coroutine[Any, Any, None] | None = None
        self.done = False

    def step(self, error: Exception | None = None) -> None:
        """Go on to the next question to the store; ``error`` answers the last one."""
        self.done = True
        try:
            if self._coroutine is None:
                self._coroutine = self._make()
                self._coroutine.send(None)
            elif error is None:
                self._coroutine.send(None)
            else:
                self._coroutine.throw(error)
        except StopIteration:
            return
        self.done = False

    def close(self) -> None:
        if self._coroutine is not None:
            self._coroutine.close()


def check(holds: bool, *said: object) -> None:
    if not holds:
        raise AssertionError(" ".join(map(str, said)))


# --- the store --------------------------------------------------------------------------------------------------------


@dataclass
class Log:
    """One topic as a list: message ``n`` has the content ``"<topic>/<n>"``; ``removed`` is what retention took."""

    topic: Topic
    head: int = 0
    removed: set[int] = field(default_factory=set)
    members: dict[int, Membership] = field(default_factory=dict)

    def message(self, seq: int) -> Message:
        return Message(seq, "someone", Content(f'"{self.topic.id}/{seq}"'), NOW)


class ModelStore:
    """The truth, as the statements of sql/queries.sql tell it."""

    def __init__(self, topics: Sequence[Topic], users: Sequence[int], happened: Counter[str]) -> None:
        self.logs = {topic.id: Log(topic) for topic in topics}
        self.users = dict.fromkeys(users, 1)  # versions
        self.cursors: dict[tuple[int, str], int] = {}  # by membership and device
        self.began: dict[tuple[int, str], int] = {}  # where a device was first put
        self.joined: dict[int, int] = {}  # every membership that ever was
        self.happened = happened
        self.tokens = self
        for log in self.logs.values():
            for user in users:
                self.join(log, user)

    def append(self, log: Log, count: int) -> Appended:
        first, log.head = log.head + 1, log.head + count
        messages = tuple(log.message(seq) for seq in range(first, log.head + 1))
        return Appended(log.topic.id, first, log.head, messages)

    def join(self, log: Log, user: int, inviter: str | None = None) -> None:
        number = len(self.joined) + 1
        log.members[user] = Membership(number, log.topic, "member", log.head, inviter)
        self.joined[number] = log.head
        self.users[user] += 1

    def leave(self, log: Log, user: int) -> tuple[int, int]:
        self.users[user] += 1
        return log.topic.id, log.members.pop(user).id

    def current(self) -> set[int]:
        """The memberships that hold."""
        return {member.id for log in self.logs.values() for member in log.members.values()}

    def cursor(self, membership_id: int, device: str) -> int:
        return self.cursors.get((membership_id, device), self.joined[membership_id])

    async def see_device(self, user_id: int, device: str, jti: str, issued_at: float) -> int:
        for member in (log.members[user_id] for log in self.logs.values() if user_id in log.members):
            highest = max(
                (seq for (id_, _), seq in self.cursors.items() if id_ == member.id), default=member.joined_seq
            )
            if (member.id, device) not in self.cursors:
                self.cursors[member.id, device] = self.began[member.id, device] = highest
        return self.users[user_id]

    async def memberships(self, user_id: int, after: int, limit: int) -> list[Membership]:
        logs = [log for id_, log in sorted(self.logs.items()) if id_ > after and user_id in log.members]
        answer = [log.members[user_id] for log in logs[:limit]]
        await _Pause()
        return answer

    async def positions(self, user_id: int, device: str, after: int, until: int) -> dict[int, tuple[int, int]]:
        answer = {
            log.topic.id: (log.head, self.cursor(log.members[user_id].id, device))
            for log in self.logs.values()
            if after < log.topic.id <= until and user_id in log.members
        }
        await _Pause()
        return answer

    async def versions(self, user_ids: Sequence[int]) -> dict[int, tuple[int, float]]:
        answer = {user_id: (self.users[user_id], 0.0) for user_id in user_ids}
        await _Pause()
        return answer

    async def revoked(self, jtis: Iterable[str]) -> set[str]:
        return set()

    async def heads(self, topic_ids: Sequence[int]) -> dict[int, int]:
        answer = {topic_id: self.logs[topic_id].head for topic_id in topic_ids}
        await _Pause()
        return answer

    async def page(self, topic: Topic, after: int, budget: int, memberships: Sequence[int]) -> tuple[Page, set[int]]:
        log = self.logs[topic.id]
        rows = [log.message(seq) for seq in range(after + 1, log.head + 1) if seq not in log.removed]
        kept = rows[: max(1, -(-budget // 170))]
        members = {member.id for member in log.members.values()}
        page = messaging.delivery.fill(kept, after, log.head, len(kept) < len(rows), self.seen(log))
        self.happened["page_cut"] += len(kept) < len(rows)
        await _Pause()
        return page, members & set(memberships)

    def seen(self, log: Log) -> int:
        if log.topic.kind != "direct":
            return 0
        current = {member.id for member in log.members.values()}
        return max((seq for (id_, _), seq in self.cursors.items() if id_ in current), default=0)

    async def move_cursors(self, moves: Sequence[Move]) -> set[int]:
        for move in moves:
            current = {member.id for member in self.logs[move.topic_id].members.values()}
            if move.membership_id in current:
                at = (move.membership_id, move.device)
                self.began.setdefault(at, self.joined[move.membership_id])
                self.cursors[at] = max(move.seq, self.cursors.get(at, 0))
        return set()


class ModelPages:
    """Reads pages one by one; the sharing of flights is not of this game."""

    def __init__(self, store: ModelStore) -> None:
        self._store = store

    async def read(self, topic: Topic, after: int, budget: int, membership: int | None = None) -> SharedPage[Any]:
        page, holds = await self._store.page(topic, after, budget, [] if membership is None else [membership])
        return SharedPage(page, entry_frames(topic.name, page.entries), holds)


# --- the peers --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sent:
    """One frame on its way to a peer."""

    size: int
    action: str
    membership_id: int = 0
    topic_id: int = 0
    first: int = 0
    last: int = 0
    payload: bytes = b""


def frames_of(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(opcode, size of the frame, payload) of unmasked frames of less than 64 KiB."""
    while data:
        start, size = (4, int.from_bytes(data[2:4])) if data[1] == 126 else (2, data[1])
        yield data[0] & 15, start + size, data[start : start + size]
        data = data[start + size :]


class Peer:
    """A client, and the transport between it and its session. It checks what is written, and remembers what it read."""

    def __init__(self, store: ModelStore, user_id: int, device: str) -> None:
        self.store = store
        self.user_id = user_id
        self.device = device
        self.session: Session
        self.wire: deque[Sent] = deque()
        self.size = 0
        self.sent_to: dict[int, int] = {}  # by membership: the last seq written
        self.read_to: dict[int, int] = {}  # by membership: the last seq that the peer has read
        self.read: list[Sent] = []
        self.pings: list[bytes] = []  # read, oldest first
        self.read_before: dict[bytes, dict[int, int]] = {}  # by ping: `read_to` when it was read
        self.answered: set[bytes] = set()
        self.confirmed: dict[int, int] = {}
        self.may_confirm: dict[int, int] = {}
        current = [log.members[user_id] for log in store.logs.values() if user_id in log.members]
        self.cursor_at_connect = {member.id: store.cursor(member.id, device) for member in current}

    # A transport, as far as the product uses one

    def write(self, data: bytes) -> None:
        for opcode, size, payload in frames_of(data):
            sent = Sent(size, "ping", payload=payload) if opcode == 9 else self._checked(size, payload)
            self.wire.append(sent)
            self.size += size

    def get_write_buffer_size(self) -> int:
        return self.size

    def get_extra_info(self, name: str) -> Any:
        def refuse(*_: object) -> Any:
            raise OSError

        return SimpleNamespace(fileno=refuse, getsockopt=refuse)

    # What is written

    def _checked(self, size: int, payload: bytes) -> Sent:
        frame = msgspec.json.decode(payload)
        action = frame["action"]
        if action not in ("message", "gap"):
            return Sent(size, action)
        log = next(log for log in self.store.logs.values() if log.topic.name == frame["topic_name"])
        first, last = (frame["seq"],) * 2 if action == "message" else (frame["from"], frame["to"])
        member_id = self.session.places[log.topic.id].membership_id
        check(first <= last <= log.head, "invented", frame)
        if action == "message":
            check(frame["content"] == f"{log.topic.id}/{first}", "other content", frame)
        else:
            self.store.happened[f"gap_{frame['reason']}"] += 1
            check(log.removed.issuperset(range(first, last + 1)), "a gap over messages that are there", frame)
            check(frame["reason"] != "seen" or last <= self.store.seen(log), "nobody saw", frame)
        if member_id in self.sent_to:
            check(first == self.sent_to[member_id] + 1, "after", self.sent_to[member_id], "came", frame)
        else:
            self.check_start(member_id, first - 1)
        self.sent_to[member_id] = last
        return Sent(size, action, member_id, log.topic.id, first, last)

    def check_start(self, member_id: int, position: int) -> None:
        """A stream begins at what the device had confirmed, or at joining where the connection was there before."""
        least = self.cursor_at_connect.get(member_id, self.store.joined[member_id])
        most = max(least, self.store.cursor(member_id, self.device))
        if member_id not in self.store.current():  # it has lost its claim; a new membership may have begun later on
            most = MAX_SEQ
        check(least <= position <= most, "a stream begins at", position, "of", least, "to", most)

    # What is read and answered

    def take(self, count: int) -> None:
        for _ in range(min(count, len(self.wire))):
            sent = self.wire.popleft()
            self.size -= sent.size
            if sent.action == "ping":
                self.pings.append(sent.payload)
                self.read_before[sent.payload] = dict(self.read_to)
            elif sent.membership_id:
                self.read.append(sent)
                self.read_to[sent.membership_id] = sent.last

    def check_move(self, membership_id: int, seq: int) -> None:
        """Only what was read before may be confirmed, and only upwards."""
        check(seq <= self.may_confirm.get(membership_id, -1), "confirmed, but not read:", seq, self.may_confirm)
        check(seq > self.confirmed.get(membership_id, -1), "a cursor falls to", seq)
        self.confirmed[membership_id] = seq


class CheckedCursors(Cursors):
    """Confirmations, each checked against what the peer has read."""

    peer: Peer | None = None

    def move(self, topic_id: int, membership_id: int, device: str, seq: int) -> None:
        check(self.peer is not None, "a cursor moves by itself")
        if self.peer is not None:
            self.peer.check_move(membership_id, seq)
        super().move(topic_id, membership_id, device, seq)


# --- a node -----------------------------------------------------------------------------------------------------------


class NoMetrics:
    """Counts what the machine wants to have seen; swallows the rest."""

    def __init__(self, happened: Counter[str]) -> None:
        self._happened = happened

    def __getattr__(self, name: str) -> Any:
        def count(*_: object) -> None:
            self._happened[name] += 1

        count.inc = count  # type: ignore[attr-defined]
        return count


class Loop:
    """As much of an event loop as the product asks for."""

    def __init__(self) -> None:
        self.timers: list[tuple[Callable[..., object], tuple[Any, ...]]] = []

    def time(self) -> float:
        return 0.0

    def call_later(self, _: float, call: Callable[..., object], *args: Any) -> None:
        self.timers.append((call, args))


class Node:
    """One process: the parts of `ws_server.server.WebSocketServer`, put together as it does."""

    def __init__(self, store: ModelStore, loop: Loop, happened: Counter[str]) -> None:
        metrics: Any = NoMetrics(happened)
        truth: Any = store
        self.store = store
        self.loop = loop
        self.happened = happened
        self.cursors = CheckedCursors(truth, seen=lambda _: None)
        self.ticker = Ticker(hub := self._hub(metrics), stuck=self._stuck)
        self.hub = hub
        self.catch_up = CatchUp(
            truth,
            metrics,
            deliver=hub.deliver,
            written=self.ticker.ping_soon,
            stale=lambda session: self.roster.look_again(session.user.id),
            restored=self._restored,
            announce=self._announce,
        )
        self.catch_up._pages = ModelPages(store)  # type: ignore[assignment]
        self.roster = MembershipSync(truth, hub, self.catch_up, metrics, revoked=self._stuck, restored=self._restored)
        self.bus: list[Notice] = []
        self.jobs: list[Job] = []
        self.peers: list[Peer] = []
        self.ticks = 0

    def _hub(self, metrics: Any) -> Hub:
        return Hub(
            metrics,
            wants_page=lambda feed: self.catch_up.want_feed(feed),
            fell_behind=self._fell_behind,
            ended=lambda *which: self.roster.end(*which),
            changed=lambda user_id: self.roster.look_again(user_id),
            voided=self._stuck,
            announce=self._announce,
        )

    def _fell_behind(self, session: Session, place: Place[Session]) -> None:
        self.happened["fell_behind"] += 1
        session.fell_behind(place)
        self.ticker.ping_soon(session)

    def _restored(self, feed: Feed[Session]) -> None:
        raise AssertionError(f"topic {feed.topic.id} was taken for a restored one")

    def _announce(self, _: Feed[Session]) -> bytes:
        raise AssertionError("nobody asks for epochs here")

    def _stuck(self, _: Session) -> None:
        raise AssertionError("nobody is stuck or revoked here")

    # Sessions

    def connect(self, user_id: int, device: str, explicit: bool) -> Peer:
        peer = Peer(self.store, user_id, device)
        link: Any = SimpleNamespace(transport=peer)
        user = User(user_id, f"u{user_id}", self.store.users[user_id])
        claims = Claims(user.name, "", 1.0, 2.0)
        peer.session = Session(
            link, user, claims, ConnectOptions(device, explicit, False), cursors=self.cursors, ready=self.catch_up.want
        )
        self.peers.append(peer)
        self.jobs.append(Job(self._open, peer))
        return peer

    async def _open(self, peer: Peer) -> None:
        try:
            await self.roster.open(peer.session)
        except Unavailable:
            self.disconnect(peer)
        if not peer.session.gone:
            self.ticker.add(peer.session)

    def disconnect(self, peer: Peer) -> None:
        if peer.session.gone:
            return
        peer.session.gone = True
        if not self.hub.remove(peer.session):
            self.jobs.append(Job(self._take_out, peer.session))
        self.ticker.remove(peer.session)
        self.roster.forget(peer.session.user.id)
        self.peers.remove(peer)

    async def _take_out(self, session: Session) -> None:
        while not self.hub.remove(session):
            await _Pause()

    def pong(self, peer: Peer, payload: bytes) -> None:
        peer.may_confirm = peer.read_before.get(payload, {}) if payload not in peer.answered else {}
        peer.answered.add(payload)
        self.cursors.peer = peer
        if peer.session.pong(payload, 0.0):
            self.ticker.ponged(peer.session)
        self.cursors.peer = None

    def ack(self, peer: Peer, topic_id: int, seq: int) -> None:
        """As `ws_server.requests` does it for what this connection was sent."""
        place = peer.session.places.get(topic_id)
        if place is not None and 0 < seq <= min(place.at, peer.read_to.get(place.membership_id, 0)):
            peer.may_confirm = peer.read_to
            self.cursors.peer = peer
            if peer.session.ledger.ack(place, seq):
                peer.session.confirm(place, seq)
            self.cursors.peer = None

    # Work

    def tick(self) -> None:
        self.ticks += 1
        self.ticker.tick(self.ticks, 0.0)

    def start(self) -> None:
        """Give whatever waits for a worker one."""
        while self.catch_up._queue:
            reader = self.catch_up._queue.popleft()
            if isinstance(reader, Session):
                self.jobs.append(Job(self.catch_up._serve_session, reader))
            else:
                self.jobs.append(Job(self.catch_up._serve_feed, reader))
        while self.roster._changed:
            user_id = next(iter(self.roster._changed))
            del self.roster._changed[user_id]
            self.jobs.append(Job(self._look, user_id))
        walking = set(self.roster._walks)
        self.roster._begin_walks()
        for user_id in self.roster._walks.keys() - walking:
            self.jobs.append(Job(self._walk, self.roster._walks[user_id]))

    def sweep(self) -> None:
        for part in range(SLICES):
            self.jobs.append(Job(self._sweep_slice, part))

    async def _look(self, user_id: int) -> None:
        try:
            await self.roster._check([user_id])
        except Unavailable:
            self.roster.look_again(user_id)

    async def _walk(self, walk: Walk) -> None:
        while self.roster._walks.get(walk.user_id) is walk:
            await self.roster._step(walk)

    async def _sweep_slice(self, part: int) -> None:
        with suppress(Unavailable):
            await self.roster._sweep_slice(part)

    def step(self, pick: int, error: Exception | None = None) -> bool:
        """Let one job go on, until it asks the store something. False where there is none."""
        self.start()
        if self.jobs:
            self._step(self.jobs[pick % len(self.jobs)], error)
        return bool(self.jobs)

    def _step(self, job: Job, error: Exception | None = None) -> None:
        try:
            job.step(error)
        finally:
            if job.done:
                self.jobs.remove(job)
        self.start()

    def finish(self, job: Job) -> None:
        while not job.done:
            self._step(job)

    def flush(self) -> None:
        flush = Job(self.cursors.flush)
        while not flush.done:
            flush.step()

    def close(self) -> None:
        for job in self.jobs:
            job.close()

    # What always holds

    def check(self) -> None:
        for feed in self.hub.feeds.values():
            self._check_feed(feed)
        for peer in self.peers:
            session = peer.session
            for place in session.places.values():
                check(place.feed is self.hub.feeds.get(place.feed.topic.id), "a reader of a feed that is forgotten")
                check((session in place.feed.live) == place.live, "live and behind at once")
                check((session in place.feed.behind) != place.live, "neither live nor behind")

    def _check_feed(self, feed: Feed[Session]) -> None:
        head = self.store.logs[feed.topic.id].head
        check((feed.position is None) == (not feed.live), "a position without live readers, or these without one")
        check((feed.position or 0) <= feed.heard <= head, "not position <= heard <= head:", feed.position, feed.heard)
        for session, place in feed.live.items():
            check(place.at == feed.position, "a live reader that is not where its node is")
            self._check_place(session, place)
        for session, place in feed.behind.items():
            check(place.at == place.position, "a reader behind has a position of its own")
            if place.knows_head:
                self._check_place(session, place)

    def _check_place(self, session: Session, place: Place[Session]) -> None:
        """A reader's position is what was written to it, no more and no less."""
        if session.gone:  # it is being taken out of the feeds, and written to no more
            return
        peer = next(peer for peer in self.peers if peer.session is session)
        if place.membership_id in peer.sent_to:
            check(place.at == peer.sent_to[place.membership_id], "at", place.at, "but was sent", peer.sent_to)
        else:
            peer.check_start(place.membership_id, place.at)


# --- all of it --------------------------------------------------------------------------------------------------------


class World:
    """Two nodes, three users, two topics."""

    def __init__(self, happened: Counter[str]) -> None:
        self.happened = happened
        self.loop = Loop()
        topics = [Topic(1, "noticias", "public", "u1"), Topic(2, "@u1", "direct", "u1")]
        self.store = ModelStore(topics, (1, 2, 3), happened)
        self.nodes = [self._node(), self._node()]
        self.peers: list[Peer] = []  # all that ever were

    def _node(self) -> Node:
        return Node(self.store, self.loop, self.happened)

    @property
    def here(self) -> list[tuple[Node, Peer]]:
        return [(node, peer) for node in self.nodes for peer in node.peers]

    @contextmanager
    def running(self) -> Iterator[None]:
        """With a loop of its own; counts what is rare."""
        missing = Feed.missing

        def counted(feed: Feed[Any], place: Place[Any]) -> Any:
            frames = missing(feed, place)
            self.happened["tail_used"] += bool(frames)
            return frames

        with patch.object(asyncio, "get_running_loop", lambda: self.loop), patch.object(Feed, "missing", counted):
            try:
                yield
            finally:
                for node in self.nodes:
                    node.close()

    def publish(self, topic_id: int, count: int) -> Appended:
        return self.store.append(self.store.logs[topic_id], count)

    def connect(self, node: int, user: int, device: str = "", explicit: bool = False, at_once: bool = True) -> Peer:
        peer = self.nodes[node].connect(user, device, explicit)
        self.peers.append(peer)
        if at_once:
            self.nodes[node].finish(self.nodes[node].jobs[-1])
        return peer

    def crash(self, node: int) -> None:
        """All that it held in memory is lost."""
        self.nodes[node].close()
        for peer in self.nodes[node].peers:
            peer.session.gone = True
        self.nodes[node] = self._node()

    def fire_timer(self) -> None:
        if self.loop.timers:
            call, args = self.loop.timers.pop(0)
            call(*args)

    def check(self) -> None:
        for node in self.nodes:
            node.check()

    # The end: notices stay lost, but sweeps go on and everyone reads

    def settle(self) -> None:
        for _ in range(80 + sum(log.head for log in self.store.logs.values())):  # a slow one gets one at a time
            if all(self._is_settled(node) for node in self.nodes) and not self.loop.timers:
                break
            for node in self.nodes:
                self._go_on(node)
        for node, peer in self.here:
            self._check_settled(node, peer)
        self._check_all_read()

    def _go_on(self, node: Node) -> None:
        node.sweep()
        for pick in range(40 + 10 * len(node.jobs)):
            node.step(pick)
        while self.loop.timers:
            self.fire_timer()
        node.tick()
        for peer in list(node.peers):
            peer.take(1000)
            for payload in peer.pings[-1:]:
                node.pong(peer, payload)
            for topic_id, place in peer.session.places.items():
                if peer.session.ledger.explicit:
                    node.ack(peer, topic_id, peer.read_to.get(place.membership_id, 0))
        node.flush()
        self.check()

    def _is_settled(self, node: Node) -> bool:
        node.start()
        return (
            not (node.jobs or node.hub.moved or any(self._is_busy(peer) for peer in node.peers))
            and all(self._has_all(peer, place) for peer in node.peers for place in peer.session.places.values())
            and all(self._knows_memberships(peer) for peer in node.peers)
        )

    def _is_busy(self, peer: Peer) -> bool:
        return bool(peer.wire) or peer.session.ledger.outstanding or peer.session.due

    def _has_all(self, peer: Peer, place: Place[Session]) -> bool:
        unconfirmed = peer.read_to.get(place.membership_id, 0) > place.confirmed
        return place.live and place.at == self.store.logs[place.feed.topic.id].head and not unconfirmed

    def _knows_memberships(self, peer: Peer) -> bool:
        mine = {
            id_: log.members[peer.user_id].id for id_, log in self.store.logs.items() if peer.user_id in log.members
        }
        return mine == {topic_id: place.membership_id for topic_id, place in peer.session.places.items()}

    def _check_settled(self, node: Node, peer: Peer) -> None:
        check(self._knows_memberships(peer), "a session that is not in step with its memberships", peer.session.places)
        for topic_id, place in peer.session.places.items():
            head = self.store.logs[topic_id].head
            check(
                place.live and place.at == head, f"topic {topic_id}: a reader stays at {place.at} of {head}, for ever"
            )
            read_to = peer.read_to.get(place.membership_id)
            check(read_to is None or read_to == head, "read", read_to, "of", head)
            check(read_to is None or place.confirmed == head, "confirmed", place.confirmed, "of", head)
            check(
                read_to is None or self.store.cursor(place.membership_id, peer.device) == head, "the cursor stays back"
            )

    def _check_all_read(self) -> None:
        """Every device that is here has read, on one connection or another, all since it was first put somewhere."""
        read: defaultdict[tuple[int, str], set[int]] = defaultdict(set)
        for peer in self.peers:
            for sent in peer.read:
                read[sent.membership_id, peer.device].update(range(sent.first, sent.last + 1))
        for _, peer in self.here:
            for topic_id, place in peer.session.places.items():
                reader = (place.membership_id, peer.device)
                began = self.store.began.get(reader, place.joined)
                missed = set(range(began + 1, self.store.logs[topic_id].head + 1)) - read[reader]
                check(not missed, "never sent to", reader, ":", sorted(missed))


def told(notice: Appended, framed: bool) -> Appended:
    return notice if framed else msgspec.structs.replace(notice, messages=None)


__all__ = ["Changed", "Peer", "World", "small_sizes", "told"]
