#!/usr/bin/env python3
"""Print, per user, a token and the ready line for wscat: ``scripts/gen_tokens.py [--days 1] USER…``."""

import sys
from pathlib import Path


def main() -> int:
    # Started by its path, it does not see the packages beside its own directory.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from recado.terminal.commands import main as recado

    return recado(["token", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
