"""What is told of the same thing again and again."""

from __future__ import annotations

import logging

from messaging.observability.sparse_log import Sparse


def told(sparse: Sparse, at: float, text: str = "bad request from %s", *values: object) -> str | None:
    record = logging.LogRecord("api", logging.ERROR, "", 0, text, values or ("127.0.0.1",), None)
    record.created = at
    return record.getMessage() if sparse.filter(record) else None


def test_one_line_of_a_kind_in_so_many_seconds_and_then_how_many_there_were() -> None:
    sparse = Sparse(10)
    line = "bad request from 127.0.0.1"
    assert told(sparse, 100) == line
    assert [told(sparse, 100 + n / 100, "bad request from %s", n) for n in range(999)] == [None] * 999
    assert told(sparse, 109.9, "something else of %s") == "something else of 127.0.0.1"
    assert told(sparse, 110) == f"{line} (999 more were left out)"
    assert told(sparse, 111) is None
    assert told(sparse, 50) == f"{line} (1 more were left out)", "the clock was set back"
    assert told(sparse, 61) == line
