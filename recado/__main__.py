"""The one command: `python -m recado` starts a database if need be, and every door, in one process."""

from __future__ import annotations

import logging
import os
import sys

import uvloop

from messaging.errors import RecadoError
from messaging.migrations import MigrationError
from messaging.settings import Settings, SettingsError
from messaging.store import NotDurable
from recado.errors import PostgresError
from recado.up import up


def main() -> None:
    """Run until SIGINT or SIGTERM. Exit code 1 where the start fails, with one line that says what to do."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = Settings.from_environ(os.environ)
        uvloop.run(up(settings))
    except (SettingsError, PostgresError, NotDurable, MigrationError, RecadoError, OSError) as exc:
        sys.exit(f"recado: {exc}")


if __name__ == "__main__":
    main()
