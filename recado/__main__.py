"""The one command. Without a subcommand, `python -m recado` starts a database if need be, and every door."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run a subcommand, or the server until it is to stop; a failure is one line that says what to do."""
    # Python's own way to end in the middle of an import is a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.argv[1:]:
        from recado.terminal.commands import main as run_terminal

        code = run_terminal(sys.argv[1:])
        if code is not None:
            sys.exit(code)
    serve()


def serve() -> None:
    # A terminal's subcommands need nothing of the server.
    from messaging.runtime.process import run_process
    from messaging.settings.settings import Settings
    from standalone.postgres import PostgresError
    from standalone.up import up

    run_process("recado", up, Settings.from_environ, (PostgresError,))


if __name__ == "__main__":
    main()
