"""A PostgreSQL of one test file's own, to be misconfigured and killed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from messaging.store.migrations import migrate
from standalone.postgres import EmbeddedPostgres
from support.log import run, value
from support.places import folder
from support.waiting import until

_CHECKPOINTER = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'"


class Spare:
    """A server with databases of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.postgres = EmbeddedPostgres(root / "data")
        self.dsn = ""
        self._count = 0

    async def start(self) -> None:
        self.dsn = await self.postgres.start()

    async def database(self) -> str:
        """The DSN of a fresh, migrated database."""
        self._count += 1
        await run(self.dsn, f"CREATE DATABASE spare_{self._count}")
        parts = urlsplit(self.dsn)
        dsn = parts._replace(path=f"/spare_{self._count}").geturl()
        await migrate(dsn)
        return dsn

    async def set(self, name: str, setting: str) -> None:
        """Change a setting that needs no restart, for every connection from here on."""
        await run(self.dsn, f"ALTER SYSTEM SET {name} = '{setting}'")
        await run(self.dsn, "SELECT pg_reload_conf()")
        await until(lambda: value(self.dsn, "SELECT current_setting($1) = $2", name, setting))

    async def kill(self, pid: int) -> None:
        """Kill one of its processes: the server ends all others, and recovers. Returns when it has."""
        before = await value(self.dsn, _CHECKPOINTER)
        os.kill(pid, signal.SIGKILL)

        async def recovered() -> bool:
            try:
                return bool(await value(self.dsn, _CHECKPOINTER) != before)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                return False

        await until(recovered)

    async def crash(self) -> None:
        """Kill the server and all its processes at once, like a machine whose power goes; then start it again."""
        pids = await self._pids()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        await self.postgres.wait()
        await self.start()

    async def end(self) -> None:
        """Stop, whatever it is at."""
        try:
            async with asyncio.timeout(20):
                await self.postgres.stop()
        except TimeoutError:  # PostgreSQL 18 never ends where it is asked to during the recovery from a crash
            os.kill((await self._pids())[0], signal.SIGQUIT)
            await self.postgres.stop()

    async def _pids(self) -> list[int]:
        pid_file = self.root / "data" / "pg" / "postmaster.pid"
        postmaster = int(pid_file.read_text().splitlines()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children")
        others = [int(pid) for pid in children.read_text().split()] if children.exists() else []
        return [postmaster, *others]


@asynccontextmanager
async def spare_postgres() -> AsyncIterator[Spare]:
    with folder() as root:
        spare = Spare(root)
        try:
            await spare.start()
            yield spare
        finally:
            await spare.end()
