"""Every frame that a test receives is one that /asyncapi.json describes."""

from __future__ import annotations

from functools import cache
from typing import Any

import jsonschema

from api.asyncapi import document, pushes, replies


@cache
def _checkers() -> list[jsonschema.Draft202012Validator]:
    described = document()
    schemas = described["components"]["schemas"]
    return [
        jsonschema.Draft202012Validator({**schemas[kind.__name__], "components": described["components"]})
        for kind in (*replies(), *pushes())
    ]


def check_described(frame: dict[str, Any]) -> None:
    """Fails where no reply and no push looks like this."""
    assert any(checker.is_valid(frame) for checker in _checkers()), f"not described: {frame}"
