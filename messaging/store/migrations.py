"""Bring a database to the version of this program: schema and functions have one number, which only ever rises.

Each file of the schema is applied once, in order; the functions (sql/functions*.sql) all anew when any has changed. It
happens in one transaction, under a lock on the table that says what was applied, which nobody without grants can take.
"""

from __future__ import annotations

import hashlib
import logging

from messaging.errors import StatementFailed
from messaging.settings.settings import SettingsError
from messaging.store.pool import Connection, our_errors
from messaging.store.queries import function_paths, load_queries, migration_paths, read_sql, sql_version
from messaging.store.start import START_SECONDS, check_fitness, in_one_line, patiently, starting

log = logging.getLogger(__name__)

VERSION = "version"  # a row beside those of the files. To programs that know of no number it is an unknown file
_NOT_REPLACED = ("42P13", "42809")  # another result, other names of arguments; another kind of routine


class MigrationError(Exception):
    """The database can't be brought to this version; the text says why and what to do."""


async def migrate(dsn: str, *, unsafe: bool = False, patience: float = START_SECONDS) -> None:
    """Apply what is missing, in one transaction: all of it or nothing. Where nothing is, no lock is waited for.

    Cancelling is safe, at any time. ``patience``: seconds in which it is tried again while the database is away, or
    somebody holds a lock.

    Raises:
        SettingsError: the database can't be reached, or is not fit.
        NotDurable: it may lose what it has committed, and ``unsafe`` does not allow that.
        MigrationError: it belongs to a newer Recado, an applied file has changed since, or a file can't be applied.
    """
    await patiently(lambda: _migrate(dsn, unsafe), "the start", patience)


async def _migrate(dsn: str, unsafe: bool) -> None:
    try:
        async with starting(dsn) as connection:
            await check_fitness(connection, unsafe=unsafe)
            if _missing(await applied(connection)):
                await _apply_all(connection)
            if barred := await connection.fetchval(load_queries()["tables_barred"]):
                raise SettingsError(f"DATABASE_URL: its role may not read and write {barred}. Its owner may.")
    except StatementFailed as exc:
        advice = ""
        if exc.sqlstate == "42501":
            advice = (
                " Its role needs CREATE on the database (GRANT CREATE ON DATABASE … TO …) for the first start, and to"
                " own the schema recado for every later version; or a role that does runs: python -m messaging"
            )
        said = in_one_line(exc)
        raise MigrationError(f"DATABASE_URL: PostgreSQL refuses to make what is missing: {said}.{advice}") from exc


async def applied(connection: Connection) -> dict[str, str]:
    """The checksums of the files that were applied, and the version. Empty where nothing ever was."""
    queries = load_queries()
    if not await connection.fetchval(queries["migration_table_is_there"]):
        return {}
    return {row["name"]: row["checksum"] for row in await connection.fetch(queries["migrations_applied"])}


def shipped() -> dict[str, str]:
    """What `applied` tells of a database that is of this version."""
    paths = [*migration_paths(), *function_paths()]
    checksums = {path: hashlib.sha256(read_sql(path).encode()).hexdigest() for path in paths}
    return {**checksums, VERSION: str(sql_version())}


def _missing(found: dict[str, str]) -> list[str]:
    """What is to be applied, in order. Raises MigrationError."""
    ours = shipped()
    theirs = int(found.get(VERSION, "0"))
    strange = sorted(name for name in found.keys() - ours.keys() if name.startswith("migrations/"))
    if theirs > sql_version() or strange:
        by = strange[-1] if strange else f"version {theirs} of schema and functions; this program has {sql_version()}"
        raise MigrationError(f"DATABASE_URL: this database was used by a newer Recado (it has {by}). Start that one.")
    for path in migration_paths():
        if found.get(path, ours[path]) != ours[path]:
            raise MigrationError(
                f"sql/{path} has changed since it was applied. Put it back; changes go into new files in"
                " sql/migrations/."
            )
    missing = [path for path in migration_paths() if path not in found]
    if any(found.get(name) != ours[name] for name in (*function_paths(), VERSION)):
        missing += function_paths()
    return missing


async def _apply_all(connection: Connection) -> None:
    queries, ours = load_queries(), shipped()
    if not await connection.fetchval(queries["migration_table_is_there"]):
        await connection.execute(queries["migration_schema"])
        await connection.execute(queries["migration_table"])
    await connection.execute(queries["migration_lock"])
    missing = _missing(await applied(connection))  # once more: whoever had the lock before us may have done it
    if not missing:
        return
    before = await connection.fetchrow(queries["functions_before"])
    assert before is not None
    await _apply(connection, [path for path in missing if path in migration_paths()])
    await _make_functions(connection, before["oids"], before["row_versions"])
    await _do_all(connection, "function_grants_kept", before["oids"], before["signatures"], before["grants"])
    await connection.execute(queries["migration_done"], VERSION, ours[VERSION])


async def _make_functions(connection: Connection, oids: list[int], row_versions: list[str]) -> None:
    """Replaced in place, as nodes call them meanwhile; all made again where PostgreSQL can't replace one of them."""
    in_place = connection.transaction()
    await in_place.start()
    try:
        with our_errors():
            await _apply(connection, function_paths())
    except StatementFailed as exc:
        if exc.sqlstate not in _NOT_REPLACED:
            raise
        await in_place.rollback()
        await _do_all(connection, "functions_not_made_drop", oids, row_versions)
        await _apply(connection, function_paths())
    else:
        await in_place.commit()
        await _do_all(connection, "functions_not_made_drop", oids, row_versions)


async def _apply(connection: Connection, paths: list[str]) -> None:
    ours = shipped()
    for path in paths:
        log.info("applying sql/%s", path)
        await connection.execute(read_sql(path))
        await connection.execute(load_queries()["migration_done"], path, ours[path])


async def _do_all(connection: Connection, query: str, *arguments: object) -> None:
    """The statements that a query makes."""
    for row in await connection.fetch(load_queries()[query], *arguments):
        await connection.execute(row["statement"])
