"""What a token itself says about topics: its claim `topics`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from messaging.patterns import PATTERN_RULE, is_pattern, matches

CLAIM = "topics"


@dataclass(frozen=True, slots=True)
class Grants:
    """The topics that a token may read and write, by patterns. None: the token says nothing of it."""

    read: tuple[str, ...] | None = None
    write: tuple[str, ...] | None = None

    def reads(self, name: str) -> bool | None:
        """Whether it may read a topic of this name; None where the token leaves that to what its user may."""
        return None if self.read is None else _any(self.read, name)

    def writes(self, name: str) -> bool | None:
        """Whether it may write there, likewise. ``name`` is `@USER` for an inbox."""
        return None if self.write is None else _any(self.write, name)


def grants_of(payload: Mapping[str, Any]) -> Grants:
    """What a payload grants.

    Raises:
        ValueError: its claim `topics` is malformed. What was meant to narrow must never be passed over.
    """
    claim = payload.get(CLAIM, {})
    if not isinstance(claim, dict) or not claim.keys() <= {"read", "write"}:
        raise ValueError('topics is an object with "read", "write" or both')
    return Grants(**{side: _patterns(side, given) for side, given in claim.items()})


def _patterns(side: str, given: Any) -> tuple[str, ...]:
    if not isinstance(given, list) or not all(isinstance(each, str) and is_pattern(each) for each in given):
        raise ValueError(f"topics.{side} is a list of patterns: each {PATTERN_RULE}")
    return tuple(given)


def _any(patterns: Iterable[str], name: str) -> bool:
    return any(matches(pattern, name) for pattern in patterns)
