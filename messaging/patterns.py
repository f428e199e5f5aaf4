"""Patterns: names in which ``*`` stands for any run of characters, an empty one too. Pure.

No name contains ``*``, so a pattern without it is a name and matches that one alone.
"""

from __future__ import annotations

import re

from messaging.model import MAX_NAME

PATTERN_RULE = f"1 to {MAX_NAME} of A–Z a–z 0–9 . _ - : @ / + | %, and * for any run of characters"
_PATTERN = re.compile(rf"[A-Za-z0-9._:@+|/%*-]{{1,{MAX_NAME}}}\Z")
_ESCAPED = str.maketrans({"\\": r"\\", "%": r"\%", "_": r"\_", "*": "%"})


def is_pattern(text: str) -> bool:
    """Whether ``text`` may be a pattern."""
    return _PATTERN.match(text) is not None


def matches(pattern: str, name: str) -> bool:
    """Whether ``name`` is one that ``pattern`` stands for. Its time grows with the product of both lengths at most.

    Taking each part at its first place is enough: if a later place leads to a match, so does the first.
    """
    first, *parts = pattern.split("*")
    if not parts:
        return name == first
    last = parts.pop()
    at, end = len(first), len(name) - len(last)
    if at > end or not name.startswith(first) or not name.endswith(last):
        return False
    for part in parts:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def like(pattern: str) -> str:
    r"""The same as a pattern of SQL's LIKE, whose escape character is ``\``."""
    return pattern.translate(_ESCAPED)
