"""What is kept of a message from outside that can't be stored."""

import pytest

from messaging.bridge.arrivals import SHOWN, legible


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("orders.rome", "orders.rome"),
        (b"orders.rome", "orders.rome"),
        ("a\0b", "a\\x00b"),
        (b"\xff\0", "\\xff\\x00"),
        ("\ud800", "\\xed\\xa0\\x80"),
        (b"\0" * SHOWN, "\\x00" * (SHOWN // 4)),
        ("€" * (SHOWN + 1), "€" * SHOWN),
    ],
)
def test_whatever_it_is_it_can_be_stored_and_shown(given: str | bytes, shown: str) -> None:
    assert shown == legible(given)
