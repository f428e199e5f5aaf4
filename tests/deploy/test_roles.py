"""The two roles of docs/hardening.md: the one that serves has what Recado does, and nothing beyond."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg
import pytest
from page_blocks import block

from conftest import ROOT
from messaging.bus.choose import make_bus
from messaging.store import migrations
from messaging.store.migrations import MigrationError, migrate
from messaging.store.queries import load_queries, sql_version
from support.log import connected, rows, run, value
from support.spare_postgres import spare_postgres
from support.waiting import until
from support.ws import receive, running, send

OF_THE_OWNER = {
    "migration_lock", "migration_schema", "migration_table", "migration_done", "functions_before",
    "functions_not_made_drop", "function_grants_kept",
}  # fmt: skip


@dataclass(frozen=True)
class Roles:
    """The addresses of one database."""

    superuser: str
    owner: str
    door: str


async def brought_up_to_date(dsn: str) -> tuple[int | None, str]:
    """By the program, with nothing but the address, whatever a container's image sets beside it: exit code and log."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "messaging", cwd=ROOT, stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "DATABASE_URL": dsn, "API_HOST": "0.0.0.0"},
    )  # fmt: skip
    async with asyncio.timeout(30):
        _, said = await process.communicate()
    return process.returncode, said.decode()


@pytest.fixture(scope="module")
async def roles() -> AsyncIterator[Roles]:
    """A server of these tests' own, as roles belong to the whole of it."""
    async with spare_postgres() as spare:
        assert "/recado?" in spare.dsn
        await run(spare.dsn, "CREATE SCHEMA shop; CREATE TABLE shop.orders (item text)")
        await run(spare.dsn, block("hardening.md", "CREATE ROLE"))
        owner, door = (spare.dsn.replace("postgres@", f"{role}@") for role in ("recado_owner", "recado_door"))
        code, said = await brought_up_to_date(owner)
        assert code == 0, said
        await run(owner, block("hardening.md", "GRANT USAGE"))
        yield Roles(spare.dsn, owner, door)


async def test_bringing_it_up_to_date_needs_an_address_and_a_role_that_may(roles: Roles) -> None:
    assert (0, "") == await brought_up_to_date(roles.owner), "the second time nothing happens"
    code, said = await brought_up_to_date("")
    assert code == 1 and said.startswith("messaging: DATABASE_URL: it is missing")


async def test_the_role_that_serves_may_do_every_statement_of_recado(roles: Roles) -> None:
    async with connected(roles.door) as connection:
        for name, text in load_queries().items():
            if name not in OF_THE_OWNER:
                await connection.execute(f"EXPLAIN (GENERIC_PLAN) {text}")


async def test_the_role_that_serves_may_call_every_function_but_what_is_for_applications(roles: Roles) -> None:
    barred = await rows(
        roles.superuser,
        "SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'recado'::regnamespace"
        " AND NOT has_function_privilege('recado_door', oid, 'EXECUTE')",
    )
    assert [("publish",)] == barred


async def test_a_door_serves_as_that_role(roles: Roles) -> None:
    """Its start, its bus, a message, memberships, the keeping of its house; a bridge comes and goes."""
    await migrate(roles.door, patience=0)
    bus = make_bus("postgres:", roles.door)
    async with running(roles.door, bus=bus) as door, door.client("ana") as ana:
        await door.topic("t", "ana", "bob")
        await send(ana, action="message", topic_name="t", content=1, id="one")
        assert "ok" == (await receive(ana, "message"))["result"]
        async with door.client("bob") as bob:
            assert 1 == (await receive(bob, "message"))["content"]
            await send(bob, action="unsubscribe", topic_name="t")
            await receive(bob, "unsubscribe")
        await run(roles.superuser, "SELECT recado.publish('t', 'shop', '2')")
        while (await receive(ana, "message")).get("content") != 2:
            pass
        user_id = await door.node.bridge_store.register("x", "nats", "t%")
        assert user_id == await door.node.bridge_store.forget("x")

        async def housekeeping_has_its_lease() -> bool:
            return bool(await value(roles.superuser, "SELECT count(*) FROM recado.leases WHERE name = 'housekeeping'"))

        await until(housekeeping_has_its_lease)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE recado.more ()",
        "ALTER TABLE recado.users ADD COLUMN more text",
        "TRUNCATE recado.messages",
        "DROP TABLE recado.messages",
        "CREATE TRIGGER more AFTER INSERT ON recado.users EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "CREATE FUNCTION recado.more() RETURNS void LANGUAGE sql AS ''",
        "ALTER FUNCTION recado.is_name(text) SECURITY DEFINER",
        "CREATE SCHEMA more",
        "CREATE TABLE public.more ()",
        "CREATE TEMPORARY TABLE more ()",
        "INSERT INTO recado.migrations (name, checksum) VALUES ('more', '')",
        "UPDATE recado.migrations SET checksum = '9999'",
        "SELECT FROM shop.orders",
        "SELECT FROM pg_authid",
        "CREATE ROLE more",
        "COPY recado.users TO '/tmp/more'",
    ],
)
async def test_the_role_that_serves_changes_nothing_but_rows_of_its_own(roles: Roles, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await run(roles.door, statement)


async def test_what_a_later_version_adds_may_be_used_at_once(roles: Roles) -> None:
    await run(roles.owner, "CREATE TABLE recado.later (id bigint GENERATED ALWAYS AS IDENTITY, name text)")
    try:
        await run(roles.door, "INSERT INTO recado.later (name) VALUES ('x')")
        await migrate(roles.door, patience=0)
    finally:
        await run(roles.owner, "DROP TABLE recado.later")


async def test_tables_of_an_older_version_end_its_start_with_one_line(
    roles: Roles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "sql_version", lambda: sql_version() + 1)
    with pytest.raises(MigrationError, match=r"^DATABASE_URL: .* python -m messaging$"):
        await migrate(roles.door, patience=0)


async def test_nobody_else_enters_the_database(roles: Roles) -> None:
    await run(roles.superuser, "CREATE ROLE stranger LOGIN")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied for database"):
        await run(roles.superuser.replace("postgres@", "stranger@"), "SELECT 1")
