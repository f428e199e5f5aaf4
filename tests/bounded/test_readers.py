"""Work is at most linear in the bytes that came: of each reader, for input that is made for it."""

from __future__ import annotations

import re

import pytest
from growth import MOST, TIMES, growth
from inputs import colliding
from readers import READERS, Reader


def grown(reader: Reader) -> list[str]:
    """The inputs for which the work grows too fast."""
    found = []
    for name, make in reader.made():
        times = growth(reader.refusing, make(reader.most // TIMES), make(reader.most))
        if times > MOST:
            found.append(f"{reader.name}, {name}: {times:.0f} times the work for {TIMES} times the bytes")
    return found


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_work_grows_no_faster_than_the_input(reader: Reader) -> None:
    assert grown(reader) == []


QUADRATIC = re.compile(r"\d+(?:_\d+)*\.?\d*x")


@pytest.mark.parametrize(
    "reader",
    [
        Reader("a pattern", lambda data: QUADRATIC.match(data.decode(errors="replace")), most=8192),
        Reader("a hash", lambda data: set(colliding(len(data) // 64))),
        Reader("pieces", lambda data: [sum(range(done)) for done in range(0, len(data), 32)], most=4096),
    ],
    ids=lambda reader: reader.name,
)
def test_a_quadratic_reader_is_caught(reader: Reader) -> None:
    assert grown(reader)
