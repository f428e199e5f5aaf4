"""How much those may ask who have shown nothing valid. The clock is the test's."""

from __future__ import annotations

from messaging.limits.strangers import BURST, REFUSED_WITHIN, Strangers, TooManyStrangers


def waits(strangers: Strangers, address: str, now: float) -> float | None:
    """Seconds until it is refused; None: it is answered."""
    try:
        strangers.check(address, now)
    except TooManyStrangers as exc:
        return round(exc.wait, 3)
    return None


def test_an_address_has_a_burst_and_then_as_many_refusals_a_second_as_answers() -> None:
    refused: list[str] = []
    strangers = Strangers(10, refused.append)
    assert [waits(strangers, "192.0.2.1", 0.0) for _ in range(10 * BURST)] == [None] * 10 * BURST and not refused
    assert [waits(strangers, "192.0.2.1", 0.0) for _ in range(4)] == [0.0, 0.1, 0.2, 0.3]
    assert ["rate_strangers"] * 4 == refused
    assert [waits(strangers, "192.0.2.1", 0.1) for _ in range(2)] == [None, 0.3]
    assert waits(strangers, "192.0.2.2", 0.0) is None and waits(strangers, "192.0.2.1", 60.0) is None


def test_nobody_waits_for_a_refusal_for_long_however_many_there_are() -> None:
    strangers = Strangers(1, lambda _: None)
    told = [waits(strangers, "2001:db8::1", 0.0) for _ in range(1000)]
    assert REFUSED_WITHIN == told[-1] == max(told[BURST:], key=float) and waits(strangers, "2001:db8::2", 0.0)  # type: ignore[arg-type]
    assert waits(strangers, "2001:db8::1", 3 * BURST) is None


def test_without_a_limit_none_is_refused() -> None:
    strangers = Strangers(0, lambda _: None)
    assert {waits(strangers, "192.0.2.1", 0.0) for _ in range(10_000)} == {None}
