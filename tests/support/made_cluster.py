"""A database cluster made once, for servers whose first start is not what is tested: making one takes a second."""

from __future__ import annotations

import asyncio
import atexit
import shutil
from pathlib import Path

from support.other_postgres import PGSQL
from support.places import make_folder

_made: asyncio.Task[Path] | None = None


async def copy_to(data: Path) -> None:
    """Put an empty cluster where ``data`` says, as a start would have made it. Its folder must be there already."""
    global _made
    if PGSQL is not None:  # the server that will run on it is of another version
        return
    if _made is None or (_made.done() and _made.exception() is not None):
        _made = asyncio.create_task(_make())
    source = await asyncio.shield(_made)
    # Its owner is kept: as root, PostgreSQL runs as another user.
    copying = await asyncio.create_subprocess_exec("cp", "-Rp", str(source), str(data))
    assert await copying.wait() == 0


async def _make() -> Path:
    from standalone.postgres import EmbeddedPostgres

    root = make_folder()
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    postgres = EmbeddedPostgres(root / "data")
    await postgres.start()
    await postgres.stop()
    return root / "data"
