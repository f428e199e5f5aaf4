"""`recado.publish`: who may call it, what it refuses, and that what is written about it is so."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import pytest

from conftest import ROOT
from messaging.errors import BadRequest
from messaging.log.content import check_json
from messaging.model import is_encoded_name, is_name
from support.intake import PUBLISH, contents, taking_in, until_empty
from support.log import connected, desk, rows, run, value

# --- who may, and what -----------------------------------------------------------------------------


@asynccontextmanager
async def role(dsn: str) -> AsyncIterator[tuple[str, asyncpg.Connection]]:
    """A role of an application, with nothing but the right to look into the schema; and a connection as it."""
    name = "shop_" + urlsplit(dsn).path.strip("/")
    await run(dsn, f"CREATE ROLE {name}; GRANT USAGE ON SCHEMA recado TO {name}")
    try:
        async with connected(dsn) as connection:
            await connection.execute(f"SET ROLE {name}")
            yield name, connection
    finally:
        await run(dsn, f"DROP OWNED BY {name}; DROP ROLE {name}")


async def test_execute_is_the_permission_and_no_other_is_needed(database: str) -> None:
    async with desk(database) as node, role(database) as (name, shop), taking_in(node):
        topic_id = await node.topic("orders")
        for call in ("recado.publish('orders', 'shop', '1')", "recado.publish('orders', 'shop', '1'::jsonb)"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await shop.execute(f"SELECT {call}")
        await run(database, f"GRANT EXECUTE ON FUNCTION recado.publish(text, text, text, text, integer) TO {name}")
        await run(database, f"GRANT EXECUTE ON FUNCTION recado.publish(text, text, jsonb, text, integer) TO {name}")
        await shop.execute("SELECT recado.publish('orders', 'shop', '1')")
        await shop.execute("SELECT recado.publish('orders', 'shop', '2'::jsonb)")
        for theft in ("TABLE recado.intake", "TABLE recado.messages", "INSERT INTO recado.intake DEFAULT VALUES"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await shop.execute(theft)
        await until_empty(database)
        assert await contents(database, topic_id) == [1, 2]


async def test_no_object_of_the_callers_stands_in_for_ours(database: str) -> None:
    """Functions and operators are looked for in the system's schema alone."""
    await run(database, "CREATE FUNCTION public.octet_length(text) RETURNS int LANGUAGE sql AS 'SELECT 1 / 0'")
    async with connected(database) as shop:
        await shop.execute("SET search_path = public, pg_catalog")
        assert await shop.fetchval(PUBLISH, "general", "shop", "1") == 1


async def test_a_type_of_the_callers_own_session_does_not_run_as_the_owner(database: str) -> None:
    """PostgreSQL looks for types in the session's temporary schema first, unless the path names it."""
    async with role(database) as (name, shop):
        await run(database, f"GRANT EXECUTE ON FUNCTION recado.publish(text, text, text, text, integer) TO {name}")
        await shop.execute(
            "CREATE FUNCTION pg_temp.theft(given jsonb) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN"
            f" EXECUTE 'GRANT SELECT ON recado.shared TO {name}'; RETURN true; END $$;"
            "CREATE DOMAIN pg_temp.jsonb AS pg_catalog.jsonb CHECK (pg_temp.theft(VALUE))"
        )
        await shop.execute("SELECT recado.publish('general', 'shop', '1'::pg_catalog.text)")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await shop.execute("TABLE recado.shared")


DEEP = "[" * 64 + "]" * 64


@pytest.mark.parametrize(
    ("content", "fits"),
    [
        ("null", True), ('"hello"', True), ("[1,2]", True), (DEEP, True), ('"' + "[" * 70 + '"', True),
        ("hello", False), ("", False), ("{'a': 1}", False), ("NaN", False), ("[1,]", False), (f"[{DEEP}]", False),
        ('{"a":' * 65 + "1" + "}" * 65, False), ('"\\u0000"', False), ('{"\\u0000": 1}', False),
        ('"\\ud800"', False), ("[" * 60000 + "]" * 60000, False), ('"' + "x" * 131071 + '"', False),
        ('"' + "x" * 131070 + '"', True),
    ],
    ids=[
        "null", "text", "array", "deep", "brackets-in-text", "bare", "empty", "quotes", "nan", "comma", "too-deep",
        "too-deep-object", "nul", "nul-in-key", "surrogate", "abyss", "too-long", "long",
    ],
)  # fmt: skip
async def test_sql_refuses_at_once_what_would_be_refused_later(database: str, content: str, fits: bool) -> None:
    """The same as `check_json`, with the highest MAX_FRAME."""
    await run(database, "DELETE FROM recado.intake")
    outcomes = []
    try:
        await value(database, PUBLISH, "general", "shop", content)
        outcomes.append(True)
    except asyncpg.InvalidParameterValueError as exc:
        assert str(exc).startswith("recado.publish: ")
        outcomes.append(False)
    try:
        check_json(content.encode(), 131072)
        outcomes.append(True)
    except BadRequest:
        outcomes.append(False)
    assert outcomes == [fits, fits]


@pytest.mark.parametrize(
    ("call", "word"),
    [
        ("recado.publish('nowhere', 'shop', '1')", "no topic 'nowhere'"),
        ("recado.publish('@nobody', 'shop', '1')", "no topic '@nobody'"),
        ("recado.publish(NULL, 'shop', '1')", "no topic NULL"),
        ("recado.publish('general', 'sh op', '1')", "sender is 'sh op'"),
        ("recado.publish('general', NULL, '1')", "sender is NULL"),
        ("recado.publish('general', 'shop', '1', 'a//b')", "key is 'a//b'"),
        ("recado.publish('general', 'shop', NULL::text)", "no content"),
        ("recado.publish('general', 'shop', '1', ttl => 0)", "ttl is 0"),
        ("recado.publish('general', 'shop', '1', ttl => 31536001)", "ttl is 31536001"),
    ],
    ids=["topic", "inbox", "no-topic", "sender", "no-sender", "key", "no-content", "ttl", "long-ttl"],
)
async def test_what_is_wrong_is_said_at_once(database: str, call: str, word: str) -> None:
    with pytest.raises(asyncpg.PostgresError, match=word.replace("'", ".")):
        await value(database, f"SELECT {call}")
    assert await value(database, "SELECT count(*) FROM recado.intake") == 0


async def test_names_are_judged_as_everywhere(database: str) -> None:
    names = [
        "a", "a/b", "a//b", "/a", "a/", ".", "..", "a/../b", "a/.b", "...", "é", "a\n", "a b", "", "@x", "x" * 128,
        "x" * 129, "a/.", "a%b", "A-Z_|+:",
        "a%20b", "a%2fb", "%2E", "%bridge/x", "%20" * 42 + "ab", "%20" * 43, "a%20/..",
    ]  # fmt: skip
    found = await rows(
        database,
        "SELECT recado.is_name(n), recado.is_encoded_name(n)"
        " FROM unnest($1::text[]) WITH ORDINALITY AS t (n, i) ORDER BY i",
        names,
    )
    assert found == [(is_name(name), is_encoded_name(name)) for name in names]


# --- what is documented ----------------------------------------------------------------------------


async def test_the_example_does_what_it_says(database: str) -> None:
    async with desk(database) as node, taking_in(node):
        topic_id = await node.topic("orders")
        program = await asyncio.create_subprocess_exec(
            sys.executable, "examples/transactional_publish.py", cwd=ROOT, env={**os.environ, "DATABASE_URL": database},
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await program.communicate()
        await until_empty(database)
        assert out.decode().splitlines() == ["stored and announced: order 1", "neither: chair"]
        assert await contents(database, topic_id) == [{"item": "lamp", "order": 1}]
