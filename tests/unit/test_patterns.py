"""Patterns: what ``*`` stands for, here and in SQL."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.patterns import is_pattern, like, matches

SOME = st.text("ab/.*_%\\", max_size=12)


@pytest.mark.parametrize(
    ("pattern", "name", "does"),
    [
        ("news", "news", True),
        ("news", "New", False),
        ("news", "news2", False),
        ("*", "", True),
        ("*", "a/b", True),
        ("updates.store.*", "updates.store.7", True),
        ("updates.store.*", "updates.store.", True),
        ("updates.store.*", "updates.store", False),
        ("*.store.*", "updates.store.7", True),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("a*b*a", "aba", True),
        ("a*b*a", "aa", False),
        ("*ab*ab", "abab", True),
        ("*ab*ab", "aab", False),
        ("**", "x", True),
        ("@*", "@ana", True),
        ("@*", "ana", False),
        ("", "", True),
        ("", "a", False),
    ],
)
def test_what_a_pattern_stands_for(pattern: str, name: str, does: bool) -> None:
    assert does == matches(pattern, name)


@given(SOME, st.text("ab/._%\\", max_size=12))
def test_a_star_is_any_run_and_all_else_is_itself(pattern: str, name: str) -> None:
    regex = ".*".join(map(re.escape, pattern.split("*")))
    assert matches(pattern, name) == (re.fullmatch(regex, name) is not None)


def test_no_pattern_takes_long() -> None:
    began = time.process_time()
    assert not matches("a*" * 63 + "b", "a" * 128)
    assert time.process_time() - began < 0.5  # a backtracking matcher would not come back


@pytest.mark.parametrize("text", ["a", "*", "a*b", "@*", "x" * 128, "a/b|c:d+e"])
def test_what_may_be_a_pattern(text: str) -> None:
    assert is_pattern(text)


@pytest.mark.parametrize("text", ["", "a b", "a?", "é", "a\n", "x" * 129, "a\\", "\0"])
def test_what_may_not(text: str) -> None:
    assert not is_pattern(text)


@pytest.mark.parametrize(
    ("pattern", "sql"), [("a*", "a%"), ("a_b*", r"a\_b%"), ("100%", r"100\%"), ("\\", r"\\"), ("*a*", "%a%")]
)
def test_the_same_for_sql(pattern: str, sql: str) -> None:
    assert sql == like(pattern)
