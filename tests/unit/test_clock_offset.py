"""How far a machine's clock may be from the database's, and what is said beyond that."""

import pytest

from messaging.model import LEEWAY
from messaging.store.clock import ROUND_TRIP, ClockOffset


def measured(*answers: tuple[float, float, float]) -> ClockOffset:
    clock = ClockOffset()
    for answer in answers:
        clock.measured(*answer)
    return clock


def test_the_answer_was_given_half_way() -> None:
    assert measured((100.0, 105.5, 101.0)).seconds == 5.0
    assert measured((100.0, 95.5, 101.0)).seconds == -5.0


@pytest.mark.parametrize("answered", [100.0 + ROUND_TRIP + 0.01, 99.0], ids=["too late", "our clock was set back"])
def test_what_took_too_long_tells_nothing(answered: float) -> None:
    assert measured((100.0, 700.0, answered)).seconds == 0.0
    assert measured((100.0, 105.0, 100.0), (100.0, 700.0, answered)).seconds == 5.0


def test_within_the_leeway_nothing_is_said_and_beyond_it_which_way() -> None:
    assert not measured((100.0, 100.0 + LEEWAY, 100.0)).trouble
    assert "600 s behind" in measured((100.0, 700.0, 100.0)).trouble
    assert "600 s ahead of" in measured((700.0, 100.0, 700.0)).trouble


def test_it_is_logged_once_and_its_end_too(caplog: pytest.LogCaptureFixture) -> None:
    clock = measured((100.0, 700.0, 100.0), (100.0, 701.0, 100.0))
    assert ["ERROR"] == [record.levelname for record in caplog.records]
    clock.measured(100.0, 100.0, 100.0)
    assert ["ERROR", "WARNING"] == [record.levelname for record in caplog.records]
