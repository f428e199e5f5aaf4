"""Migrations: each file once, in order, all or nothing, one runner at a time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest

from messaging.settings.settings import SettingsError
from messaging.store import migrations
from messaging.store import start as store_start
from messaging.store.migrations import VERSION, MigrationError, migrate
from messaging.store.queries import function_paths, migration_paths, read_sql, sql_version
from support.log import connected, rows, run, value, waits_for_lock

_numbers = itertools.count(1)


@pytest.fixture
async def empty(postgres_dsn: str) -> AsyncIterator[str]:
    """A database in which nothing is."""
    name = f"empty_{next(_numbers)}"
    await run(postgres_dsn, f"CREATE DATABASE {name}")
    yield postgres_dsn.replace("/recado?", f"/{name}?")
    await run(postgres_dsn, f"DROP DATABASE {name} WITH (FORCE)")


async def applied(dsn: str) -> list[tuple[str, str, object]]:
    return await rows(dsn, "SELECT name, checksum, applied_at FROM recado.migrations ORDER BY applied_at, name")


async def test_five_runners_at_once(empty: str) -> None:
    """On an empty database: every file is applied once, nobody fails."""
    await asyncio.gather(*(migrate(empty) for _ in range(5)))
    assert {name for name, _, _ in await applied(empty)} == {*migration_paths(), *function_paths(), VERSION}
    assert await value(empty, "SELECT count(*) FROM recado.topics WHERE name = 'general'") == 1


async def test_a_runner_waits_for_the_one_before(empty: str) -> None:
    """For its end, whatever it has done by then: what it applied is not applied again."""
    async with connected(empty) as other:
        transaction = other.transaction()
        await transaction.start()
        await other.execute("CREATE SCHEMA recado")
        second = asyncio.create_task(migrate(empty))
        await waits_for_lock(empty, "CREATE SCHEMA")
        await migrations._apply_all(other)
        await transaction.commit()
        await second
    assert {name for name, _, _ in await applied(empty)} == {*migration_paths(), *function_paths(), VERSION}


async def test_a_runner_whose_schema_is_there_waits_for_the_one_before(
    empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is one of a table of ours, and both would apply the same file."""
    await migrate(empty)
    before = await applied(empty)
    monkeypatch.setattr(migrations, "sql_version", lambda: sql_version() + 1)
    async with connected(empty) as other:
        transaction = other.transaction()
        await transaction.start()
        await migrations._apply_all(other)
        second = asyncio.create_task(migrate(empty))
        await waits_for_lock(empty, "LOCK TABLE recado.migrations")
        await transaction.commit()
        await second
    assert {name for name, _, _ in before} == {name for name, _, _ in await applied(empty)}


async def test_locks_that_anybody_can_take_stop_no_start(empty: str) -> None:
    """Whatever advisory locks a role without a grant holds."""
    async with connected(empty) as other:
        for number in range(8):
            await other.execute("SELECT pg_advisory_lock($1)", 0x5245_4341_444F + number)
        await migrate(empty, patience=0)


async def test_a_start_with_nothing_to_apply_waits_for_no_lock(empty: str) -> None:
    await migrate(empty)
    async with connected(empty) as other, other.transaction():
        await other.execute("LOCK TABLE recado.migrations IN SHARE ROW EXCLUSIVE MODE")
        await migrate(empty, patience=0)


async def test_a_lock_that_is_not_to_be_had_is_waited_for_a_bounded_time_and_said(
    empty: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate(empty)
    monkeypatch.setattr(migrations, "sql_version", lambda: sql_version() + 1)
    monkeypatch.setattr(store_start, "LOCK_TIME", 1.0)
    async with connected(empty) as other, other.transaction():
        await other.execute("LOCK TABLE recado.migrations IN SHARE ROW EXCLUSIVE MODE")
        with pytest.raises(SettingsError, match=r"^DATABASE_URL: .* in vain\. Somebody holds a lock"):
            await migrate(empty, patience=1.5)
        assert "the start waits, and tries again: Somebody holds a lock" in caplog.text


async def test_a_start_that_waits_for_a_lock_is_cancelled_at_once(empty: str) -> None:
    async with connected(empty) as other, other.transaction():
        await other.execute("CREATE SCHEMA recado")
        start = asyncio.create_task(migrate(empty))
        await waits_for_lock(empty, "CREATE SCHEMA")
        start.cancel()
        await asyncio.wait([start])
        assert start.cancelled()


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


async def test_functions_of_a_newer_version_are_never_replaced(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Schema and functions have one number; a program with a lower one leaves all as it is, its own files differ."""
    monkeypatch.setattr(migrations, "sql_version", lambda: sql_version() + 1)
    monkeypatch.setattr(migrations, "read_sql", lambda path: read_sql(path) + " " * path.startswith("functions"))
    await migrate(empty)
    monkeypatch.undo()
    before = await applied(empty)
    with pytest.raises(MigrationError, match=f"newer Recado .*version {sql_version() + 1} .*has {sql_version()}"):
        await migrate(empty)
    assert await applied(empty) == before


async def test_programs_from_before_the_number_take_its_row_for_a_newer_file(empty: str) -> None:
    """They refuse a database with a file that they don't know."""
    await migrate(empty)
    assert {VERSION} == {name for name, _, _ in await applied(empty)} - {*migration_paths(), *function_paths()}


FUNCTIONS = "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'recado'::regnamespace ORDER BY 1"
PUBLISH = "recado.publish(text, text, text, text, integer)"
PUBLISH_JSONB = "recado.publish(text, text, jsonb, text, integer)"


async def may_call(dsn: str, role: str, function: str) -> bool:
    return bool(await value(dsn, "SELECT has_function_privilege($1, $2, 'EXECUTE')", role, function))


async def test_a_new_version_leaves_no_function_that_it_has_not_made(empty: str) -> None:
    """No overload with other arguments, no name that was given up; what depends on one that stays is left alone."""
    await migrate(empty)
    fresh = await rows(empty, FUNCTIONS)
    await run(
        empty,
        "CREATE FUNCTION recado.know(names text[], twice integer) RETURNS void LANGUAGE sql AS '';"
        "CREATE FUNCTION recado.given_up() RETURNS void LANGUAGE sql AS '';"
        "CREATE PROCEDURE recado.given_up_too() LANGUAGE sql AS '';"
        "CREATE FUNCTION sell() RETURNS bigint BEGIN ATOMIC SELECT recado.publish('general', 'shop', '1'::text); END;"
        f"GRANT EXECUTE ON FUNCTION {PUBLISH} TO pg_monitor;"
        "UPDATE recado.migrations SET checksum = '0' WHERE name = 'version'",
    )
    await migrate(empty)
    assert await rows(empty, FUNCTIONS) == fresh
    assert await may_call(empty, "pg_monitor", PUBLISH) and not await may_call(empty, "pg_monitor", PUBLISH_JSONB)


async def test_functions_may_change_their_arguments_and_their_results(empty: str) -> None:
    """From a database where they have others. Who might call them may call what takes their place, and nobody else."""
    await migrate(empty)
    fresh = await rows(empty, FUNCTIONS)
    await run(
        empty,
        # Other arguments; another name of one; another result; other columns of a result; another kind of routine.
        f"DROP FUNCTION {PUBLISH}, recado.is_name, recado.know, recado.intake_waiting, recado.notify;"
        "CREATE FUNCTION recado.publish(topic text, content text) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint';"
        "CREATE FUNCTION recado.is_name(word text) RETURNS boolean LANGUAGE sql AS 'SELECT true';"
        "CREATE FUNCTION recado.know(names text[], as_kind text) RETURNS integer LANGUAGE sql AS 'SELECT 1';"
        "CREATE FUNCTION recado.intake_waiting(most integer, size integer, held bigint[], after text)"
        " RETURNS TABLE (other integer) LANGUAGE sql AS 'SELECT 1';"
        "CREATE PROCEDURE recado.notify(channel text, payload text) LANGUAGE sql AS '';"
        "REVOKE EXECUTE ON FUNCTION recado.publish(text, text), recado.know FROM PUBLIC;"
        "GRANT EXECUTE ON FUNCTION recado.publish(text, text) TO pg_monitor WITH GRANT OPTION;"
        f"GRANT EXECUTE ON FUNCTION recado.know, {PUBLISH_JSONB} TO pg_read_all_data;"
        "UPDATE recado.migrations SET checksum = '0' WHERE name = 'version'",
    )
    await migrate(empty)
    assert await rows(empty, FUNCTIONS) == fresh
    callers = "pg_monitor", "pg_read_all_data", "pg_signal_backend"
    assert [await may_call(empty, role, PUBLISH) for role in callers] == [True, False, False]
    assert [await may_call(empty, role, PUBLISH_JSONB) for role in callers] == [False, True, False]
    assert [await may_call(empty, role, "recado.know(text[], text)") for role in callers] == [False, True, False]
    assert [await may_call(empty, role, "recado.is_name(text)") for role in callers] == [True, True, True]
    may_grant = "SELECT has_function_privilege('pg_monitor', $1, 'EXECUTE WITH GRANT OPTION')"
    assert await value(empty, may_grant, PUBLISH)


async def test_no_function_but_publish_has_an_overload(empty: str) -> None:
    """Which takes text or jsonb. Any other name that is there twice is one left behind."""
    await migrate(empty)
    twice = "SELECT proname FROM pg_proc WHERE pronamespace = 'recado'::regnamespace GROUP BY 1 HAVING count(*) > 1"
    assert await rows(empty, twice) == [("publish",)]


async def test_functions_are_applied_again_when_they_have_changed(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And only then."""
    await migrate(empty)
    await run(
        empty,
        "CREATE OR REPLACE FUNCTION recado.know(names text[], as_kind text DEFAULT 'person')"
        " RETURNS void LANGUAGE sql AS ''",
    )
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
    with pytest.raises(MigrationError, match=r"^DATABASE_URL: .*DivisionByZeroError"):
        await migrate(empty)
    assert await value(empty, "SELECT to_regnamespace('recado')") is None
    monkeypatch.undo()
    await migrate(empty)
    assert await value(empty, "SELECT to_regclass('recado.half')") is None


async def test_what_was_told_by_names_alone_is_kept_in_columns(empty: str) -> None:
    """0010, over what there was before it."""
    paths = migration_paths()
    at = paths.index("migrations/0010_names.sql")
    await run(empty, "CREATE SCHEMA recado;" + "".join(read_sql(path) for path in paths[:at]))
    await run(
        empty,
        """
        INSERT INTO recado.users (name) VALUES ('ana'), ('%bridge/out'), ('%bridge/Fourth'), ('@ana');
        INSERT INTO recado.topics (name, kind, creator)
        SELECT '@' || name, 'direct', name FROM recado.users;
        INSERT INTO recado.topics (name, kind, creator)
        VALUES ('ana', 'public', 'mal'), ('news', 'public', 'mal'), ('shop', 'public', 'publish');
        INSERT INTO recado.memberships (topic_id, user_id, role, joined_seq)
        SELECT t.id, u.id, 'owner', 0 FROM recado.topics AS t JOIN recado.users AS u ON u.name = 'ana'
        WHERE t.name NOT IN ('general', 'shop');
        INSERT INTO recado.platforms (id, inbox, name, style)
        SELECT u.id, t.id, 'Fourth', 'pull' FROM recado.users AS u JOIN recado.topics AS t ON t.creator = u.name
        WHERE u.name LIKE '%Fourth';
        """,
    )
    await run(empty, read_sql(paths[at]))
    kinds = [("%bridge/Fourth", "platform"), ("%bridge/out", "bridge"), ("@ana", "person"), ("ana", "person")]
    assert await rows(empty, 'SELECT name, kind FROM recado.users ORDER BY name COLLATE "C"') == kinds
    topics = "SELECT name, by_backend, in_doubt FROM recado.topics WHERE kind <> 'direct' ORDER BY name"
    assert await rows(empty, topics) == [
        ("ana", None, True), ("general", True, False), ("news", None, False), ("shop", True, False),
    ]  # fmt: skip
    assert await value(empty, "SELECT bool_or(in_doubt) FROM recado.topics WHERE kind = 'direct'") is False


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
