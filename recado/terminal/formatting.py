"""How things look in a terminal. Pure: text in, text out.

Whatever others wrote is made harmless first: an escape sequence in a message must not reach the terminal as one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any, TextIO

from recado.client import Gap, Invited, Message, Removed, Thing

# C0 but tab and newline, DEL, C1; and what turns the direction of text, which could hide who wrote what.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_NAME_COLOURS = (36, 32, 33, 35, 34, 96, 92, 93, 95, 94)
_REASONS = {"expired": "expired", "seen": "seen on another device"}


@dataclass(frozen=True, slots=True)
class Paint:
    """Colours, or none. ``zone``: None for this machine's own time."""

    colours: bool = False
    zone: tzinfo | None = None

    @classmethod
    def for_stream(cls, stream: TextIO, environ: Mapping[str, str]) -> Paint:
        """Colours only on a terminal that has them, and not where NO_COLOR is set (no-color.org)."""
        return cls(stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb")

    def _with(self, code: int, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colours and text else text

    def faint(self, text: str) -> str:
        return self._with(90, text)

    def bold(self, text: str) -> str:
        return self._with(1, text)

    def good(self, text: str) -> str:
        return self._with(32, text)

    def warning(self, text: str) -> str:
        return self._with(33, text)

    def bad(self, text: str) -> str:
        return self._with(31, text)

    def name(self, name: str) -> str:
        """A user's name, always in the same colour."""
        return self._with(_NAME_COLOURS[sum(name.encode()) % len(_NAME_COLOURS)], safe(name))

    def thing(self, thing: Thing, me: str, here: str = "") -> str:
        """A line, or several, for what came; ``here``: the topic that needs no mention."""
        match thing:
            case Message():
                return self.message(thing, me, here)
            case Gap(topic, first, last, reason):
                which = f"message {first} is" if first == last else f"messages {first} to {last} are"
                return self.note(f"{where(topic, me)}: {which} gone: {_REASONS.get(reason, safe(reason))}")
            case Invited(topic, by):
                return self.note(f"{by} invited you to {where(topic, me)}")
            case Removed(topic):
                return self.note(f"you are no member of {where(topic, me)} any more")

    def message(self, message: Message, me: str, here: str = "") -> str:
        head = self.faint(self.time(message.sent_at))
        if message.topic != here:
            head += " " + self.faint(f"[{where(message.topic, me)}]")
        name = self.name(message.sender)
        return hang(f"{head} {self.bold(name) if message.sender == me else name}", text_of(message.content))

    def note(self, text: str) -> str:
        """What is not a message: something happened."""
        return self.faint(f"· {safe(text)}")

    def problem(self, text: str) -> str:
        return self.bad("! ") + safe(text)

    def time(self, moment: datetime) -> str:
        """Hours and minutes; the day too, where it is not today."""
        local = moment.astimezone(self.zone)
        is_today = local.date() == datetime.now(self.zone).date()
        return local.strftime("%H:%M" if is_today else "%Y-%m-%d %H:%M")


def where(topic: str, me: str) -> str:
    """A topic's name for people: of an inbox, whose it is."""
    return "to you" if topic == "@" + me else topic


def hang(head: str, text: str) -> str:
    """A text behind a head; its further lines are set in."""
    return f"{head}  " + text.replace("\n", "\n      ")


def text_of(content: Any) -> str:
    """Content for people: a text as it is, other JSON as JSON; harmless in either case."""
    return safe(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False))


def safe(text: str) -> str:
    """The same text with nothing in it that a terminal would obey."""
    shown = _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text.replace("\r\n", "\n"))
    return shown.encode("utf-8", "backslashreplace").decode()


def frame_of(thing: Thing) -> str:
    """The same as the server's frame, in one line of JSON, harmless in a terminal."""
    match thing:
        case Message(topic, seq, sender, content, sent_at):
            frame = {
                "action": "message", "topic_name": topic, "content": content, "user_source": sender, "seq": seq,
                "sent_at": sent_at.isoformat().replace("+00:00", "Z"),
            }  # fmt: skip
        case Gap(topic, first, last, reason):
            frame = {"action": "gap", "topic_name": topic, "from": first, "to": last, "reason": reason}
        case Invited(topic, by):
            frame = {"action": "invited", "topic_name": topic, "user_source": by}
        case Removed(topic):
            frame = {"action": "removed", "topic_name": topic}
    return safe(json.dumps(frame, ensure_ascii=False))
