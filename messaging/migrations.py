"""Bring a database to the schema of this version: each file once, in order, under a lock.

The functions (sql/functions*.sql) are applied again whenever they change.
"""

from __future__ import annotations

import hashlib
import logging

from messaging.queries import function_paths, load_queries, migration_paths, read_sql
from messaging.store_pool import Connection, connect

log = logging.getLogger(__name__)

_LOCK = 0x5245_4341_444F  # "RECADO": one migration at a time in a database


class MigrationError(Exception):
    """The database can't be brought to this version; the text says why and what to do."""


async def migrate(dsn: str) -> None:
    """Apply what is missing, in one transaction: all of it or nothing.

    Raises:
        MigrationError: the database belongs to a newer Recado, or an applied file has changed since.
        Unavailable: the database can't be reached.
    """
    connection = await connect(dsn)
    try:
        async with connection.transaction():
            await connection.execute(load_queries()["migration_lock"], _LOCK)
            await _apply_all(connection)
    finally:
        await connection.close()


async def _apply_all(connection: Connection) -> None:
    queries = load_queries()
    await connection.execute(queries["migration_schema"])
    await connection.execute(queries["migration_table"])
    rows = await connection.fetch(queries["migrations_applied"])
    applied = {row["name"]: row["checksum"] for row in rows}
    paths, functions = migration_paths(), function_paths()
    if newer := sorted(set(applied) - {*paths, *functions}):
        raise MigrationError(f"This database was used by a newer Recado (it has {newer[-1]}). Start that version.")
    for path in paths:
        await _apply(connection, path, applied, again=False)
    for path in functions:
        await _apply(connection, path, applied, again=True)


async def _apply(connection: Connection, path: str, applied: dict[str, str], *, again: bool) -> None:
    text = read_sql(path)
    checksum = hashlib.sha256(text.encode()).hexdigest()
    if applied.get(path) == checksum:
        return
    if path in applied and not again:
        raise MigrationError(
            f"sql/{path} has changed since it was applied. Put it back; changes go into new files in sql/migrations/."
        )
    log.info("applying sql/%s", path)
    await connection.execute(text)
    await connection.execute(load_queries()["migration_done"], path, checksum)
