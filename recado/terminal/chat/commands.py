"""What a person types into the chat, and what to tell it when that can't be done. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Word = Literal["join", "new", "leave", "invite", "dm", "topics", "who", "help", "quit"]

HELP = (
    ("/join TOPIC", "join a public topic, or go to one of yours"),
    ("/leave [TOPIC]", "leave it for good"),
    ("/new TOPIC [private]", "make a topic"),
    ("/invite USER [TOPIC]", "make somebody a member"),
    ("/dm USER [TEXT]", "write to one person; without a text, go on writing there"),
    ("/topics", "your topics, and what waits in them"),
    ("/who [TOPIC]", "who is a member"),
    ("/help", "this list"),
    ("/quit", "end; what comes meanwhile waits for you"),
)
_OTHER_WORDS = {"j": "join", "l": "leave", "msg": "dm", "h": "help", "?": "help", "q": "quit", "exit": "quit"}
_FEWEST = {"join": 1, "new": 1, "invite": 1, "dm": 1}
_USAGE = {usage.split()[0].removeprefix("/"): usage for usage, _ in HELP}
_ADVICE = {
    "not_a_member": "/join {topic} makes you a member.",
    "unknown_topic": "/topics lists yours; /new {topic} makes it; a private one needs an invitation.",
    "unknown_user": "Somebody is known here once it has connected, or was given a token.",
    "too_large": "Send it in parts.",
    "conflict": "/join {topic} goes there, if it is public.",
    "unauthorized": "Ask for a new token, and start again.",
}


@dataclass(frozen=True, slots=True)
class Say:
    """A text for the topic at hand."""

    text: str


@dataclass(frozen=True, slots=True)
class Command:
    """A word and what follows it."""

    word: Word
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unclear:
    """Nothing that can be done; ``advice`` says what would be."""

    advice: str


def parse(line: str) -> Say | Command | Unclear | None:
    """What a line asks for; None for an empty one. Two slashes in front make a text that begins with one."""
    text = line.strip("\r\n")
    if not text.strip():
        return None
    if not text.startswith("/"):
        return Say(text)
    if text.startswith("//"):
        return Say(text[1:])
    word, _, rest = text[1:].strip().partition(" ")
    return _command(_OTHER_WORDS.get(word.lower().rstrip("?") or "?", word.lower().rstrip("?")), rest.strip())


def _command(word: str, rest: str) -> Command | Unclear:
    if word not in _USAGE:
        return Unclear(f"There is no /{word}. /help lists what there is; // sends a text that begins with a slash.")
    arguments = tuple(rest.split(None, 1)) if word == "dm" else tuple(rest.split())
    if len(arguments) < _FEWEST.get(word, 0):
        return Unclear(f"Say more: {_USAGE[word]}")
    return Command(word, arguments)  # type: ignore[arg-type]


def advice(code: str, topic: str) -> str:
    """What to do about a refusal; "" where the refusal itself says it."""
    return _ADVICE.get(code, "").format(topic=topic)
