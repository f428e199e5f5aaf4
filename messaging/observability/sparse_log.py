"""A log that nobody floods: what peers may bring about as often as they like is told once in a while."""

from __future__ import annotations

import logging

EVERY_SECONDS = 10.0  # seconds


class Sparse(logging.Filter):
    """Lets one line of each kind pass in so many seconds; the next one says how many were left out in between.

    A kind is the line before its values are put in: there are as many as the program has.
    """

    def __init__(self, every: float = EVERY_SECONDS) -> None:
        super().__init__()
        self._every = every
        self._told: dict[object, float] = {}  # when each kind was, by the records' clock
        self._left_out: dict[object, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        kind, now = record.msg, record.created
        told = self._told.get(kind)
        if told is not None and told <= now < told + self._every:
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return False
        self._told[kind] = now
        if more := self._left_out.pop(kind, 0):
            record.msg = f"{record.msg} ({more} more were left out)"
        return True
