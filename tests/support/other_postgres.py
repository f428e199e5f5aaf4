"""RECADO_TEST_POSTGRES=/path/to/pgsql: what tests start themselves runs on the PostgreSQL there, not the embedded one.

Its `bin` holds postgres and initdb (and psql, or the embedded one's is taken). Programs that tests start bring theirs.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from standalone.postgres import binaries, options, server
from support.places import make_folder

PGSQL = os.environ.get("RECADO_TEST_POSTGRES")


def use_it() -> None:
    """From here on, in this process."""
    if PGSQL is None:
        return
    said = subprocess.run([f"{PGSQL}/bin/postgres", "--version"], capture_output=True, text=True).stdout
    if not (found := re.search(r"\d+(\.\d+)?", said)):
        raise pytest.UsageError(f"RECADO_TEST_POSTGRES: there is no bin/postgres in {PGSQL}")
    version, embedded = found[0], binaries.package()
    assert embedded is not None
    package = make_folder(prefix="recado-postgres-")
    atexit.register(shutil.rmtree, package, ignore_errors=True)
    binaries.programs(package).mkdir(parents=True)
    for program in ("postgres", "initdb", "psql"):  # each finds its libraries from where it really is
        there = Path(PGSQL, "bin", program)
        binaries.programs(package).joinpath(program).symlink_to(
            there if there.exists() else binaries.programs(embedded) / program
        )
    binaries.package = lambda: package
    binaries.version = lambda: version
    if float(version) < 17:  # before it, there was no provider but libc
        starting: Any = server
        starting.INITDB_OPTIONS = tuple(word for word in options.INITDB_OPTIONS if "builtin" not in word)
