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


def check(name: str, first: str, table: Table) -> None:
    """Fails where the page's table of this name differs from what was answered: somebody must decide."""
    columns = list(next(iter(table.values())))
    lines = [[first, *columns], ["---"] * (len(columns) + 1), *([row, *cells.values()] for row, cells in table.items())]
    wanted = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    begin, text = f"<!-- {name} -->\n", PAGE.read_text()
    head, found, rest = re.split(f"(?s){begin}(.*?)(?=<!-- end -->)", text)
    if WRITES:
        PAGE.write_text(head + begin + wanted + rest)
    elif found != wanted:
        changes = difflib.unified_diff(found.splitlines(), wanted.splitlines(), "decided", "answered", "", "", 0, "")
        pytest.fail("\n".join([*changes, "", "If this is how it shall be: make permissions"]), pytrace=False)
