"""What the answers of doors mean: for each, whether it is well, what is wrong, and what to do. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "fault"]


@dataclass(frozen=True, slots=True)
class Door:
    """An address and what it answers. ``accepts``: a token from here; None: that could not be asked."""

    url: str
    kind: Literal["WebSocket", "API"]
    error: str = ""  # why there is no answer
    ready: bool = False
    accepts: bool | None = None
    reason: str = ""  # why it is not ready, or does not accept


@dataclass(frozen=True, slots=True)
class Finding:
    """``text``: what was found. ``advice``: what to do; "" where nothing is."""

    level: Level
    subject: str
    text: str
    advice: str = ""


def door_findings(doors: Sequence[Door], token_from: str) -> Iterator[Finding]:
    """``token_from``: where the token is from that they were asked with; "": there was none."""
    for door in doors:
        yield door_finding(door)
        yield from secret_findings(door, token_from)


def door_finding(door: Door) -> Finding:
    subject = f"{door.kind} {door.url}"
    if door.error:
        return Finding("fault", subject, f"no answer: {door.error}", "Start it, or correct the address.")
    if not door.ready:
        return Finding("fault", subject, f"not ready: {door.reason}", "See its log; it needs its database.")
    return Finding("ok", subject, "ready")


def secret_findings(door: Door, token_from: str) -> Iterator[Finding]:
    subject = f"{door.kind} {door.url}"
    if door.error:
        return
    if door.accepts is None:
        why = "there is no token to try" if not token_from else door.reason
        advice = "Set API_KEY (or --key), or on a node JWT_SECRET." if not token_from else "Try again."
        yield Finding("warn", subject, f"whether it has the same secret is open: {why}", advice)
    elif door.accepts:
        yield Finding("ok", subject, f"accepts a token from {token_from}")
    else:
        text = f"refuses a token from {token_from}: {door.reason}"
        yield Finding("fault", subject, text, "Give every node the same JWT_SECRET, and restart it.")
