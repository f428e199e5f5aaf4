"""How fast somebody may be: buckets, and the pace at which a session is read. The clock is the test's."""

import pytest

from messaging.limits.rate import FORGET_EACH, Bucket, Buckets
from ws_server.pace import CALM, TOO_FAST_SECONDS, Pace


def test_a_burst_is_taken_at_once_and_then_the_rate() -> None:
    bucket = Bucket(10, 20, 0.0)
    assert 20 == sum(bucket.takes(0.0) for _ in range(30))
    assert 10 == sum(bucket.takes(1.0) for _ in range(30))


def test_what_is_refused_costs_nothing() -> None:
    bucket = Bucket(10, 10, 0.0)
    for _ in range(1000):
        bucket.takes(0.0)
    assert bucket.takes(0.1)


def test_a_bucket_fills_no_higher_than_its_burst() -> None:
    bucket = Bucket(10, 20, 0.0)
    assert 20 == sum(bucket.takes(1e6) for _ in range(30))


def test_who_is_in_debt_waits_until_it_has_a_tenth_of_a_second_before_it() -> None:
    bucket = Bucket(100, 100, 0.0)
    bucket.take(150, 0.0)
    assert pytest.approx(0.6) == bucket.wait(0.0)
    assert 0.0 == bucket.wait(0.6)


def test_a_rate_of_0_is_no_limit() -> None:
    bucket = Bucket(0, 0, 0.0)
    bucket.take(1e9, 0.0)
    assert bucket.takes(0.0) and 0.0 == bucket.wait(0.0)


def test_buckets_that_are_full_again_need_no_memory() -> None:
    buckets = Buckets(10, 10)
    for key in range(10 * FORGET_EACH):
        buckets.of(key, float(key)).take(1, float(key))
    assert len(buckets) <= FORGET_EACH + 1


def test_there_are_so_many_buckets_and_whoever_comes_last_shares_one() -> None:
    buckets = Buckets(1, 2, most=100)
    for key in range(10 * FORGET_EACH):
        buckets.of(key, 0.0).take(1, 0.0)
    assert 101 == len(buckets)
    assert 1 == buckets.of(99, 0.0).left(0.0) and buckets.of(5000, 0.0).left(0.0) < -1000


def test_a_bucket_in_debt_is_kept() -> None:
    buckets = Buckets(1, 1)
    buckets.of(-1, 0.0).take(100, 0.0)
    for key in range(10 * FORGET_EACH):
        buckets.of(key, 10.0)
    assert buckets.of(-1, 10.0).wait(10.0)


# --- a session's pace -------------------------------------------------------------------------------------------------


def pace(rate: float) -> Pace:
    return Pace(Bucket(rate, 2 * rate, 0.0))


def test_a_session_within_its_rate_is_not_held_up() -> None:
    slow = pace(100)
    assert not any(slow.took(10, 0, second / 10) for second in range(1000))


def test_a_session_above_its_rate_is_held_up_until_it_is_back_at_it() -> None:
    fast = pace(100)
    assert not fast.took(199, 0, 0.0)
    assert pytest.approx(0.1) == fast.took(1, 0, 0.0)


def test_acks_and_pongs_cost_a_twentieth() -> None:
    cheap = pace(100)
    assert not cheap.took(3980, 3980, 0.0)
    assert cheap.took(40, 40, 0.0)


def test_no_more_frames_are_read_than_are_left_and_one_at_least() -> None:
    fast = pace(100)
    assert 200 == fast.frames_left(0.0)
    fast.took(195, 0, 0.0)
    assert 5 == fast.frames_left(0.0)
    fast.took(50, 0, 0.0)
    assert 1 == fast.frames_left(0.0)
    assert 10**6 < pace(0).frames_left(0.0)


def flood(fast: Pace, start: float, seconds: float) -> float:
    """Send as much as is read, for so long; when it was held up last."""
    now = start
    while now < start + seconds:
        now += fast.took(fast.frames_left(now) + 1, 0, now)
    return now


def test_who_goes_on_above_its_rate_for_30_s_is_too_fast() -> None:
    fast = pace(100)
    now = flood(fast, 0.0, TOO_FAST_SECONDS - 1)
    assert not fast.is_too_fast
    flood(fast, now, 2)
    assert fast.is_too_fast


def test_who_calms_down_is_not() -> None:
    fast = pace(100)
    now = flood(fast, 0.0, TOO_FAST_SECONDS - 1)
    flood(fast, now + 2 * CALM, TOO_FAST_SECONDS - 1)
    assert not fast.is_too_fast


def test_a_little_above_the_rate_is_read_slower_and_never_too_fast() -> None:
    """What its client notices is a pause now and then, by which it is at its rate."""
    fast, now, held = pace(100), 0.0, 0.0
    while now < 600:
        now += 0.1
        wait = fast.took(10, 0, now) if int(now * 10) % 20 else fast.took(11, 0, now)
        now, held = now + wait, held + wait
    assert 0 < held < 10 and not fast.is_too_fast
