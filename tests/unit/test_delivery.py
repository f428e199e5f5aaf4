"""The delivery rule, piece by piece. `test_delivery_machine` has the pieces play together."""

from datetime import UTC, datetime
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging import delivery
from messaging.delivery import CHUNK_MAX, CHUNK_MIN, Feed, Ledger, Place, Step, between, fill, gaps, next_chunk
from messaging.model import Content, Entry, Gap, Message, Page, Topic

TOPIC = Topic(1, "noticias", "public", "omar")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def message(seq: int) -> Message:
    return Message(seq, "omar", Content("1"), NOW)


def frame(seq: int) -> tuple[int, bytes]:
    return seq, b"%d" % seq


def a_place(feed: Feed[str], reader: str, position: int = 0) -> Place[str]:
    """A reader that is behind, at ``position``, and knows the head."""
    place = Place(feed, 7, 0)
    place.start(position)
    feed.attach(reader, place)
    feed.learn(place, position)
    return place


def a_feed(*live: str, position: int = 0) -> Feed[str]:
    feed: Feed[str] = Feed(TOPIC)
    for reader in live:
        a_place(feed, reader, position)
        assert feed.admit(reader)
    return feed


# --- ranges -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "last", "framed", "step"),
    [
        (6, 6, True, Step.DELIVER),
        (6, 9, True, Step.DELIVER),
        (6, 6, False, Step.READ),
        (7, 7, True, Step.READ),
        (5, 6, True, Step.READ),  # begins with what is known
        (5, 5, True, Step.IGNORE),
        (1, 4, False, Step.IGNORE),
    ],
)
def test_only_a_framed_range_that_continues_the_position_is_delivered(
    first: int, last: int, framed: bool, step: Step
) -> None:
    feed = a_feed("ana", position=5)
    assert step == feed.offer(first, last, framed)
    assert max(5, last) == feed.heard


def test_without_live_readers_a_range_is_only_heard_of() -> None:
    feed = a_feed()
    assert Step.IGNORE == feed.offer(1, 3, True)
    assert 3 == feed.heard
    assert not feed.wants_page


def test_a_node_reads_while_its_live_readers_are_below_what_it_heard_of() -> None:
    feed = a_feed("ana", position=5)
    assert not feed.wants_page
    feed.hear(4)
    assert not feed.wants_page
    feed.hear(6)
    assert feed.wants_page


def test_what_was_delivered_was_heard_of() -> None:
    feed = a_feed("ana")
    feed.advance([frame(1), frame(2)], 2)
    assert (2, 2) == (feed.position, feed.heard)


# --- live and behind --------------------------------------------------------------------------------------------------


def test_nobody_goes_live_before_the_head_was_read() -> None:
    feed: Feed[str] = Feed(TOPIC)
    place = Place(feed, 7, 0)
    feed.attach("ana", place)
    assert not feed.admit("ana")
    feed.learn(place, 0)
    assert feed.admit("ana")
    assert place.live
    assert {"ana": place} == feed.live
    assert {} == feed.behind


def test_who_is_to_be_told_which_log_this_is_is_known_while_it_is_live() -> None:
    feed = a_feed("ana", position=5)
    assert not feed.untold
    a_place(feed, "eva", 5).untold = True
    assert not feed.untold
    feed.admit("eva")
    assert {"eva"} == feed.untold
    feed.drop_behind("ana", 5)
    feed.drop_behind("eva", 5)
    assert set() == feed.untold


def test_the_first_live_reader_sets_the_position() -> None:
    assert 5 == a_feed("ana", position=5).position


def test_the_first_live_reader_may_not_be_below_what_was_heard_of() -> None:
    feed = a_feed()
    a_place(feed, "ana", 4)
    feed.hear(5)
    assert not feed.admit("ana")


@pytest.mark.parametrize(("position", "goes_live"), [(4, False), (5, True), (6, False)])
def test_others_go_live_at_the_nodes_position_and_nowhere_else(position: int, goes_live: bool) -> None:
    feed = a_feed("ana", position=5)
    a_place(feed, "eva", position)
    assert goes_live == feed.admit("eva")


def test_a_live_reader_is_at_the_nodes_position() -> None:
    feed = a_feed("ana")
    feed.advance([frame(1)], 1)
    assert 1 == feed.live["ana"].at


def test_who_falls_behind_is_where_it_was_told_to_be() -> None:
    feed = a_feed("ana", "eva")
    feed.advance([frame(1)], 1)
    place = feed.live["ana"]
    feed.drop_behind("ana", 1)
    feed.advance([frame(2)], 2)
    assert (1, False) == (place.at, place.live)
    assert {"ana": place} == feed.behind
    assert 2 == feed.position


def test_without_live_readers_there_is_no_position() -> None:
    feed = a_feed("ana", "eva", position=3)
    feed.drop_behind("ana", 3)
    feed.detach("eva")
    assert feed.position is None
    assert 3 == feed.heard


def test_to_detach_ends_both_states() -> None:
    feed = a_feed("ana")
    a_place(feed, "eva", 9)
    feed.detach("ana")
    feed.detach("eva")
    assert ({}, {}) == (feed.live, feed.behind)


# --- the tail ---------------------------------------------------------------------------------------------------------


def test_the_newest_frames_bring_a_reader_to_the_node() -> None:
    feed = a_feed("ana", position=3)
    place = a_place(feed, "eva", 3)
    feed.advance([frame(4), frame(6)], 6)  # 5 is in the gap that reaches 6
    feed.advance([frame(7)], 7)
    assert [frame(4), frame(6), frame(7)] == feed.missing(place)
    place.position = 6
    assert [frame(7)] == feed.missing(place)


@pytest.mark.parametrize("position", [2, 5, 7, 8])
def test_frames_that_do_not_continue_a_position_bring_nobody_anywhere(position: int) -> None:
    """Before the tail; inside a gap of it; at its end; beyond."""
    feed = a_feed("ana", position=3)
    place = a_place(feed, "eva", 3)
    feed.advance([frame(4), frame(6), frame(7)], 7)
    place.position = position
    assert feed.missing(place) is None


def test_the_tail_is_kept_only_while_somebody_is_behind() -> None:
    feed = a_feed("ana")
    feed.advance([frame(1)], 1)
    place = a_place(feed, "eva", 0)
    assert feed.missing(place) is None
    feed.advance([frame(2)], 2)
    place.position = 2
    assert feed.admit("eva")
    feed.drop_behind("eva", 1)
    assert feed.missing(place) is None


def test_the_tail_is_bounded_and_says_from_where_it_continues() -> None:
    feed = a_feed("ana")
    place = a_place(feed, "eva", 0)
    with patch.object(delivery, "TAIL_BYTES", 3):
        for seq in range(1, 6):
            feed.advance([frame(seq)], seq)
    assert feed.missing(place) is None
    place.position = 2
    assert [frame(3), frame(4), frame(5)] == feed.missing(place)


def test_a_frame_that_is_larger_than_the_tail_leaves_it_empty_and_the_next_one_continues() -> None:
    feed = a_feed("ana")
    place = a_place(feed, "eva", 0)
    with patch.object(delivery, "TAIL_BYTES", 3):
        feed.advance([(1, b"large")], 1)
        assert feed.missing(place) is None
        feed.advance([frame(2)], 2)
    place.position = 1
    assert [frame(2)] == feed.missing(place)


# --- places -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("joined", "cursor", "start"), [(0, 0, 0), (4, 0, 4), (4, 6, 6)])
def test_a_reader_begins_at_its_cursor_or_at_joining(joined: int, cursor: int, start: int) -> None:
    place = Place(Feed[str](TOPIC), 7, joined)
    assert joined == place.at
    place.start(cursor)
    assert (start, start) == (place.position, place.confirmed)


# --- the ledger -------------------------------------------------------------------------------------------------------


def a_ledger(explicit: bool = False) -> tuple[Feed[str], Place[str], Ledger[str]]:
    """A connection that was sent message 1."""
    feed = a_feed("ana")
    place, ledger = feed.live["ana"], Ledger[str](explicit)
    feed.advance([frame(1)], 1)
    ledger.sent.add(place)
    return feed, place, ledger


def test_a_pong_confirms_what_was_sent_before_its_ping_and_nothing_later() -> None:
    feed, place, ledger = a_ledger()
    ledger.ping(b"one")
    feed.advance([frame(2)], 2)
    ledger.sent.add(place)
    assert [(place, 1)] == ledger.pong(b"one")
    assert 1 == place.confirmed


@pytest.mark.parametrize("payload", [b"", b"other", b"one "])
def test_a_pong_that_answers_no_ping_of_ours_confirms_nothing(payload: bytes) -> None:
    _, place, ledger = a_ledger()
    assert ledger.pong(payload) is None
    ledger.ping(b"one")
    assert ledger.pong(payload) is None
    assert (0, True) == (place.confirmed, ledger.outstanding)


def test_a_pong_counts_once() -> None:
    _, place, ledger = a_ledger()
    ledger.ping(b"one")
    assert [(place, 1)] == ledger.pong(b"one")
    assert not ledger.outstanding
    assert ledger.pong(b"one") is None


def test_what_was_not_written_to_is_not_in_the_record() -> None:
    _, _, ledger = a_ledger()
    ledger.ping(b"one")
    ledger.pong(b"one")
    ledger.ping(b"two")
    assert [] == ledger.pong(b"two")


def test_an_ack_moves_a_cursor_and_only_upwards() -> None:
    _, place, ledger = a_ledger(explicit=True)
    assert ledger.ack(place, 2)
    assert not ledger.ack(place, 2)
    assert not ledger.ack(place, 1)
    assert 2 == place.confirmed


def test_where_acks_move_cursors_pongs_do_not() -> None:
    _, place, ledger = a_ledger(explicit=True)
    ledger.ping(b"one")
    assert [] == ledger.pong(b"one")
    assert 0 == place.confirmed


def test_from_the_first_ack_on_even_the_pong_under_way_moves_nothing() -> None:
    feed, place, ledger = a_ledger()
    feed.advance([frame(2)], 2)
    ledger.ping(b"one")
    assert ledger.ack(place, 1)
    assert [] == ledger.pong(b"one")
    assert 1 == place.confirmed


def test_a_pong_that_comes_behind_an_ack_elsewhere_never_lowers_a_cursor() -> None:
    _, place, ledger = a_ledger()
    ledger.ping(b"one")
    place.confirmed = 5
    assert [] == ledger.pong(b"one")
    assert 5 == place.confirmed


# --- chunks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "seconds", "following"),
    [
        (CHUNK_MIN, 0.1, 2 * CHUNK_MIN),
        (CHUNK_MAX, 0.1, CHUNK_MAX),
        (4 * CHUNK_MIN, 5.1, 4 * CHUNK_MIN),
        (4 * CHUNK_MIN, 10.1, 2 * CHUNK_MIN),
        (CHUNK_MIN, 29.0, CHUNK_MIN),
    ],
)
def test_chunks_grow_for_the_quick_and_shrink_for_the_slow(size: int, seconds: float, following: int) -> None:
    assert following == next_chunk(size, seconds)


# --- pages ------------------------------------------------------------------------------------------------------------


def test_what_is_missing_before_between_and_after_the_rows_is_a_gap() -> None:
    page = fill([message(3), message(6)], 1, 8, cut=False, seen=0)
    gone = [Gap(2, 2, "expired"), Gap(4, 5, "expired"), Gap(7, 8, "expired")]
    assert Page((gone[0], message(3), gone[1], message(6), gone[2]), 8, 8) == page


def test_what_follows_a_page_that_was_cut_is_not_missing() -> None:
    assert Page((message(2),), 2, 9) == fill([message(2)], 1, 9, cut=True, seen=0)


def test_a_page_without_rows_is_one_gap_or_nothing() -> None:
    assert Page((Gap(3, 5, "expired"),), 5, 5) == fill([], 2, 5, cut=False, seen=0)
    assert Page((), 5, 5) == fill([], 5, 5, cut=False, seen=0)


def test_a_head_below_the_position_moves_it_nowhere() -> None:
    assert Page((), 5, 3) == fill([], 5, 3, cut=False, seen=0)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (0, [Gap(3, 6, "expired")]),
        (4, [Gap(3, 4, "seen"), Gap(5, 6, "expired")]),
        (6, [Gap(3, 6, "seen")]),
        (9, [Gap(3, 6, "seen")]),
    ],
)
def test_in_an_inbox_what_a_cursor_passed_was_seen(seen: int, expected: list[Gap]) -> None:
    assert expected == gaps(3, 6, seen)


def test_an_empty_range_is_no_gap() -> None:
    assert [] == gaps(4, 3, 9)


def covered(entries: list[Entry] | tuple[Entry, ...]) -> list[int]:
    """Every seq of these entries, in their order."""
    ranges = [(e.seq, e.seq) if isinstance(e, Message) else (e.first, e.last) for e in entries]
    return [seq for first, last in ranges for seq in range(first, last + 1)]


@given(st.sets(st.integers(1, 30)), st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
def test_a_page_has_every_seq_beyond_a_position_once_and_in_order(
    left: set[int], after: int, head: int, seen: int
) -> None:
    rows = [message(seq) for seq in sorted(left) if after < seq <= head]
    page = fill(rows, after, head, False, seen)
    assert list(range(after + 1, head + 1)) == covered(page.entries)
    assert [row.seq for row in rows] == [entry.seq for entry in page.entries if isinstance(entry, Message)]
    assert all(entry.last <= seen for entry in page.entries if isinstance(entry, Gap) and entry.reason == "seen")


@given(st.sets(st.integers(1, 20)), st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
def test_a_part_of_a_page_has_every_seq_of_its_range(left: set[int], after: int, until: int, seen: int) -> None:
    page = fill([message(seq) for seq in sorted(left)], 0, 20, False, seen)
    assert list(range(after + 1, until + 1)) == covered(between(page.entries, after, until))
