"""The client's decisions: pure, so told by their rules alone."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.datastructures import Headers

from recado.client.connection import retry_after
from recado.client.received import Gap, Invited, Message, Removed, history_of, thing_of, topics_of
from recado.client.resuming import (
    Next,
    Positions,
    SentAway,
    TokenRefused,
    after_close,
    after_refusal,
    delay,
    error_of,
)

START = datetime(2026, 11, 22, tzinfo=UTC)


def message(seq: int, topic: str = "t", later: float = 0.0, epoch: str = "e") -> Message:
    return Message(topic, seq, "ana", "x", START + timedelta(seconds=seq + later), epoch)


# --- when to come back -----------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_pause_lies_within_a_bound_that_doubles_up_to_30_seconds(attempt: int, chance: float) -> None:
    bound = min(30.0, 0.5 * 2 ** min(attempt, 10))

    assert 0 <= delay(attempt, chance) <= bound


def test_the_whole_bound_is_used() -> None:
    assert [delay(attempt, 1.0) for attempt in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert delay(5, 0.0) == 0


# --- whether to come back --------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001, 1005, 1006, 1011, 1012, 1013, 4000, 4008, 4012, 4029, 4499])
def test_these_close_codes_mean_come_back(code: int) -> None:
    assert after_close(code) is Next.RETURN


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1008, 4500, 4501, 4503, 4529, 4999])
def test_these_close_codes_mean_stay_away(code: int) -> None:
    assert after_close(code) is Next.STOP


def test_an_expired_token_wants_a_new_one_and_a_large_frame_wants_to_be_dropped() -> None:
    assert after_close(4001) is Next.RENEW
    assert after_close(1009) is Next.SHRINK


@given(st.integers(4000, 4999))
def test_the_range_of_a_private_code_decides(code: int) -> None:
    assert (after_close(code) is Next.STOP) == (code >= 4500)


@pytest.mark.parametrize(
    ("status", "then"),
    [
        (401, Next.RENEW),
        (403, Next.STOP),
        (400, Next.STOP),
        (404, Next.STOP),
        (429, Next.RETURN),
        (500, Next.RETURN),
        (502, Next.RETURN),
        (503, Next.RETURN),
        (301, Next.RETURN),
    ],
)
def test_a_refused_handshake_is_judged_by_its_status(status: int, then: Next) -> None:
    assert after_refusal(status) is then


def test_the_error_has_a_type_and_says_what_to_do() -> None:
    assert isinstance(error_of(4501, ""), TokenRefused)
    assert isinstance(error_of(401, ""), TokenRefused)
    away = error_of(4529, "too many connections")
    assert isinstance(away, SentAway)
    assert away.close_code == 4529
    assert "too many connections" in str(away)


# --- nothing twice ---------------------------------------------------------------------------------


def receive(positions: Positions, *things: object) -> list[object]:
    given = []
    for thing in things:
        if isinstance(thing, Message | Gap):
            positions.arrive(thing)
        fresh = positions.fresh(thing)  # type: ignore[arg-type]
        if fresh is not None:
            positions.receive(fresh)
            given.append(fresh)
    return given


def test_what_comes_again_is_dropped_per_topic() -> None:
    positions = Positions()

    given = receive(positions, message(1), message(2), message(1), message(2), message(1, "u"), message(3))

    assert given == [message(1), message(2), message(1, "u"), message(3)]


def test_a_gap_is_given_once_and_only_what_is_new_of_it() -> None:
    positions = Positions()

    given = receive(
        positions,
        message(3),
        Gap("t", 2, 5, "expired", "e"),
        Gap("t", 2, 5, "expired", "e"),
        Gap("t", 6, 6, "seen", "e"),
        message(7),
        message(6),
    )

    assert given == [message(3), Gap("t", 4, 5, "expired", "e"), Gap("t", 6, 6, "seen", "e"), message(7)]


def test_a_topic_made_again_under_its_name_is_another_log() -> None:
    """By its epoch alone, whatever the clock says; a restored database too."""
    positions = Positions()
    receive(positions, message(1), message(2), message(3))

    again = [message(1, epoch="again", later=-60), message(2, epoch="again", later=-60)]

    assert receive(positions, again[0], *again) == again
    assert receive(positions, Gap("t", 1, 4, "expired", "third")) == [Gap("t", 1, 4, "expired", "third")]


def test_another_log_is_not_acknowledged_because_the_old_one_was() -> None:
    positions = Positions()
    receive(positions, message(1), message(2))
    assert positions.ack(message(2))
    again = message(1, epoch="again")
    receive(positions, again)

    assert not positions.is_acked(again)
    assert not positions.ack(message(2)), "what the application finishes of the old log is of no use any more"
    assert positions.ack(again)
    assert positions.is_acked(again)


def test_after_a_removal_the_topic_begins_anew() -> None:
    positions = Positions()

    given = receive(positions, message(1), Removed("t"), message(1), Invited("t", "ana"))

    assert given == [message(1), Removed("t"), message(1), Invited("t", "ana")]


def test_what_was_acknowledged_is_known_when_it_comes_again() -> None:
    positions = Positions()
    receive(positions, message(1), message(2), message(3))
    positions.ack(message(2))
    positions.ack(message(1))

    assert [positions.is_acked(message(seq)) for seq in (1, 2, 3)] == [True, True, False]


def test_no_connection_is_told_of_what_it_was_not_sent() -> None:
    """The server refuses that. What the application finishes late is told once it has come again."""
    positions = Positions()
    receive(positions, message(1), message(2))
    positions.reconnected()

    assert not positions.ack(message(2))
    assert receive(positions, message(1)) == []
    assert positions.ack(message(1)) and not positions.ack(message(2))
    assert receive(positions, message(2)) == []
    assert positions.is_acked(message(2)) and positions.ack(message(2))


@given(st.lists(st.integers(1, 20), max_size=60))
def test_whatever_is_redelivered_each_seq_is_given_once_and_they_rise(starts: list[int]) -> None:
    """Each connection begins somewhere at or before the position and goes up by one, as the protocol says."""
    positions, given = Positions(), []
    for start in starts:
        reached = len(given)
        for seq in range(min(start, reached + 1), min(start, reached + 1) + 5):
            given += receive(positions, message(seq))

    assert [entry.seq for entry in given] == list(range(1, len(given) + 1))  # type: ignore[attr-defined]


# --- frames ----------------------------------------------------------------------------------------


def test_frames_become_things() -> None:
    frame = {
        "action": "message", "topic_name": "t", "content": {"a": 1}, "user_source": "ana", "seq": 7,
        "sent_at": "2026-11-22T00:00:07Z",
    }  # fmt: skip

    assert thing_of(frame, "e") == Message("t", 7, "ana", {"a": 1}, START + timedelta(seconds=7), "e")
    assert thing_of({"action": "gap", "topic_name": "t", "from": 2, "to": 3, "reason": "seen"}) == Gap(
        "t", 2, 3, "seen"
    )
    assert thing_of({"action": "invited", "topic_name": "t", "user_source": "ana"}) == Invited("t", "ana")
    assert thing_of({"action": "removed", "topic_name": "t"}) == Removed("t")
    assert thing_of({"action": "something newer", "topic_name": "t"}) is None


def test_answers_become_histories_and_topics() -> None:
    message = {"content": None, "user_source": "ana", "seq": 1, "sent_at": "2026-11-22T00:00:00.5+00:00"}
    history = history_of({"topic_name": "t", "messages": [message], "more": True, "epoch": "e"})
    state = {"topic_name": "t", "kind": "public", "role": "owner", "last_seq": 3, "cursor": 1, "pending": 2}

    [first] = history.messages
    assert (first.content, first.topic, first.epoch, history.more) == (None, "t", "e", True)
    assert topics_of({"topics": [state]})[0].pending == 2


@pytest.mark.parametrize(
    ("values", "seconds"),
    [([], 0), (["7"], 7), (["7", "9"], 7), (["9" * 400], 60), (["²"], 0), (["soon"], 0), (["-1"], 0)],
)
def test_no_retry_after_is_too_odd_to_come_back(values: list[str], seconds: float) -> None:
    assert retry_after(Headers([("Retry-After", each) for each in values])) == seconds
