"""The chat as people see it: driven by keys, read from the screen, in terminals of tmux."""

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from terminal_support import ROOT, Server, soon

from conftest import needs
from support.waiting import until

pytest_plugins = ["terminal_support"]


class Tmux:
    """Terminals on a server of this test's own."""

    def __init__(self, program: str, name: str) -> None:
        self._command = [program, "-L", name, "-f", os.devnull]

    async def run(self, *arguments: str) -> None:
        """The first one leaves a server behind, which would keep a pipe open: so there is none."""
        process = await asyncio.create_subprocess_exec(
            *self._command, *arguments, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        await soon(process.wait())

    async def ask(self, *arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *self._command, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        out, _ = await soon(process.communicate())
        return out.decode()


class Person:
    """Somebody at a terminal."""

    def __init__(self, tmux: Tmux, name: str) -> None:
        self._tmux = tmux
        self.name = name

    async def start(self, server: Server, *arguments: str, **environ: str) -> None:
        chat = [sys.executable, "-m", "recado", "chat", "--as", self.name, *arguments]
        wanted = {name: server.environ[name] for name in ("DATA_DIR", "WS_PORT", "API_PORT")} | environ
        line = ["env", *(f"{name}={value}" for name, value in wanted.items()), *chat]
        await self._tmux.run(
            "new-session", "-d", "-x", "100", "-y", "40", "-s", self.name, "-c", str(ROOT), shlex.join(line)
        )

    async def type(self, text: str) -> None:
        await self._tmux.run("send-keys", "-t", self.name, "-l", text)
        await self._tmux.run("send-keys", "-t", self.name, "Enter")

    async def screen(self) -> str:
        return await self._tmux.ask("capture-pane", "-p", "-t", self.name, "-S", "-")

    async def sees(self, *texts: str) -> None:
        async def seen() -> bool:
            screen = await self.screen()
            return all(text in screen for text in texts)

        try:
            await until(seen)
        except TimeoutError:
            pytest.fail(f"{self.name} does not see {texts}:\n{await self.screen()}", pytrace=False)

    async def has_left(self) -> None:
        async def left() -> bool:
            return f"{self.name}:" not in await self._tmux.ask("list-sessions")

        await until(left)


@pytest.fixture
async def tmux() -> AsyncIterator[Tmux]:
    if find_spec("prompt_toolkit") is None:
        needs("the Python package prompt_toolkit")
    tmux = Tmux(needs("tmux"), f"recado-test-{os.getpid()}")
    yield tmux
    await tmux.run("kill-server")


@pytest.fixture
def without_prompt_toolkit(tmp_path: Path) -> dict[str, str]:
    """Where the extra `terminal` is not installed."""
    (tmp_path / "prompt_toolkit.py").write_text("raise ImportError('not installed')\n")
    return {"PYTHONPATH": str(tmp_path)}


async def test_two_people_talk_across_a_crash_of_the_server(
    server: Server, tmux: Tmux, without_prompt_toolkit: dict[str, str]
) -> None:
    lola, beto = Person(tmux, "lola"), Person(tmux, "beto")
    await lola.start(server, "general")
    await beto.start(server, "general", **without_prompt_toolkit)
    await lola.sees("── general ──", "lola · connected")
    await beto.sees("── general ──", "general>")

    await lola.type("words-before from lola")
    await beto.type("words-before from beto")
    for person in (lola, beto):
        await person.sees("lola  words-before from lola", "beto  words-before from beto")

    await server.stop(signal.SIGKILL)
    for person in (lola, beto):
        await person.sees("no connection", "what you type waits")
        await person.type(f"words-offline from {person.name}")
    await lola.sees("1 not sent yet")
    await server.start()
    for person in (lola, beto):
        await person.sees("connected again", "words-offline from lola", "words-offline from beto")

    await lola.type("words-after from lola")
    await beto.type("words-after from beto")
    await lola.sees("words-after from lola", "words-after from beto", "lola · connected")
    await beto.sees("words-after from lola", "words-after from beto")
    for person in (lola, beto):
        screen = await person.screen()
        for when in ("before", "offline", "after"):
            for name in ("lola", "beto"):
                assert screen.count(f"words-{when} from {name}") == 1, screen

    await lola.type("/quit")
    await beto.type("/q")
    await lola.has_left()
    await beto.has_left()


async def test_what_was_said_before_is_shown_once_and_in_order(server: Server, tmux: Tmux) -> None:
    await server.run("token", "pepa")
    for number in range(3):
        await server.run("publish", "general", f"earlier-{number}")
    pepa = Person(tmux, "pepa")
    await pepa.start(server, "general")
    await pepa.sees("earlier-2", "pepa · connected")
    await server.run("publish", "general", "later-3")
    await pepa.sees("later-3")
    await pepa.type("/quit")
    await pepa.has_left()
    await server.run("publish", "general", "meanwhile-4")
    await pepa.start(server, "general")
    await pepa.sees("meanwhile-4")

    screen = await pepa.screen()
    said = ["earlier-0", "earlier-1", "earlier-2", "later-3", "meanwhile-4"]
    places = [screen.index(text) for text in said]
    assert places == sorted(places)
    assert [screen.count(text) for text in said] == [1] * 5
    await pepa.type("/quit")
    await pepa.has_left()


async def test_commands_at_the_keys(server: Server, tmux: Tmux) -> None:
    await server.run("token", "tito")
    nora = Person(tmux, "nora")
    tito = Person(tmux, "tito")
    await nora.start(server)
    await tito.start(server)
    await nora.sees("You belong to no topic yet", "nora · connected")
    await tito.sees("You belong to no topic yet", "tito · connected")  # an invitation is told to who is there
    await nora.type("hello?")
    await nora.sees("You are in no topic")
    await nora.type("/join garden/roses")
    await nora.sees("Topic not found", "/new garden/roses makes it")
    await nora.type("/new garden/roses private")
    await nora.sees("── garden/roses ──", "garden/roses>")
    await nora.type("/invite nobody.here")
    await nora.sees("User not found")
    await nora.type("/invite tito")
    await nora.sees("tito is a member of garden/roses now")
    await tito.sees("nora invited you to garden/roses")
    await server.run("publish", "garden/roses", "the \x1b[31mred ones\x1b[2J")
    await tito.sees("[garden/roses] api  the \\u001b[31mred ones\\u001b[2J")
    await tito.type("/join garden/roses")
    await tito.type("/who")
    await tito.sees("garden/roses: nora, tito")
    await tito.type("/dm nora only for you")
    await nora.sees("[to you] tito  only for you")
    await tito.sees("[@nora] tito  only for you")
    await tito.type("/dm nora")
    await tito.sees("@nora>")
    await nora.type("/dm tito and back")
    await tito.sees(" nora  and back")
    await tito.type("/leave garden/roses")
    await tito.sees("you have left garden/roses")
    await tito.type("/topics")
    await tito.sees("your inbox")
    for person in (nora, tito):
        await person.type("/quit")
        await person.has_left()
