"""Migrations: each file once, in order, all or nothing, one runner at a time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import asyncpg
import pytest

from log_support import connected, rows, run, value, waits_for_lock
from messaging import migrations
from messaging.migrations import MigrationError, migrate
from messaging.queries import function_paths, migration_paths, read_sql

_numbers = itertools.count(1)


@pytest.fixture
async def empty(postgres_dsn: str) -> AsyncIterator[str]:
    """A database in which nothing is."""
    name = f"empty_{next(_numbers)}"
    await run(postgres_dsn, f"CREATE DATABASE {name}")
    yield postgres_dsn.replace("/recado?", f"/{name}?")
    await run(postgres_dsn, f"DROP DATABASE {name} WITH (FORCE)")


async def applied(dsn: str) -> list[tuple[str, str, object]]:
    return await rows(dsn, "SELECT name, checksum, applied_at FROM recado.migrations ORDER BY applied_at, name")  # type: ignore[return-value]


async def test_five_runners_at_once(empty: str) -> None:
    """On an empty database: every file is applied once, nobody fails."""
    await asyncio.gather(*(migrate(empty) for _ in range(5)))
    assert {name for name, _, _ in await applied(empty)} == {*migration_paths(), *function_paths()}
    assert await value(empty, "SELECT count(*) FROM recado.topics WHERE name = 'general'") == 1


async def test_a_runner_waits_for_the_one_before(empty: str) -> None:
    """For its end, whatever it has done by then: what it applied is not applied again."""
    async with connected(empty) as other:
        transaction = other.transaction()
        await transaction.start()
        await other.execute("SELECT pg_advisory_xact_lock($1)", migrations._LOCK)
        second = asyncio.create_task(migrate(empty))
        await waits_for_lock(empty, "SELECT pg_advisory_xact_lock")
        await migrations._apply_all(other)
        await transaction.commit()
        await second
    assert len(await applied(empty)) == len(migration_paths()) + len(function_paths())


async def test_the_second_time_nothing_happens(empty: str) -> None:
    await migrate(empty)
    before = await applied(empty)
    await run(empty, "DELETE FROM recado.heads; DELETE FROM recado.topics")
    await migrate(empty)
    assert await applied(empty) == before
    assert await value(empty, "SELECT count(*) FROM recado.topics") == 0


async def test_an_applied_file_that_has_changed_is_an_error(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await migrate(empty)
    before = await applied(empty)
    for path in migration_paths():
        monkeypatch.setattr(migrations, "read_sql", lambda p, path=path: read_sql(p) + ("\n-- x" if p == path else ""))
        with pytest.raises(MigrationError, match=f"{path} has changed"):
            await migrate(empty)
    assert await applied(empty) == before


async def test_a_database_of_a_newer_version_is_an_error(empty: str) -> None:
    await migrate(empty)
    await run(empty, "INSERT INTO recado.migrations (name, checksum) VALUES ('migrations/9999_later.sql', 'x')")
    before = await applied(empty)
    with pytest.raises(MigrationError, match=r"newer Recado .*9999_later\.sql"):
        await migrate(empty)
    assert await applied(empty) == before


async def test_functions_are_applied_again_when_they_have_changed(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And only then."""
    await migrate(empty)
    await run(empty, "CREATE OR REPLACE FUNCTION recado.know(names text[]) RETURNS void LANGUAGE sql AS ''")
    await migrate(empty)
    assert await value(empty, "SELECT prosrc FROM pg_proc WHERE proname = 'know'") == ""
    checksums = {name: checksum for name, checksum, _ in await applied(empty)}

    def changed(path: str) -> str:
        return read_sql(path) + ("\n-- changed" if path == "functions.sql" else "")

    monkeypatch.setattr(migrations, "read_sql", changed)
    await migrate(empty)
    assert "INSERT INTO recado.users" in await value(empty, "SELECT prosrc FROM pg_proc WHERE proname = 'know'")
    after = {name: checksum for name, checksum, _ in await applied(empty)}
    assert after.pop("functions.sql") != checksums.pop("functions.sql")
    assert after == checksums


async def test_a_file_that_fails_leaves_nothing_behind(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it or nothing: also what came before the failure."""
    monkeypatch.setattr(migrations, "migration_paths", lambda: [*migration_paths(), "migrations/bad.sql"])
    monkeypatch.setattr(
        migrations,
        "read_sql",
        lambda path: "CREATE TABLE recado.half (); SELECT 1/0" if path.endswith("bad.sql") else read_sql(path),
    )
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(empty)
    assert await value(empty, "SELECT to_regnamespace('recado')") is None
    monkeypatch.undo()
    await migrate(empty)
    assert await value(empty, "SELECT to_regclass('recado.half')") is None


async def test_an_application_in_the_same_database_is_left_alone(empty: str) -> None:
    """All of Recado is in a schema of its own."""
    await run(empty, "CREATE TABLE users (a int); CREATE TABLE messages (a int); CREATE TABLE migrations (a int)")
    await migrate(empty)
    schemas = await rows(
        empty,
        "SELECT DISTINCT schemaname || '.' || tablename FROM pg_tables"
        " WHERE schemaname NOT IN ('pg_catalog', 'information_schema', 'recado') ORDER BY 1",
    )
    assert [name for (name,) in schemas] == ["public.messages", "public.migrations", "public.users"]
