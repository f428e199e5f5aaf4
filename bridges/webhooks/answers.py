"""What a platform's answer to a message means for its lane, and which message is a poison message. Pure.

    the answer                                  what it means
    2xx                                         delivered, whatever follows the status line
    410                                         the platform wants no more: its lane is paused
    401, 403, 407                               it does not accept *us*, so it is its problem and not this message's
    408, 425, 429, 5xx, 3xx, no status at all   its problem: the same message again, later
    any other 4xx                               this message's problem: it is buried

Redirects are not followed: a URL that moved, or a login page before it, would take every message that comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec

from bridges.outlet import Gone, Undeliverable, Unreachable

SHOWN = 300  # characters of an answer that an operator sees
SUSPECT_AFTER = 5  # 5xx in a row for one message, before somebody asks whether it is the message …
SUSPECT_FOR = 15.0  # … and so many seconds: a platform that calls us is tried at once, again and again

_UNWANTED = frozenset({401, 403, 407})
_LATER = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one try. ``headers`` are looked up in any case; ``is_whole``: there is no more of the body."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    is_whole: bool = True

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    def __str__(self) -> str:
        said = excerpt(self.body)
        return f"it answered {self.status}" + (f": {said}" if said else "")


def classify(answer: Answer, now: datetime) -> None:
    """Return where the message was delivered. Raises Unreachable, Undeliverable, Gone, as the table says."""
    if answer.is_success:
        return
    if answer.status == 410:
        raise Gone(str(answer))
    if answer.status in _UNWANTED:
        raise Unreachable(f"{answer}; see that it has this platform's secret and lets us in", retry_after(answer, now))
    if 400 <= answer.status < 500 and answer.status not in _LATER:
        raise Undeliverable(str(answer))
    if 300 <= answer.status < 400:
        raise Unreachable(f"{answer}; redirects are not followed: give the platform its new url")
    raise Unreachable(str(answer), retry_after(answer, now))


def check_success(answer: Answer) -> None:
    """One of the first systems says 200 ``{"status":"failed"}`` to what it did not take. Raises Undeliverable."""
    try:
        status = msgspec.json.decode(answer.body, type=_Status).status
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return
    if status in ("failed", "error"):
        raise Undeliverable(str(answer))


class _Status(msgspec.Struct):
    status: str = ""


def retry_after(answer: Answer, now: datetime) -> float | None:
    """Seconds that the other side asked for (RFC 9110, 10.2.3); None where it did not, or for no time at all."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text) or None  # of too many digits: infinity, which `Schedule` caps like any other
    try:
        at = parsedate_to_datetime(text)
        seconds = (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds()
    except (ValueError, OverflowError):  # for the second its documentation has no word
        return None
    return seconds if seconds > 0 else None


def excerpt(body: bytes) -> str:
    """The beginning of an answer in one line, as a reason that can be stored and shown."""
    text = " ".join(body[: 4 * SHOWN].decode(errors="replace").split())
    text = "".join(char if char.isprintable() else "�" for char in text)
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"


@dataclass(slots=True)
class PoisonDetector:
    """Counts 5xx in a row for one message: many of them, and all others pass, then it is the message.

    An answer that says when to come back does not count: it will take the message then.
    """

    least: float = SUSPECT_FOR
    _identity: str = ""
    _failures: int = 0
    _since: float = 0.0

    def note(self, identity: str, answer: Answer | None, now: float) -> bool:
        """One more try; no answer: None. Whether it may be the message by now. ``now``: seconds of a steady clock."""
        if answer is None or answer.status < 500 or "Retry-After" in answer.headers:
            self._failures = 0
            return False
        if identity != self._identity or not self._failures:
            self._identity, self._failures, self._since = identity, 0, now
        self._failures += 1
        return self._failures >= SUSPECT_AFTER and now - self._since >= self.least
