"""What may be the content of a message: any JSON that PostgreSQL, every client and every bridge can take."""

from __future__ import annotations

from typing import Any

import msgspec

from messaging.errors import BadRequest
from messaging.model import Content, Kind
from messaging.settings.settings import Settings

MAX_DEPTH = 64

_decoder = msgspec.json.Decoder()


def check_content(raw: bytes | memoryview, settings: Settings) -> Content:
    """What a message may say, on every door: JSON of at most MAX_FRAME bytes. Raises BadRequest, see `check_json`."""
    return Content(check_json(raw, settings.max_frame))


def our_content(value: Any) -> Content:
    """What Recado itself says, which nobody outside can make grow."""
    return Content(msgspec.json.encode(value).decode())


def lifetime_of(ttl: int | None, topic: int | None, kind: Kind, settings: Settings) -> int | None:
    """How many seconds a message lives: as it says itself, else as its topic does, else as all inboxes."""
    lifetime = topic if ttl is None else ttl
    return settings.inbox_ttl if lifetime is None and kind == "direct" else lifetime


def check_json(raw: bytes | memoryview, limit: int) -> str:
    """The text of ``raw``, a JSON value, unchanged.

    Args:
        limit: the most that ``raw`` may measure, in bytes.

    Raises:
        BadRequest: too large, not JSON, not UTF-8, deeper than 64, with NUL or a lone surrogate inside.
    """
    data = bytes(raw)
    if len(data) > limit:
        raise BadRequest(f"The content has {len(data)} bytes; the most is {limit}.")
    try:
        value = _decoder.decode(data)
    except RecursionError:
        raise BadRequest(f"The content is nested deeper than {MAX_DEPTH}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise BadRequest(f"The content is not JSON that can be kept: {exc}.") from None
    # Counting brackets is cheap and never too low, strings with brackets inside only cost a walk.
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise BadRequest(f"The content is nested deeper than {MAX_DEPTH}.")
    if b"\\u0000" in data and _has_nul(value):
        raise BadRequest("The content has the character NUL, which PostgreSQL's text and JSON do not take.")
    return data.decode()


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return value if isinstance(value, list) else []


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [child for container in level for child in _children(container)]
    return depth


def _has_nul(value: Any) -> bool:
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, str) and "\0" in item:
            return True
        todo += _children(item)
    return False
