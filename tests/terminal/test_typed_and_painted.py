"""What is typed, and what is shown: pure."""

import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recado.client import Gap, Invited, Message, Removed, Thing
from recado.client.received import thing_of
from recado.terminal.chat.commands import HELP, Command, Say, Unclear, advice, parse
from recado.terminal.formatting import Paint, frame_of, safe, text_of

PLAIN = Paint(zone=UTC)
NOON = datetime.now(UTC).replace(hour=12, minute=5, second=0, microsecond=0)


@pytest.mark.parametrize(
    ("line", "wish"),
    [
        ("", None),
        ("  \n", None),
        ("hello /join me\n", Say("hello /join me")),
        ("  set in", Say("  set in")),
        ("//join is a word", Say("/join is a word")),
        ("/join news", Command("join", ("news",))),
        ("/j news", Command("join", ("news",))),
        ("/JOIN news\r\n", Command("join", ("news",))),
        ("/leave", Command("leave")),
        ("/dm ana  how are  you", Command("dm", ("ana", "how are  you"))),
        ("/dm ana", Command("dm", ("ana",))),
        ("/invite ana news", Command("invite", ("ana", "news"))),
        ("/who?", Command("who")),
        ("/?", Command("help")),
        ("/", Command("help")),
        ("/q", Command("quit")),
    ],
)
def test_what_a_line_asks_for(line: str, wish: object) -> None:
    assert parse(line) == wish


@pytest.mark.parametrize("line", ["/join", "/dm", "/invite", "/new", "/what", "/ x"])
def test_what_is_unclear_is_told_with_what_would_not_be(line: str) -> None:
    wish = parse(line)

    assert isinstance(wish, Unclear)
    assert "/" in wish.advice


@given(st.text())
def test_any_line_is_something(line: str) -> None:
    parse(line)


def test_help_has_every_command() -> None:
    for usage, _ in HELP:
        wish = parse(usage.replace("[", "").replace("]", "").lower())
        assert isinstance(wish, Command)


def test_a_refusal_comes_with_what_to_do() -> None:
    assert advice("not_a_member", "news") == "/join news makes you a member."
    assert advice("some_new_code", "news") == ""


@given(st.text(alphabet=st.characters()))
def test_nothing_that_a_terminal_would_obey_gets_through(text: str) -> None:
    shown = safe(text)

    assert all(char in "\n\t" or char.isprintable() or ord(char) >= 0xA0 for char in shown)
    shown.encode()


def test_an_escape_sequence_is_shown_and_not_sent() -> None:
    assert safe("\x1b[2Jgone\x9b0m\u202e") == "\\u001b[2Jgone\\u009b0m\\u202e"
    assert text_of({"a": "é\x1b"}) == '{"a": "é\\u001b"}'


CAME: list[Thing] = [
    Message("news", 1, "ana", "hello", NOON),
    Message("news", 1, "ana", "\x85\ud800", NOON),
    Gap("news", 2, 4, "expired"),
    Invited("news", "ana"),
    Removed("news"),
]


@pytest.mark.parametrize("thing", CAME)
def test_a_line_of_json_is_the_frame_again(thing: Thing) -> None:
    frame: dict[str, Any] = json.loads(frame_of(thing))

    assert thing_of(frame) == thing
    assert frame_of(thing).isprintable()


@pytest.mark.parametrize(
    ("thing", "line"),
    [
        (Message("news", 1, "ana", "hello", NOON), "12:05 [news] ana  hello"),
        (Message("here", 1, "ana", "one\ntwo", NOON), "12:05 ana  one\n      two"),
        (Message("@omar", 1, "ana", [1], NOON), "12:05 [to you] ana  [1]"),
        (Message("here", 1, "ana", "x", NOON - timedelta(days=400)), None),
        (Gap("news", 2, 4, "expired"), "· news: messages 2 to 4 are gone: expired"),
        (Gap("news", 2, 2, "seen"), "· news: message 2 is gone: seen on another device"),
        (Invited("news", "ana"), "· ana invited you to news"),
        (Removed("news"), "· you are no member of news any more"),
    ],
)
def test_what_came_is_told_in_words(thing: Thing, line: str | None) -> None:
    shown = PLAIN.thing(thing, "omar", "here")

    assert shown == line if line else shown.startswith((NOON - timedelta(days=400)).strftime("%Y-%m-%d"))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environ", "colours"),
    [
        (Terminal(), {"TERM": "xterm"}, True),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {"TERM": "xterm"}, False),
    ],
)
def test_colours_are_for_terminals_that_want_them(stream: io.StringIO, environ: dict[str, str], colours: bool) -> None:
    assert Paint.for_stream(stream, environ).colours is colours


def test_colours_close_what_they_open() -> None:
    paint = Paint(colours=True, zone=UTC)
    for thing in CAME[:1] + CAME[2:]:
        shown = paint.thing(thing, "ana")
        assert shown.count("\x1b[0m") * 2 == shown.count("\x1b[")
