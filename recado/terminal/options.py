"""Options that several subcommands have."""

from __future__ import annotations

import argparse
from datetime import datetime


def add_server(parser: argparse.ArgumentParser) -> None:
    """Which server; without them the settings of the environment say it."""
    group = parser.add_argument_group("server")
    group.add_argument("--api", metavar="URL", help="the HTTP door (default: API_HOST, API_PORT, PUBLIC_API_URL)")
    group.add_argument("--ws", metavar="URL", help="the WebSocket door (default: WS_HOST, WS_PORT, PUBLIC_WS_URL)")
    group.add_argument("--key", metavar="KEY", help="the API key, where AUTH_MODE=key (default: API_KEY)")


def add_user(parser: argparse.ArgumentParser, *names: str, text: str = "who speaks") -> None:
    parser.add_argument(
        *(names or ("--as",)), dest="user", metavar="USER", help=f"{text} (default: whom RECADO_TOKEN names)"
    )


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("a whole number from 1 on")
    return number


def moment(text: str) -> datetime:
    """A point in time; one without a zone is this machine's."""
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 2026-05-01 or 2026-05-01T12:30+02:00") from None
