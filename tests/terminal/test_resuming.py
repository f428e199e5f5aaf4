"""The client's decisions: pure, so told by their rules alone."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.datastructures import Headers

from api.asyncapi import document
from conftest import ROOT
from recado.client.connection import retry_after
from recado.client.pending_requests import PendingRequests
from recado.client.receive_buffer import ReceiveBuffer
from recado.client.received import Gap, Invited, Message, Removed, history_of, message_of, thing_of, topics_of
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


Thing = Message | Gap | Invited | Removed


def vectors(name: str) -> Any:
    """What both clients decide, in Python and in JavaScript."""
    return json.loads((ROOT / "tests" / "vectors" / f"{name}.json").read_text())


RECONNECTING = vectors("reconnecting")


def message(seq: int, topic: str = "t", later: float = 0.0, epoch: str = "e") -> Message:
    return Message(topic, seq, "ana", "x", START + timedelta(seconds=seq + later), epoch)


# --- when to come back -----------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_pause_lies_within_a_bound_that_doubles_up_to_30_seconds(attempt: int, chance: float) -> None:
    bound = min(30.0, 0.5 * 2 ** min(attempt, 10))

    assert 0 <= delay(attempt, chance) <= bound


@pytest.mark.parametrize(("attempt", "chance", "milliseconds"), RECONNECTING["delays"])
def test_pauses_are_those_of_the_browsers_client(attempt: int, chance: float, milliseconds: int) -> None:
    assert delay(attempt, chance) == milliseconds / 1000


# --- whether to come back --------------------------------------------------------------------------


def cases_of(by_next: dict[str, list[int]]) -> list[tuple[int, Next]]:
    return [(code, Next[name.upper()]) for name, codes in by_next.items() for code in codes]


@pytest.mark.parametrize(("code", "then"), cases_of(RECONNECTING["close_codes"]))
def test_a_close_code_says_whether_to_come_back(code: int, then: Next) -> None:
    assert after_close(code) is then


def test_the_servers_close_codes_are_among_them_and_mean_what_it_says() -> None:
    described = document()["channels"]["session"]
    known = dict(cases_of(RECONNECTING["close_codes"]))

    for code, text in described["x-close-codes"].items():
        assert "stay away" not in text or known[int(code)] is Next.STOP
        assert "come back" not in text or known[int(code)] in (Next.RETURN, Next.RENEW)
        assert int(code) in known


@pytest.mark.parametrize(("status", "then"), [*cases_of(RECONNECTING["http_statuses"]), (301, Next.RETURN)])
def test_a_refused_handshake_is_judged_by_its_status(status: int, then: Next) -> None:
    assert after_refusal(status) is then


@given(st.integers(4000, 4999))
def test_the_range_of_a_private_code_decides(code: int) -> None:
    assert (after_close(code) is Next.STOP) == (code >= 4500)


def test_the_error_has_a_type_and_says_what_to_do() -> None:
    assert isinstance(error_of(4501, ""), TokenRefused)
    assert isinstance(error_of(401, ""), TokenRefused)
    away = error_of(4529, "too many connections")
    assert isinstance(away, SentAway)
    assert away.close_code == 4529
    assert "too many connections" in str(away)


# --- nothing twice ---------------------------------------------------------------------------------


def receive(positions: Positions, *things: Thing) -> list[Thing]:
    given = []
    for thing in things:
        if isinstance(thing, Message | Gap):
            positions.arrive(thing)
        fresh = positions.fresh(thing)
        if fresh is not None:
            positions.receive(fresh)
            given.append(fresh)
    return given


def entry_of(given: Mapping[str, Any]) -> Message | Gap:
    topic, epoch = given.get("topic", "t"), given.get("epoch", "e")
    if "seq" in given:
        return message(given["seq"], topic, epoch=epoch)
    return Gap(topic, given["from"], given["to"], "expired", epoch)


@pytest.mark.parametrize(
    "steps", [pytest.param(steps, id=name) for name, steps in vectors("positions")["cases"].items()]
)
async def test_what_is_given_and_acknowledged(steps: list[dict[str, Any]]) -> None:
    end = Invited("end", "")
    buffer = ReceiveBuffer(PendingRequests(), 100)
    for step in steps:
        match step:
            case {"sent": sent, "gives": gives}:
                await buffer.offer(entry_of(sent))
                await buffer.offer(end)
                for expected in ([] if gives is None else [entry_of(gives)]) + [end]:
                    assert await buffer.take() == expected
            case {"finished": entry}:
                buffer.ack(entry_of(entry))
            case {"acks": acks}:
                sent_acks = buffer.take_acks().items()
                assert [{"topic": topic, "epoch": epoch, "seq": seq} for topic, (epoch, seq) in sent_acks] == acks
            case {"reconnected": True}:
                buffer.reconnected()
            case {"removed": topic}:
                await buffer.offer(Removed(topic))
                assert await buffer.take() == Removed(topic)
            case _:
                pytest.fail(f"no step: {step}")


@given(st.lists(st.integers(1, 20), max_size=60))
def test_whatever_is_redelivered_each_seq_is_given_once_and_they_rise(starts: list[int]) -> None:
    """Each connection begins somewhere at or before the position and goes up by one, as the protocol says."""
    positions = Positions()
    given: list[Any] = []
    for start in starts:
        reached = len(given)
        for seq in range(min(start, reached + 1), min(start, reached + 1) + 5):
            given += receive(positions, message(seq))

    assert [entry.seq for entry in given] == list(range(1, len(given) + 1))


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


def test_times_are_instants_however_they_are_written() -> None:
    def instant(text: str) -> datetime:
        return message_of("t", {"seq": 1, "user_source": "ana", "sent_at": text}).sent_at

    instants = [{instant(text) for text in same} for same in vectors("sent_at")["instants"]]

    assert all(len(same) == 1 for same in instants)
    assert all(min(one) < min(other) for one, other in pairwise(instants))


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
