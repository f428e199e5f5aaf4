"""What of the server is here: its subcommands and its signing key, found by an entry point; nothing is imported."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Protocol, cast

GROUP = "recado.commands"
INSTALL = "pip install recado-server"
MISSING = f"The server is not installed here. Install it with: {INSTALL}"

Sign = Callable[[str, float], str]  # a user, and seconds: a token. Raises Mistake.


class Mistake(Exception):
    """What was asked for can't be done like that; the text says how it can."""


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand. What it can't do it tells by Mistake, or by what the client raises."""

    name: str
    text: str
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], Coroutine[Any, Any, int]]


class Server(Protocol):
    """What the entry point names. Of the same version as this package, which it is installed with."""

    def up(self) -> None:
        """Start the server, and run until it is to stop."""

    def commands(self) -> Sequence[Command]:
        """Those that only a node has; one of a name that is here does more than the one here."""

    def signer(self, environ: Mapping[str, str], *, elsewhere: bool) -> Sign | None:
        """What signs with the key that is kept here. ``elsewhere``: for another server, unless JWT_SECRET gives its
        key. None where there is no key. Raises Mistake.
        """


@cache
def find_server() -> Server | None:
    """None where only the client is installed."""
    for entry in (*entry_points(group=GROUP), *_in_checkout()):
        try:
            return cast(Server, entry.load())
        except Exception as exc:  # whatever somebody's half of an installation raises
            raise Mistake(f"The server here can't be loaded ({exc!r}). Install it anew: {INSTALL}") from exc
    return None


def _in_checkout() -> Iterator[EntryPoint]:
    """In a checkout nothing is installed; what the metadata would say stands in its pyproject.toml."""
    path = Path(__file__).resolve().parents[2] / "pyproject.toml"
    if path.exists():
        with suppress(tomllib.TOMLDecodeError, UnicodeDecodeError):
            project = tomllib.loads(path.read_text()).get("project", {})
            if project.get("name") == "recado-server":
                for name, value in project.get("entry-points", {}).get(GROUP, {}).items():
                    yield EntryPoint(name, value, GROUP)
