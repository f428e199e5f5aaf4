"""What has changed in a platform's list of users, and which lists are not believed."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bridges.webhooks.importing import due_in
from messaging.integrator.events import Person, Platform
from messaging.integrator.importing import Diff, Implausible, Listed, compare, portions, read_list

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def people(*names: str) -> dict[str, Person]:
    return {name: Person(1, name, f'"{name}"', name.title()) for name in names}


def listed(*names: str) -> list[Listed]:
    return [Listed(name, name.title()) for name in names]


def body(*users: Any) -> bytes:
    return json.dumps({"users": users}).encode()


# --- reading ----------------------------------------------------------------------------------------------------------


def test_a_list_as_the_first_systems_write_it() -> None:
    found = read_list(body({"id": 7, "name": "Ana", "platform": "GWT"}, {"id": "8", "name": "Bo", "x": [1]}), {"other"})
    assert [Listed(7, "Ana"), Listed("8", "Bo")] == found


def test_users_of_other_platforms_are_not_taken_for_its_own() -> None:
    users = {"id": 1, "name": "a", "platform": "other"}, {"id": 2, "name": "b", "platform": "?"}
    found = read_list(body(*users), {"other"})
    assert [Listed(2, "b")] == found


def test_who_is_there_twice_counts_once_and_who_has_no_name_is_called_by_its_id() -> None:
    assert [Listed("7", "7")] == read_list(body({"id": 7, "name": "Ana"}, {"id": "7", "name": None}), ())
    assert [Listed(1, "1"), Listed(2, "ab")] == read_list(body({"id": 1, "name": "\0 "}, {"id": 2, "name": "a\0b"}), ())


@pytest.mark.parametrize(
    "text",
    [
        b"", b"<html>", b"[]", b"{}", b'{"users":{}}', b'{"users":[1]}', body({"name": "a"}), body({"id": ""}),
        body({"id": 1.5}), body({"id": True}), body({"id": None}), body({"id": "x" * 129}), body({"id": 2**53}),
        body({"id": 1, "name": 5}), body({"id": "a\0"}), b'{"users":[{"id":"\\ud800"}]}',
        b'{"users":[{"id":"\xff"}]}', b'{"users":' + b"[" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_list_is_not_believed(text: bytes) -> None:
    with pytest.raises(Implausible, match="no list of users"):
        read_list(text, ())


# --- comparing --------------------------------------------------------------------------------------------------------


def test_new_and_renamed_users_are_news_and_the_others_are_not() -> None:
    new, renamed = Listed("new", "New"), Listed("bo", "Robert")
    assert Diff(changed=(renamed, new)) == compare(people("ana", "bo"), {}, [*listed("ana"), renamed, new])


def test_an_id_that_changes_its_type_is_news() -> None:
    assert (Listed(7, "A"),) == compare({"7": Person(1, "7", '"7"', "A")}, {}, [Listed(7, "A")]).changed


def test_who_is_missing_once_is_missed_and_twice_in_a_row_removed() -> None:
    known = people("ana", "bo", "cy", "di")
    assert Diff(missed=("di",)) == compare(known, {}, listed("ana", "bo", "cy"))
    assert Diff(removed=("di",)) == compare(known, {"di": 1, "ana": 0}, listed("ana", "bo", "cy"))
    assert Diff(seen=("di",)) == compare(known, {"di": 1}, listed("ana", "bo", "cy", "di"))


@pytest.mark.parametrize(("there", "believed"), [(4, True), (2, True), (1, False), (0, False)])
def test_a_fall_by_more_than_half_is_not_believed(there: int, believed: bool) -> None:
    names = ("ana", "bo", "cy", "di")
    if believed:
        assert 4 - there == len(compare(people(*names), {}, listed(*names[:there])).missed)
    else:
        with pytest.raises(Implausible, match="of 4 known users"):
            compare(people(*names), {}, listed(*names[:there]))


def test_another_systems_list_is_not_believed_though_it_is_as_long() -> None:
    with pytest.raises(Implausible):
        compare(people("ana", "bo"), {}, listed("x", "y", "z"))


def test_a_first_list_may_be_anything() -> None:
    assert Diff() == compare({}, {}, [])
    assert 3 == len(compare({}, {}, listed("a", "b", "c")).changed)


def test_a_long_diff_is_stored_in_portions_and_its_end_comes_last() -> None:
    whole = Diff(tuple(listed("a", "b", "c")), seen=("s",), missed=("m",), removed=("r",))
    parts = list(portions(whole, 2))
    assert [2, 1, 0] == [len(part.changed) for part in parts]
    assert whole.changed == sum((part.changed for part in parts), ())
    assert Diff((), ("s",), ("m",), ("r",)) == parts[-1] and not any(part.removed for part in parts[:-1])


# --- when -------------------------------------------------------------------------------------------------------------


def platform(every: int, as_of: datetime | None) -> Platform:
    return Platform(id=1, inbox=2, name="p", style="paths", url="http://p/", import_every=every, users_as_of=as_of)


@pytest.mark.parametrize(
    ("every", "as_of", "failures", "seconds"),
    [
        (3600, None, 0, 0),  # at once
        (3600, NOW, 0, 3600),
        (3600, NOW - timedelta(hours=2), 0, -3600),
        (1, NOW, 0, 60),  # never more often
        (3600, None, 1, 50),
        (3600, NOW, 3, 230),
        (3600, NOW, 99, 3590),
    ],
)
def test_when_the_next_import_is_due(every: int, as_of: datetime | None, failures: int, seconds: float) -> None:
    tried = NOW - timedelta(seconds=10)
    assert seconds == due_in(platform(every, as_of), failures, tried, NOW, 0.5)


def test_platforms_do_not_keep_step() -> None:
    assert 3240 == due_in(platform(3600, NOW), 0, NOW, NOW, 0.0)
    assert 3960 == pytest.approx(due_in(platform(3600, NOW), 0, NOW, NOW, 1.0))
