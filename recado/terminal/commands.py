"""The subcommands: their options, and what each is run by."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from messaging.errors import RecadoError
from messaging.runtime.plain_text import speak_plainly
from messaging.settings.settings import SettingsError
from messaging.store.migrations import MigrationError
from messaging.store.start import NotDurable
from recado.client import ClientError
from recado.terminal import export, platforms, publish, restored, tail, tokens
from recado.terminal.access import Mistake
from recado.terminal.chat import chat
from recado.terminal.doctor import doctor
from recado.terminal.rest import Unreachable
from standalone.postgres import PostgresError

Runner = Callable[[argparse.Namespace], Coroutine[Any, Any, int]]

_EXPECTED = (SettingsError, MigrationError, NotDurable, PostgresError, RecadoError, ClientError, Unreachable, Mistake)
INTERRUPTED = 130  # as shells say it: 128 and the signal's number


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="recado", description="A message left for someone who is not there.",
        epilog="Without a command: up. Settings come from the environment.",
    )  # fmt: skip
    commands = parser.add_subparsers(metavar="COMMAND", dest="command")
    commands.add_parser("up", help="start the server: database, WebSocket, REST, all in one process")
    _add(commands, "token", tokens.add_options, tokens.run, "print a token, or a login link")
    _add(commands, "topics", publish.add_topics_options, publish.run_topics, "list somebody's topics")
    _add(commands, "publish", publish.add_publish_options, publish.run_publish, "publish one message")
    _add(commands, "tail", tail.add_options, tail.run, "print messages as they come")
    _add(commands, "export", export.add_options, export.run, "write a topic's messages to a file")
    _add(commands, "chat", chat.add_options, chat.run, "talk")
    _add(commands, "platforms", platforms.add_platforms_options, platforms.run, "chat platforms: how they fare")
    _add(commands, "bridges", platforms.add_bridges_options, platforms.run, "all other systems: how they fare")
    _add(commands, "doctor", doctor.add_options, doctor.run, "find out what is wrong, and what to do")
    _add(commands, "restored", restored.add_options, restored.run, "say that the database was restored")
    return parser


def _add(
    commands: Any, name: str, add_options: Callable[[argparse.ArgumentParser], None], run: Runner, text: str
) -> None:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    add_options(parser)
    parser.set_defaults(run=run)


async def outcome(options: argparse.Namespace) -> int:
    """Run a subcommand to its end; its exit code. What went wrong is told in one line on stderr."""
    run: Runner = options.run
    try:
        return await run(options)
    except _EXPECTED as exc:
        print(f"recado: {exc}", file=sys.stderr)
        return 1


def run_command(options: argparse.Namespace) -> int:
    """The same as a process of its own, which signals and closed pipes end."""
    speak_plainly()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return asyncio.run(outcome(options))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return INTERRUPTED
    except BrokenPipeError:
        return _hushed()


def _hushed() -> int:
    """Nobody reads the output any more: what is still buffered goes nowhere, in silence."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def main(arguments: Sequence[str]) -> int | None:
    """The exit code of a subcommand; None where it is the server that is asked for."""
    options = make_parser().parse_args(arguments)
    return None if options.command in (None, "up") else run_command(options)
