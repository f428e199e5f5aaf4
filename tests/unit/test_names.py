"""What may be a name, the same in `model` and at the WebSocket door."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.model import inbox_of, is_name, is_topic_name
from ws_server.vocabulary import Name

GOOD = ["a", "A.b_c-d", "a:b@c+d|e", "updates.store.0b1", "a/b", "...", "a/...", ".a", "a..b", "@a", "-", "x" * 128]
BAD = [
    "",
    "x" * 129,
    " ",
    "a b",
    "a\n",
    "\na",
    "a\0",
    "é",
    "а",
    "名",
    "a%20b",
    "a#b",
    "a?b",
    "a\\b",
    "a*b",
    "a>b",
    '"',
    "'",
    "/",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "./a",
    "a/.",
    "a/..",
    "a/../b",
    "a/./b",
    "\ud800",
    "\u202ea",
    "a\u200b",
    "ａ",
]


@pytest.mark.parametrize("text", GOOD)
def test_a_name(text: str) -> None:
    assert is_name(text)


@pytest.mark.parametrize("text", BAD, ids=ascii)
def test_no_name(text: str) -> None:
    assert not is_name(text)


@pytest.mark.parametrize(("text", "may"), [("a", True), ("a@b", True), ("@a", False), ("a b", False)])
def test_a_topic_never_begins_like_an_inbox(text: str, may: bool) -> None:
    assert may == is_topic_name(text)


def test_an_inbox_is_written_with_an_at_sign() -> None:
    assert "@omar" == inbox_of("omar")


@given(st.one_of(st.text(), st.text("a./@ \n", max_size=8), st.from_regex(r"[a-z./]{0,9}\n?")))
def test_the_door_takes_the_names_that_the_model_takes(text: str) -> None:
    try:
        taken = msgspec.convert(text, Name) == text
    except msgspec.ValidationError:
        taken = False
    assert is_name(text) == taken
