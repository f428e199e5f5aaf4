"""Input that is made to be dear: what breaks a pattern, a hash, a parser's stack, a buffer. Sizes are in bytes."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

Make = Callable[[int], bytes]
Text = Callable[[int], str]

PRIME = 2**61 - 1  # Python's hash of an integer is the integer modulo this


def colliding(count: int) -> list[int]:
    """Numbers of one hash."""
    return [1 + k * PRIME for k in range(count)]


# Runs that make a pattern try again, a splitter split, a codec escape. The last letter lets it fail in the end.
RUNS = [
    "1", "1_", "1.", "a", "a/", "-", "--:", " ", "\t", ";", '";', "=&", ",", "%2F", "*a", "é", "😀", "\\", "[",
    "\u202e",
]  # fmt: skip


def _again(run: str, size: int) -> str:
    return run * max(1, size // len(run.encode())) + "!"


TEXTS: dict[str, Text] = {f"{run!r} again and again": partial(_again, run) for run in RUNS}

VALUES: dict[str, Make] = {
    "a run of digits": lambda size: b"1" * size,
    "a long fraction": lambda size: b"1." + b"1" * size,
    "digits in a text": lambda size: b'"' + b"1" * size + b'x"',
    "digits and underscores": lambda size: b'"' + b"1_" * (size // 2) + b'x"',
    "escapes": lambda size: b'"' + b"\\u00e9" * (size // 6) + b'"',
    "deep lists": lambda size: b"[" * (size // 2) + b"]" * (size // 2),
    "deep objects": lambda size: b'{"a":' * (size // 6) + b"1" + b"}" * (size // 6),
    "numbers of one hash": lambda size: json.dumps(colliding(size // 26)).encode(),
    "many keys": lambda size: json.dumps({f"k{k}": k for k in range(size // 16)}).encode(),
    "many items": lambda size: b"[" + b"[]," * (size // 3) + b"0]",
    "a text that does not end": lambda size: b'"' + b"a" * size,
}


def as_bytes(text: Text) -> Make:
    return lambda size: text(size).encode()


HOLE = "\0hole"


def documents(example: Any, more: Iterable[str] = ()) -> Iterator[tuple[str, Make]]:
    """An example with each of its parts, and all of it, replaced by each of VALUES; and with its lists made long.

    ``more``: fields that it might have too.
    """
    for name, value in VALUES.items():
        yield f"all: {name}", value
    for path in (*_paths(example), *((name,) for name in more)):
        head, tail = _around(_with(example, path, HOLE))
        for name, value in VALUES.items():
            yield f"{_shown(path)}: {name}", partial(_between, head, value, tail)
        if 0 in path:
            yield f"{_shown(path)}: many of one hash", _many(example, path)


def _between(head: bytes, value: Make, tail: bytes, size: int) -> bytes:
    return head + value(size) + tail


def _many(example: Any, path: tuple[Any, ...]) -> Make:
    """The list in which ``path`` goes on, of so many items that differ there alone, in numbers of one hash."""
    at = path.index(0)
    head, tail = _around(_with(example, path[:at], HOLE))
    item = _at(example, path[: at + 1])

    def make(size: int) -> bytes:
        each = len(json.dumps(item)) + 26
        items = [_with(item, path[at + 1 :], number) for number in colliding(max(1, size // each))]
        return head + json.dumps(items).encode() + tail

    return make


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else [(0, value[0])] if isinstance(value, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from _paths(child, (*path, key))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def _with(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    found = copy.deepcopy(value)
    _at(found, path[:-1])[path[-1]] = new
    return found


def _around(document: Any) -> tuple[bytes, bytes]:
    head, tail = json.dumps(document).split(json.dumps(HOLE))
    return head.encode(), tail.encode()


def _shown(path: tuple[Any, ...]) -> str:
    return ".".join(map(str, path))
