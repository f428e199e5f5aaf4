"""Which run of pending messages is confirmed, without a database."""

from datetime import UTC, datetime

import pytest

from messaging.model import Content, Entry, Gap, Message, Topic
from messaging.readers.pending import Named, longest_run, meaning, names_of

NEWS = Topic(1, "news", "public", "ana")
INBOX = Topic(2, "@eva", "direct", "eva")


def message(seq: int, content: str, sender: str = "ana") -> Message:
    return Message(seq, sender, Content(content), datetime.now(UTC))


def log(*contents: str) -> list[Entry]:
    return [message(seq, content) for seq, content in enumerate(contents, 1)]


@pytest.mark.parametrize(
    ("named", "run"),
    [
        ([], (0, False)),
        (['"a"'], (1, False)),
        (['"b"'], (0, False)),
        (['"b"', '"a"'], (2, False)),
        (['"c"', '"b"', '"a"'], (3, True)),
        (['"a"', '"c"'], (1, False)),
    ],
)
def test_the_run_ends_at_the_first_that_is_not_named(named: list[str], run: tuple[int, bool]) -> None:
    names = names_of(Named("news", content) for content in named)
    assert longest_run(log('"a"', '"b"', '"c"'), NEWS, names) == run


def test_two_of_one_content_must_be_named_twice() -> None:
    once = names_of([Named("news", "1")])
    assert longest_run(log("1", "1"), NEWS, once) == (1, False)
    twice = names_of([Named("news", "1")] * 2)
    assert longest_run(log("1", "1"), NEWS, twice) == (2, True)


def test_a_gap_needs_no_naming() -> None:
    entries: list[Message | Gap] = [Gap(1, 3, "expired"), message(4, "1"), Gap(5, 6, "expired"), message(7, "2")]
    assert longest_run(entries, NEWS, names_of([Named("news", "1")])) == (6, False)


def test_other_topics_do_not_count() -> None:
    assert longest_run(log("1"), NEWS, names_of([Named("plans", "1")])) == (0, False)


def test_an_inbox_by_its_name_or_by_its_sender() -> None:
    names = names_of([Named("@eva", "1"), Named("ana", "2")])
    assert longest_run(log("1", "2"), INBOX, names) == (2, True)
    assert longest_run(log("1"), INBOX, names_of([Named("zoe", "1")])) == (0, False)


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), ({"a": 1, "b": []}, {"b": [], "a": 1.0}), ([None], [None])])
def test_one_meaning(one: object, other: object) -> None:
    assert meaning(one) == meaning(other)


@pytest.mark.parametrize(
    ("one", "other"), [(1, True), (0, False), (0, None), ("1", 1), ([], {}), ([[]], [{}]), ("", None), ([1, 2], [2, 1])]
)
def test_two_meanings(one: object, other: object) -> None:
    assert meaning(one) != meaning(other)
