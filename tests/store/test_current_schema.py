"""sql/current.sql: what all migrations have made, on one page; compared, or written (`make schema`)."""

from __future__ import annotations

import difflib
import itertools
import os
import textwrap

import pytest

from conftest import ROOT
from support.log import rows

PAGE = ROOT / "sql" / "current.sql"
HEAD = """\
-- The schema as all files of sql/ leave it: to read, never applied. Made by `make schema`; a test compares it.
-- What each column is for stands where it was made: schema.sql and migrations/.
"""

COLUMNS = """
SELECT c.relname, array_to_string(c.reloptions, ', '),
    a.attname, replace(format_type(a.atttypid, a.atttypmod), 'timestamp with time zone', 'timestamptz'),
    concat((SELECT ' COLLATE ' || quote_ident(collname) FROM pg_collation AS l JOIN pg_type AS t ON t.oid = a.atttypid
            WHERE l.oid = a.attcollation AND a.attcollation <> t.typcollation),
           CASE WHEN a.attnotnull THEN ' NOT NULL' END,
           CASE WHEN a.attidentity = 'a' THEN ' GENERATED ALWAYS AS IDENTITY'
                WHEN a.attgenerated = 's' THEN ' GENERATED ALWAYS AS (' || pg_get_expr(adbin, adrelid) || ') STORED'
                ELSE ' DEFAULT ' || pg_get_expr(adbin, adrelid) END)
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
LEFT JOIN pg_attrdef ON adrelid = a.attrelid AND adnum = a.attnum
WHERE c.relnamespace = 'recado'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY c.relname COLLATE "C", a.attnum
"""
# PostgreSQL 18 has NOT NULL among them, too.
CONSTRAINTS = """
SELECT c.relname, pg_get_constraintdef(o.oid) FROM pg_constraint AS o JOIN pg_class AS c ON c.oid = o.conrelid
WHERE c.relnamespace = 'recado'::regnamespace AND o.contype <> 'n'
ORDER BY o.contype <> 'p', o.contype DESC, o.conname COLLATE "C"
"""
INDEXES = """
SELECT c.relname, pg_get_indexdef(i.indexrelid) FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid
WHERE c.relnamespace = 'recado'::regnamespace AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid)
ORDER BY pg_get_indexdef(i.indexrelid) COLLATE "C"
"""
FUNCTIONS = """
SELECT format('recado.%s(%s) RETURNS %s%s', proname, pg_get_function_arguments(oid), pg_get_function_result(oid),
              CASE WHEN prosecdef THEN ' SECURITY DEFINER' END)
FROM pg_proc WHERE pronamespace = 'recado'::regnamespace ORDER BY oid::regprocedure::text COLLATE "C"
"""


async def page(dsn: str) -> str:
    constraints, indexes = await rows(dsn, CONSTRAINTS), await rows(dsn, INDEXES)
    text = HEAD
    for (table, options), group in itertools.groupby(await rows(dsn, COLUMNS), key=lambda row: row[:2]):
        columns = [(name, kind, " ".join(rest.split())) for _, _, name, kind, rest in group]
        wide, wider = (max(len(column[i]) for column in columns) for i in (0, 1))
        lines = [f"{name:{wide}} {kind:{wider}} {rest}".rstrip() for name, kind, rest in columns]
        lines += [str(constraint) for name, constraint in constraints if name == table]
        text += f"\nCREATE TABLE recado.{table} (\n    " + ",\n    ".join(lines) + "\n)"
        text += (f" WITH ({options})" if options else "") + ";\n"
        text += "".join(f"{index};\n" for name, index in indexes if name == table)
    functions = [textwrap.wrap(str(line), 117, subsequent_indent="    ") for (line,) in await rows(dsn, FUNCTIONS)]
    text += "\n" + "".join(f"-- {line}\n" for lines in functions for line in lines)
    return text.replace("timestamp with time zone", "timestamptz")


async def test_the_page_of_the_present_schema_is_true(database: str) -> None:
    made = await page(database)
    if os.environ.get("WRITE_SCHEMA") == "1":
        PAGE.write_text(made)
    elif (found := PAGE.read_text()) != made:
        changes = difflib.unified_diff(found.splitlines(), made.splitlines(), "sql/current.sql", "made", "", "", 0, "")
        pytest.fail("\n".join([*changes, "", "If this is how it shall be: make schema"]), pytrace=False)
