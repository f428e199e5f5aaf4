"""Where the chat is shown and typed: line by line anywhere, with a prompt and a state line where prompt_toolkit is."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Protocol, TextIO

from recado.terminal.formatting import Paint

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

_UP_AND_CLEAR = "\x1b[1A\x1b[2K"
_CLEAR_LINE = "\r\x1b[2K"


class Screen(Protocol):
    """What the chat needs of a terminal. ``place`` and ``state`` are asked whenever the prompt is drawn."""

    def show(self, text: str) -> None:
        """Put lines above the prompt."""

    def refresh(self) -> None:
        """What stands in the prompt or in the state line has changed."""

    def lines(self) -> AsyncIterator[str]:
        """What is typed, until the input ends."""


class LineScreen:
    """The plain one: output below output. On a terminal it has a prompt, and takes back the line that was sent."""

    def __init__(self, paint: Paint, place: Callable[[], str]) -> None:
        self._paint = paint
        self._place = place
        self._is_terminal = sys.stdin.isatty() and is_capable(sys.stdout)
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()

    def show(self, text: str) -> None:
        print(f"{_CLEAR_LINE}{text}" if self._is_terminal else text, flush=True)
        self.refresh()

    def refresh(self) -> None:
        if self._is_terminal:
            print(f"{_CLEAR_LINE}{self._paint.bold(self._place())}> ", end="", flush=True)

    async def lines(self) -> AsyncIterator[str]:
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._read, args=(loop,), daemon=True).start()
        self.refresh()
        while (line := await self._lines.get()) is not None:
            if self._is_terminal:  # what was typed comes back as a message when it is stored
                print(_UP_AND_CLEAR, end="")
                self.refresh()
            yield line

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        """In a thread: files, pipes and terminals are all read like this. By os.read, which holds no lock at exit."""
        rest = b""
        while data := _read_some():
            *whole, rest = (rest + data).split(b"\n")
            for line in whole:
                asyncio.run_coroutine_threadsafe(self._lines.put(line.decode(errors="replace")), loop).result()
        for last in [rest.decode(errors="replace"), None] if rest else [None]:
            loop.call_soon_threadsafe(self._lines.put_nowait, last)


def _read_some() -> bytes:
    try:
        return os.read(sys.stdin.fileno(), 65536)
    except OSError:  # the terminal has gone
        return b""


class PromptScreen:
    """With prompt_toolkit: what comes scrolls above the line being typed, and the state stands at the bottom."""

    def __init__(self, session: PromptSession[str], place: Callable[[], str], state: Callable[[], str]) -> None:
        self._session = session
        self._place = place
        self._state = state
        self._unshown: list[str] = []

    def show(self, text: str) -> None:
        from prompt_toolkit.application import run_in_terminal

        self._unshown.append(text)
        if len(self._unshown) == 1:  # what comes until then goes with it
            run_in_terminal(self._show_all)

    def _show_all(self) -> None:
        text = "".join(f"{line}\n" for line in self._unshown)
        self._unshown.clear()
        sys.stdout.write(text)
        sys.stdout.flush()

    def refresh(self) -> None:
        self._session.app.invalidate()

    async def lines(self) -> AsyncIterator[str]:
        from prompt_toolkit.formatted_text import ANSI

        # Raw also between two prompts, where the terminal would echo what is typed or pasted meanwhile.
        with self._session.app.input.raw_mode():
            while True:
                try:
                    yield await self._session.prompt_async(
                        lambda: ANSI(f"\x1b[1m{self._place()}\x1b[0m> "),
                        bottom_toolbar=lambda: ANSI(self._state()),
                        refresh_interval=0.5,
                    )
                except (EOFError, KeyboardInterrupt):
                    return


def is_capable(stream: TextIO) -> bool:
    """Whether escape sequences are obeyed there."""
    return stream.isatty() and os.environ.get("TERM") not in (None, "", "dumb")


def make_screen(paint: Paint, place: Callable[[], str], state: Callable[[], str], words: list[str]) -> Screen:
    """The best screen that there is here."""
    if sys.stdin.isatty() and is_capable(sys.stdout):
        try:
            return PromptScreen(_session(words), place, state)
        except ImportError:  # the extra "terminal" is not installed
            pass
    return LineScreen(paint, place)


def _session(words: list[str]) -> PromptSession[str]:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import WordCompleter
    from prompt_toolkit.styles import Style

    # What was typed comes back as a message when it is stored: until then it is nowhere.
    return PromptSession(
        erase_when_done=True, completer=WordCompleter(words, sentence=True), complete_while_typing=False,
        style=Style.from_dict({"bottom-toolbar": "noreverse bg:ansibrightblack fg:ansiwhite"}),
    )  # fmt: skip
