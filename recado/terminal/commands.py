"""The subcommands: their options, and what each is run by."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence

from recado import __version__
from recado.client import ClientError
from recado.terminal import export, platforms, publish, tail, tokens
from recado.terminal.chat import chat
from recado.terminal.doctor import doctor
from recado.terminal.plain_text import speak_plainly
from recado.terminal.rest import Unreachable
from recado.terminal.server import MISSING, Command, Mistake, find_server

_EXPECTED = (ClientError, Unreachable, Mistake)
INTERRUPTED = 130  # as shells say it: 128 and the signal's number


def make_parser() -> argparse.ArgumentParser:
    server = find_server()
    parser = argparse.ArgumentParser(
        prog="recado", description="A message left for someone who is not there.",
        epilog=f"{'' if server is None else 'Without a command: up. '}Settings come from the environment.",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"recado {__version__}")
    parser.set_defaults(run=_missing)
    subparsers = parser.add_subparsers(metavar="COMMAND", dest="command")
    table = {each.name: each for each in client_commands()}
    if server is not None:
        subparsers.add_parser("up", help="start the server: database, WebSocket, REST, all in one process")
        table |= {each.name: each for each in server.commands()}
    else:
        for name in ("up", "restored"):  # not in the help, but told where the server is to be had
            subparsers.add_parser(name)
    for command in table.values():
        text = command.text[0].upper() + command.text[1:] + "."
        subparser = subparsers.add_parser(command.name, help=command.text, description=text)
        command.add_options(subparser)
        subparser.set_defaults(run=command.run)
    return parser


def client_commands() -> list[Command]:
    return [
        Command("token", "print a token, or a login link", tokens.add_options, tokens.run),
        Command("topics", "list somebody's topics", publish.add_topics_options, publish.run_topics),
        Command("publish", "publish one message", publish.add_publish_options, publish.run_publish),
        Command("tail", "print messages as they come", tail.add_options, tail.run),
        Command("export", "write a topic's messages to a file", export.add_options, export.run),
        Command("chat", "talk", chat.add_options, chat.run),
        Command("platforms", "chat platforms: how they fare", platforms.add_platforms_options, platforms.run),
        Command("bridges", "all other systems: how they fare", platforms.add_bridges_options, platforms.run),
        Command("doctor", "find out what is wrong with a server's doors", doctor.add_options, doctor.run),
    ]


async def _missing(_: argparse.Namespace) -> int:
    raise Mistake(MISSING)


async def outcome(options: argparse.Namespace) -> int:
    """Run a subcommand to its end; its exit code. What went wrong is told in one line on stderr."""
    try:
        code: int = await options.run(options)
        return code
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


def main(arguments: Sequence[str]) -> int:
    """Run a subcommand, or the server; its exit code."""
    try:
        options = make_parser().parse_args(arguments)
    except Mistake as exc:  # a server that can't be loaded
        print(f"recado: {exc}", file=sys.stderr)
        return 1
    if options.command in (None, "up") and (server := find_server()) is not None:
        server.up()
        return 0
    return run_command(options)
