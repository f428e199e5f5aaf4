"""The one command. Without a subcommand, `python -m recado` starts a database if need be, and every door."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run a subcommand, or the server until it is to stop; a failure is one line that says what to do."""
    # Python's own way to end in the middle of an import is a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from recado.terminal.commands import main as run_terminal

    sys.exit(run_terminal(sys.argv[1:]))


if __name__ == "__main__":
    main()
