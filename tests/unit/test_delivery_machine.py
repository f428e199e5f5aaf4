"""The delivery rule in every order of events that Hypothesis can think of, and proof that planted bugs are caught.

`simulated_door` is the world: real sessions, hub, catch-up, roster and ticker over a model of everything else. What is
checked, at every step: per connection and topic the seqs go +1, gaps included; nothing is invented; a cursor never
exceeds what the peer had read before the ping that it confirmed, and never falls; live readers are at their node's
position. At the end everyone reads, and has had all, or gaps in its place.

RECADO_EXAMPLES=20000 runs that many random examples in place of the same few as always.
"""

import os
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from simulated_door import Peer, World, small_sizes, told

import messaging.delivery
import ws_server.feeds.catchup
import ws_server.feeds.membership_sync
from messaging.delivery import Feed, Ledger, Place, Step
from messaging.errors import Unavailable
from messaging.model import Changed, Message, Page
from ws_server.session import Session

EXAMPLES = os.environ.get("RECADO_EXAMPLES")
# Counting lines makes a million steps seven times slower; what they run through is counted by other tests.
pytestmark = pytest.mark.no_cover
CHECKS = settings(
    max_examples=int(EXAMPLES or 400),
    stateful_step_count=100 if EXAMPLES else 40,
    derandomize=not EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
HUNT = settings(
    CHECKS,
    max_examples=1000,
    stateful_step_count=40,
    derandomize=True,
    phases=[Phase.generate],
    report_multiple_bugs=False,
)

picks = st.integers(0, 11)
few = st.integers(1, 4)
users = st.sampled_from((1, 1, 2, 3))
topics = st.sampled_from((1, 1, 2))
nodes = st.sampled_from((0, 0, 0, 1))
mostly = st.sampled_from((True, True, True, False))
hearing = st.sampled_from(("framed", "framed", "bare", "later", "bare later", "lost"))


class DeliveryMachine(RuleBasedStateMachine):
    happened: Counter[str] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.happened)
        self.patches = ExitStack()
        self.patches.enter_context(small_sizes())
        self.patches.enter_context(self.world.running())

    def teardown(self) -> None:
        with self.patches:
            self.world.settle()

    def some_peer(self, pick: int) -> tuple[Any, Peer] | None:
        here = self.world.here
        return here[pick % len(here)] if here else None

    @initialize(seats=st.lists(st.tuples(nodes, users, st.booleans()), min_size=1, max_size=4))
    def first_come(self, seats: list[tuple[int, int, bool]]) -> None:
        for node, user, explicit in seats:
            self.connect(node, user, "", explicit, True)
        self.world.publish(1, 2)
        self.calm(0)

    # The log

    @rule(topic=topics, count=few, heard=st.tuples(hearing, hearing))
    def publish(self, topic: int, count: int, heard: tuple[str, str]) -> None:
        notice = self.world.publish(topic, count)
        for node, how in zip(self.world.nodes, heard, strict=True):
            if how in ("framed", "bare"):
                node.hub.receive(told(notice, how == "framed"))
            elif how != "lost":
                node.bus.append(told(notice, how == "later"))

    @rule(topic=topics, count=st.integers(1, 6))
    def publish_in_fair_weather(self, topic: int, count: int) -> None:
        notice = self.world.publish(topic, count)
        for node in self.world.nodes:
            node.hub.receive(notice)

    @rule(node=nodes, topic=topics, order=st.sampled_from(((1, 0), (1, 0, 1), (0, 0, 1), (0, 1, 0))), step=picks)
    def publish_and_be_heard_of_in_disorder(self, node: int, topic: int, order: tuple[int, ...], step: int) -> None:
        notices = [self.world.publish(topic, 1), self.world.publish(topic, 2)]
        for number in order:
            self.world.nodes[node].hub.receive(notices[number])
            self.world.nodes[node].step(step)

    @rule(node=nodes, pick=picks, fate=st.sampled_from(("delivered", "delivered", "delivered twice", "lost")))
    def notice(self, node: int, pick: int, fate: str) -> None:
        bus = self.world.nodes[node].bus
        if bus:
            notice = bus.pop(pick % len(bus))
            for _ in range(("lost", "delivered", "delivered twice").index(fate)):
                self.world.nodes[node].hub.receive(notice)

    @rule(topic=topics, start=picks, count=few)
    def retain_less(self, topic: int, start: int, count: int) -> None:
        log = self.world.store.logs[topic]
        log.removed.update(seq for seq in range(start + 1, start + count + 1) if seq <= log.head)

    # Sessions

    @rule(node=nodes, user=users, device=st.sampled_from(("", "", "", "b")), explicit=st.booleans(), at_once=mostly)
    def connect(self, node: int, user: int, device: str, explicit: bool, at_once: bool) -> None:
        if len(self.world.here) < 6:
            self.world.connect(node, user, device, explicit, at_once)

    @rule(pick=picks, crash=st.sampled_from((False, False, False, True)))
    def disconnect_or_crash(self, pick: int, crash: bool) -> None:
        if crash:
            self.world.crash(pick % 2)
        elif found := self.some_peer(pick):
            found[0].disconnect(found[1])

    @rule(node=nodes, user=users)
    def connect_and_knock(self, node: int, user: int) -> None:
        """Its topics are known, its positions are not yet."""
        peer = self.world.connect(node, user, at_once=False)
        opening = self.world.nodes[node].jobs[-1]
        opening.step()
        opening.step()
        for topic in list(peer.session.places):
            self._knock(peer, topic)

    @rule(pick=picks, topic=topics)
    def knock(self, pick: int, topic: int) -> None:
        """To ask for being live is right whenever no page is on its way: the feed decides."""
        if found := self.some_peer(pick):
            self._knock(found[1], topic)

    @staticmethod
    def _knock(peer: Peer, topic: int) -> None:
        place = peer.session.places.get(topic)
        if place is not None and place in peer.session.behind and not place.live and place.feed.admit(peer.session):
            peer.session.behind.remove(place)

    @rule(user=users, topic=topics, noticed=st.tuples(st.booleans(), st.booleans()))
    def join_or_leave(self, user: int, topic: int, noticed: tuple[bool, bool]) -> None:
        store = self.world.store
        log = store.logs[topic]
        ended = None
        if user in log.members:
            ended = store.leave(log, user)
        else:
            store.join(log, user, "u1")
        for node, hears in zip(self.world.nodes, noticed, strict=True):
            if hears:
                node.hub.receive(Changed(user, ended))

    # Peers

    @rule(pick=picks, count=st.integers(1, 12), payload=st.sampled_from(("none", "last", "last", "older", "not ours")))
    def read_and_pong(self, pick: int, count: int, payload: str) -> None:
        if found := self.some_peer(pick):
            node, peer = found
            peer.take(count)
            pings = peer.pings or [b""]
            if payload != "none":
                sent = {"last": pings[-1], "older": pings[len(pings) // 2], "not ours": b"12345678"}[payload]
                self.happened["unmatched_pong"] += sent in peer.answered or sent not in peer.pings
                node.pong(peer, sent)

    @rule(pick=picks, topic=topics, seq=picks)
    def ack(self, pick: int, topic: int, seq: int) -> None:
        if found := self.some_peer(pick):
            found[0].ack(found[1], topic, seq)

    # The node

    @rule(node=nodes, steps=st.lists(picks, min_size=1, max_size=6))
    def work(self, node: int, steps: list[int]) -> None:
        for step in steps:
            self.world.nodes[node].step(step)

    @rule(node=nodes)
    def calm(self, node: int) -> None:
        """For a while all goes well."""
        here = self.world.nodes[node]
        for _ in range(3):
            for step in range(12):
                here.step(step)
            here.tick()
            for peer in list(here.peers):
                peer.take(1000)
                for payload in peer.pings[-1:]:
                    here.pong(peer, payload)
        here.flush()

    @rule(node=nodes, step=picks, again=st.booleans())
    def fail_a_read(self, node: int, step: int, again: bool) -> None:
        self.world.nodes[node].step(step, Unavailable())
        if again:
            self.world.fire_timer()

    @rule(node=nodes, flush=st.booleans())
    def tick(self, node: int, flush: bool) -> None:
        self.world.nodes[node].tick()
        if flush:
            self.world.nodes[node].flush()

    @rule(node=nodes)
    def sweep(self, node: int) -> None:
        if not self.world.nodes[node].jobs:
            self.world.nodes[node].sweep()

    @invariant()
    def all_is_well(self) -> None:
        self.world.check()


@pytest.mark.limit(600)
def test_every_reader_gets_all_once_in_order_whatever_happens() -> None:
    DeliveryMachine.happened.clear()
    run_state_machine_as_test(DeliveryMachine, settings=CHECKS)
    rare = {"chunks", "fell_behind", "gap_expired", "page_cut", "swept", "tail_used", "unmatched_pong"}
    assert set() == {what for what in rare if not DeliveryMachine.happened[what]}, DeliveryMachine.happened


def test_a_page_that_comes_late_is_not_written_twice() -> None:
    """A reader falls behind elsewhere while a page is read for it, and its pong sends a second worker the same way."""
    world = World(Counter())
    with small_sizes(), world.running():
        node = world.nodes[0]
        world.publish(1, 1)
        world.publish(2, 3)
        peer = world.connect(0, 1)
        for _ in range(2):
            node.step(0)
        peer.take(9)
        late = node.jobs.pop()  # topic 1 is live; the page of topic 2 is on its way
        node.hub.receive(world.publish(1, 6))  # more than fits
        for _ in range(4):
            node.step(0)
            peer.take(9)
            node.tick()
            node.pong(peer, peer.pings[-1])
        node.jobs.append(late)
        world.settle()


def test_a_reader_behind_that_learns_of_a_head_has_its_node_read_up_to_it() -> None:
    """The notice of message 2 is lost, and the page of one that is behind tells of it: the sweep will not again."""
    world = World(Counter())
    with small_sizes(), world.running():
        first = world.connect(0, 1)
        world.nodes[0].hub.receive(world.publish(1, 1))
        world.connect(0, 2)
        world.publish(1, 1)
        world.settle()
        assert 2 == first.session.places[1].at


# --- planted bugs -----------------------------------------------------------------------------------------------------


def admit_before_knowing_the_head(feed: Feed[Session], reader: Session) -> bool:
    feed.behind[reader].knows_head = True
    return ADMIT(feed, reader)


def deliver_any_range(feed: Feed[Session], first: int, last: int, framed: bool) -> Step:
    step = OFFER(feed, first, last, framed)
    return Step.DELIVER if step is Step.READ and framed else step


def deliver_what_overlaps(feed: Feed[Session], first: int, last: int, framed: bool) -> Step:
    known = feed.position is not None and first <= feed.position
    return Step.DELIVER if known and framed else OFFER(feed, first, last, framed)


def drop_without_position(feed: Feed[Session], reader: Session, at: int) -> None:
    DROP_BEHIND(feed, reader, feed.live[reader].position)


def missing_without_contact(feed: Feed[Session], place: Place[Session]) -> list[tuple[int, bytes]] | None:
    return [(seq, frame) for seq, frame in feed._tail or () if seq > place.position] or None


def moves_downwards(place: Place[Session], seq: int) -> bool:
    place.confirmed = seq
    return True


def pong_of_any_payload(ledger: Ledger[Session], payload: bytes) -> Any:
    return PONG(ledger, ledger._payload or payload)


def pong_of_this_moment(ledger: Ledger[Session], payload: bytes) -> Any:
    ledger._record = [(place, place.at) for place, _ in ledger._record]
    return PONG(ledger, payload)


def fill_without_gaps(rows: list[Message], after: int, head: int, cut: bool, seen: int) -> Page:
    page = FILL(rows, after, head, cut, seen)
    return Page(tuple(rows), page.last, page.head)


def fill_beyond_a_cut(rows: list[Message], after: int, head: int, cut: bool, seen: int) -> Page:
    return FILL(rows, after, head, False, seen)


def between_everything(entries: Any, after: int, until: int) -> list[Any]:
    return list(entries)


def start_at_joining(place: Place[Session], cursor: int) -> None:
    place.position = place.confirmed = place.joined


def sweep_nothing(roster: Any, feed: Feed[Session], known: int, head: int | None) -> None:
    """Lost notices stay lost."""


ADMIT, OFFER, DROP_BEHIND, PONG = Feed.admit, Feed.offer, Feed.drop_behind, Ledger.pong
FILL = messaging.delivery.fill
PLANTED: list[tuple[Any, str, Callable[..., Any]]] = [
    (Feed, "admit", admit_before_knowing_the_head),
    (Feed, "offer", deliver_any_range),
    (Feed, "offer", deliver_what_overlaps),
    (Feed, "drop_behind", drop_without_position),
    (Feed, "missing", missing_without_contact),
    (Place, "start", start_at_joining),
    (Ledger, "_moves", staticmethod(moves_downwards)),
    (Ledger, "pong", pong_of_any_payload),
    (Ledger, "pong", pong_of_this_moment),
    (messaging.delivery, "fill", fill_without_gaps),
    (messaging.delivery, "fill", fill_beyond_a_cut),
    (ws_server.feeds.catchup, "between", between_everything),
    (ws_server.feeds.membership_sync.MembershipSync, "_compare_head", sweep_nothing),
]


@pytest.mark.parametrize(("where", "name", "bug"), PLANTED, ids=lambda value: getattr(value, "__name__", None) or "")
def test_the_machine_finds_a_planted_bug(where: Any, name: str, bug: Callable[..., Any]) -> None:
    with patch.object(where, name, bug), pytest.raises(AssertionError):
        run_state_machine_as_test(DeliveryMachine, settings=HUNT)
