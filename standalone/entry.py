"""What `recado` finds of the server by the entry point `recado.commands`: the start, subcommands, tokens signed here.

Its protocol is `recado.terminal.server.Server`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from messaging.auth.tokens import Tokens
from messaging.errors import RecadoError
from messaging.settings.settings import Settings, SettingsError
from messaging.store.migrations import MigrationError
from messaging.store.start import NotDurable
from recado.terminal.doctor.doctor import add_options as add_doctor_options
from recado.terminal.server import Command, Mistake, Sign
from standalone import restored
from standalone.doctor import doctor
from standalone.postgres import PostgresError
from standalone.secret import secret_here

Run = Callable[[argparse.Namespace], Coroutine[Any, Any, int]]


def up() -> None:
    from messaging.runtime.process import run_process  # with every door, which no other command needs
    from standalone.up import up as run

    run_process("recado", run, Settings.from_environ, (PostgresError,))


def commands() -> list[Command]:
    return [
        Command("doctor", "find out what is wrong, and what to do", add_doctor_options, _told(doctor.run)),
        Command("restored", "say that the database was restored", restored.add_options, _told(restored.run)),
    ]


def signer(environ: Mapping[str, str], *, elsewhere: bool) -> Sign | None:
    with _mistakes():
        settings = Settings.from_environ(environ)
    secret = settings.jwt_secret or ("" if elsewhere else secret_here(settings))

    def sign(user: str, lifetime: float) -> str:
        with _mistakes():
            return Tokens(secret).issue(user, lifetime)[0]

    return sign if secret else None


def _told(run: Run) -> Run:
    async def run_and_tell(options: argparse.Namespace) -> int:
        with _mistakes():
            return await run(options)

    return run_and_tell


@contextmanager
def _mistakes() -> Iterator[None]:
    """The server's own errors, as the terminal tells them."""
    try:
        yield
    except (SettingsError, MigrationError, NotDurable, PostgresError, RecadoError) as exc:
        raise Mistake(str(exc)) from exc
