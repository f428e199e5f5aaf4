"""What may be a name, the same in `model` and at the WebSocket door."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.errors import BadRequest
from messaging.frames import Name
from messaging.model import (
    encoded,
    inbox_of,
    is_name,
    is_topic_name,
    is_user_name,
    name_of_topic,
    original_name,
    person_name,
)

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


# --- names from outside ---------------------------------------------------------------------------

PEOPLE = {
    "ana": "ana",
    "@ana/b:c+d|e": "@ana/b:c+d|e",
    "Mario Rossi": "Mario%20Rossi",
    "José~": "Jos%C3%A9%7E",
    "100%": "100%25",
    "%41": "%2541",
    "%2F": "%252F",
    "%FF": "%25FF",
    "a%20b c": "a%2520b%20c",
    "net core/17": "net%20core/17",
}


@pytest.mark.parametrize("text", PEOPLE)
def test_what_a_person_is_called_outside_is_percent_encoded(text: str) -> None:
    assert PEOPLE[text] == person_name(text)
    assert text == original_name(PEOPLE[text])


@given(st.text(max_size=12))
def test_a_name_that_is_encoded_stays_as_it_is(text: str) -> None:
    try:
        name = person_name(text)
    except BadRequest:
        assert not is_user_name(text)
        return
    assert name == person_name(name)
    assert is_user_name(name)
    assert text in (name, original_name(name))


@given(st.text(max_size=6), st.sampled_from(":/"), st.text(max_size=6))
def test_no_person_is_called_as_a_platforms_user_or_room(platform: str, separator: str, key: str) -> None:
    """Their separators are encoded; a person's stay as they are."""
    assert not is_user_name(encoded(platform + separator + key))


BAD_PEOPLE = ["", " /", "../ana", "a//b", "a\nb", "a\0b", "\ud800", "\u202eana", "x" * 129, "é" * 22, "%bridge/\t"]


@pytest.mark.parametrize("text", BAD_PEOPLE, ids=ascii)
def test_what_no_person_is_called(text: str) -> None:
    assert not is_user_name(text)
    with pytest.raises(BadRequest, match="is not a name"):
        person_name(text)


@pytest.mark.parametrize(
    ("target", "name"),
    [("news", "news"), ("#news", "news"), ("@ana", "@ana"), ("#@ana", "#@ana"), ("##a", "#a"), ("#", "")],
)
def test_a_hash_in_front_means_the_topic(target: str, name: str) -> None:
    assert name == name_of_topic(target)
