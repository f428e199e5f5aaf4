"""What an answer means: one table, and its edges."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from bridges.outlet import Gone, Undeliverable, Unreachable
from bridges.webhooks.answers import (
    SHOWN,
    SUSPECT_FOR,
    Answer,
    PoisonDetector,
    check_success,
    classify,
    excerpt,
    retry_after,
)
from messaging.bridge.schedule import Schedule

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_a_success_is_a_delivery(status: int) -> None:
    classify(Answer(status), NOW)


@pytest.mark.parametrize(
    ("meaning", "statuses"),
    [
        (Gone, [410]),
        (Undeliverable, [400, 402, 404, 405, 406, 409, 411, 413, 415, 418, 422, 451, 499]),
        (Unreachable, [401, 403, 407, 408, 425, 429]),
        (Unreachable, [300, 301, 302, 303, 304, 307, 308]),
        (Unreachable, [500, 501, 502, 503, 504, 507, 520, 599]),
        (Unreachable, [101, 199, 600, 999]),
    ],
)
def test_the_table(meaning: type[Exception], statuses: list[int]) -> None:
    for status in statuses:
        with pytest.raises(meaning, match=f"it answered {status}"):
            classify(Answer(status), NOW)


def test_a_rejection_tells_the_operator_what_to_look_at() -> None:
    with pytest.raises(Unreachable, match="secret"):
        classify(Answer(401, {}, b"bad signature"), NOW)
    with pytest.raises(Unreachable, match="not followed"):
        classify(Answer(302), NOW)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("30", 30.0),
        (" 7 ", 7.0),
        ("0", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("²", None),
        ("9999999999", 9999999999.0),
        ("0" * 400 + "7", 7.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), None),
        ("Sun, 01 Mar 2026 12:01:00", 60.0),
        ("Sun, 99 Mar 2026 12:01:00 GMT", None),
        ("Sun, 01 Mar 99999999999 12:01:00 GMT", None),
        ("Sun, 01 Mar 2026 12:01:00 +99999999999999", None),
    ],
)
def test_how_long_the_other_side_asks_to_wait(header: str, seconds: float | None) -> None:
    """For no time at all is for no wish: else a platform that says 0 to everything would be asked without a pause."""
    assert seconds == retry_after(Answer(429, {"Retry-After": header}), NOW)


@pytest.mark.parametrize("header", ["601", "9999999999", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_whoever_asks_to_wait_for_ever_is_asked_again_in_ten_minutes(header: str) -> None:
    asked = retry_after(Answer(503, {"Retry-After": header}), NOW)
    assert 600 == Schedule().pause(1, 0.5, asked)


@pytest.mark.parametrize("status", [401, 429, 503])
def test_the_wish_goes_to_the_lane(status: int) -> None:
    with pytest.raises(Unreachable) as caught:
        classify(Answer(status, {"Retry-After": "20"}), NOW)
    assert 20 == caught.value.retry_after


@pytest.mark.parametrize("body", [b'{"status":"failed"}', b'{"status": "failed", "at": 1}', b'{"status":"error"}'])
def test_a_success_that_says_that_it_failed_did(body: bytes) -> None:
    with pytest.raises(Undeliverable, match="200"):
        check_success(Answer(200, {}, body))


@pytest.mark.parametrize(
    "body",
    [
        b"success",
        b"",
        b'{"status":"ok"}',
        b'{"status":200,"message":"failed"}',
        b"[",
        b"<html>failed",
        b"[" * 9999,
        b'{"status":"\xff"}',
    ],
)
def test_any_other_body_of_a_success_is_fine(body: bytes) -> None:
    check_success(Answer(200, {}, body))


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"<html>\r\n  <h1>Bad\tGateway</h1>", "<html> <h1>Bad Gateway</h1>"),
        (b"a\0b\x1b[31mc", "a�b�[31mc"),
        (b"\xff\xfe", "��"),
        (b"x" * 9999, "x" * SHOWN + "…"),
    ],
)
def test_what_is_shown_of_an_answer_can_be_stored(body: bytes, shown: str) -> None:
    assert shown == excerpt(body)


# --- when it is the message -------------------------------------------------------------------------------------------


def noted(suspicion: PoisonDetector, *tries: tuple[str, Any], step: float = SUSPECT_FOR) -> list[bool]:
    return [suspicion.note(identity, answer, n * step) for n, (identity, answer) in enumerate(tries)]


DOWN, LIMIT, BUSY = Answer(500), Answer(429), Answer(503, {"Retry-After": "1"})


def test_five_failures_in_a_row_make_a_message_suspect() -> None:
    assert [False] * 4 + [True] * 2 == noted(PoisonDetector(), *[("m", DOWN)] * 6)


@pytest.mark.parametrize("between", [("m", None), ("m", LIMIT), ("m", BUSY), ("n", DOWN)])
def test_anything_else_in_between_begins_anew(between: tuple[str, Any]) -> None:
    assert not any(noted(PoisonDetector(), *[("m", DOWN)] * 4, between, *[("m", DOWN)] * 4))


def test_five_failures_at_once_may_be_a_platform_that_stumbles() -> None:
    assert not any(noted(PoisonDetector(), *[("m", DOWN)] * 9, step=SUSPECT_FOR / 9))
