"""docs/permissions.md: its tables, compared with what was answered, or written anew (`make permissions`)."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping

import pytest

from conftest import ROOT

PAGE = ROOT / "docs" / "permissions.md"
WRITES = os.environ.get("WRITE_PERMISSIONS") == "1"

Table = Mapping[str, Mapping[str, str]]  # by row and column


def rendered(first: str, table: Table) -> str:
    columns = list(dict.fromkeys(column for row in table.values() for column in row))
    lines = [[first, *columns], ["---"] * (len(columns) + 1)]
    lines += [[name, *(row.get(column, "–") for column in columns)] for name, row in table.items()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def check(name: str, first: str, table: Table) -> None:
    """Fails where the page's table of this name differs from what was answered: somebody must decide."""
    begin, end = f"<!-- {name} -->\n", "<!-- end -->\n"
    text = PAGE.read_text()
    found = re.search(f"{re.escape(begin)}(.*?){end}", text, re.DOTALL)
    assert found, f"{PAGE.name} has no table {name!r}"
    wanted = rendered(first, table)
    if found[1] != wanted and WRITES:
        PAGE.write_text(text.replace(found[0], begin + wanted + end))
    elif found[1] != wanted:
        changes = difflib.unified_diff(found[1].splitlines(), wanted.splitlines(), "decided", "answered", "", "", 0, "")
        pytest.fail("\n".join([*changes, "", "If this is how it shall be: make permissions"]), pytrace=False)
