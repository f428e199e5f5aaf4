"""What a database must be is looked at before anything is made in it; each failure is one line that says what to do."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from messaging.settings.settings import SettingsError
from messaging.store.migrations import MigrationError, migrate
from messaging.store.pool import connect
from support.log import run, value

_numbers = itertools.count(1)


@asynccontextmanager
async def bare(dsn: str, options: str = "") -> AsyncIterator[str]:
    """A database in which nothing is."""
    name = f"bare_{next(_numbers)}"
    await run(dsn, f"CREATE DATABASE {name} {options}")
    try:
        yield dsn.replace("/recado?", f"/{name}?")
    finally:
        await run(dsn, f"DROP DATABASE {name} WITH (FORCE)")


async def refusal(dsn: str, patience: float = 0) -> str:
    """What a start is told."""
    with pytest.raises((SettingsError, MigrationError)) as caught:
        await migrate(dsn, patience=patience)
    text = str(caught.value)
    assert text.startswith("DATABASE_URL: ") and len(text.splitlines()) == 1
    return text


@pytest.mark.parametrize("encoding", ["LATIN1", "WIN1251", "EUC_JP", "SQL_ASCII"])
async def test_a_database_that_cannot_hold_every_character_is_refused_before_anything_is_made(
    postgres_dsn: str, encoding: str
) -> None:
    options = f"ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    if int(await value(postgres_dsn, "SHOW server_version_num")) >= 150000:  # which has others, too
        options += " LOCALE_PROVIDER libc"
    async with bare(postgres_dsn, options) as dsn:
        assert f"encoding is {encoding}" in (text := await refusal(dsn)) and "ENCODING 'UTF8'" in text
        assert await value(dsn, "SELECT to_regnamespace('recado') IS NULL")


async def test_a_read_only_database_is_waited_for(postgres_dsn: str) -> None:
    """It may be a standby that is about to become the primary."""
    async with bare(postgres_dsn) as dsn:
        await run(
            dsn,
            "DO $$ BEGIN"
            " EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$",
        )
        assert "in vain. The database in DATABASE_URL is read-only" in await refusal(dsn)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (("target_session_attrs=any", "target_session_attrs=standby"), "in vain. None of the hosts"),
        (("postgres@", "nobody_of_this_name@"), 'role "nobody_of_this_name" does not exist'),
        (("/recado?", "/no_such_database?"), 'database "no_such_database" does not exist'),
        (("port=5432", "port=x"), "no address that can be used"),
        (("port=5432", "port=5433"), "in vain. PostgreSQL can't be reached"),
        (("sslmode=disable", "sslmode=perhaps"), "sslmode"),
        (("sslmode=disable", "sslmode=verify-full"), "root.crt"),
    ],
)
async def test_an_address_that_leads_nowhere_is_told_in_one_line(
    postgres_dsn: str, change: tuple[str, str], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # no certificates there
    assert change[0] in postgres_dsn
    assert text in await refusal(postgres_dsn.replace(*change))


async def test_a_role_without_create_is_told_what_it_needs(postgres_dsn: str) -> None:
    async with bare(postgres_dsn) as dsn:
        await run(dsn, "CREATE ROLE newcomer LOGIN")
        try:
            assert "GRANT CREATE ON DATABASE" in await refusal(dsn.replace("postgres@", "newcomer@"))
            await migrate(dsn)
            assert "permission denied" in await refusal(dsn.replace("postgres@", "newcomer@"))
            await run(dsn, "GRANT USAGE ON SCHEMA recado TO newcomer; GRANT SELECT ON recado.migrations TO newcomer")
            assert "may not read and write recado." in await refusal(dsn.replace("postgres@", "newcomer@"))
            await run(dsn, "GRANT ALL ON ALL TABLES IN SCHEMA recado TO newcomer")
            await migrate(dsn.replace("postgres@", "newcomer@"), patience=0)
        finally:
            await run(dsn, "DROP OWNED BY newcomer; DROP ROLE newcomer")


async def test_what_the_shell_says_to_other_clients_does_not_reach_the_embedded_database(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, text in {
        "PGSSLMODE": "verify-full", "PGSSLNEGOTIATION": "direct", "PGSSLROOTCERT": "/none", "PGHOST": "nowhere.invalid",
        "PGPORT": "1", "PGUSER": "nobody", "PGDATABASE": "none", "PGPASSFILE": str(tmp_path), "PGGSSLIB": "x",
        "PGTARGETSESSIONATTRS": "standby", "PGSERVICE": "none", "PGSERVICEFILE": "/none", "PGKRBSRVNAME": "x",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, text)
    connection = await connect(postgres_dsn)
    assert await connection.fetchval("SELECT current_database()") == "recado"
    await connection.close()
