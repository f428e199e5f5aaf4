"""The named statements of sql/queries.sql."""

from __future__ import annotations

import hashlib
import json
import re
from importlib import resources

_NAMED = re.compile(r"^-- name: (\w+)\n((?:--[^\n]*\n)+)(.*?)(?=^-- name: |\Z)", re.MULTILINE | re.DOTALL)


def read_sql(path: str) -> str:
    """The text of a file below sql/."""
    return resources.files("sql").joinpath(path).read_text("utf-8")


def migration_paths() -> list[str]:
    """The files to apply to an empty database, in order."""
    later = (entry.name for entry in resources.files("sql").joinpath("migrations").iterdir())
    return ["schema.sql", *(f"migrations/{name}" for name in sorted(later) if name.endswith(".sql"))]


def function_paths() -> list[str]:
    """The files of functions, applied again whenever they have changed."""
    return sorted(entry.name for entry in resources.files("sql").iterdir() if entry.name.startswith("functions"))


def sql_checksum() -> str:
    """Of all that is applied to a database."""
    whole = "".join(f"{path}\n{read_sql(path)}" for path in [*migration_paths(), *function_paths()])
    return hashlib.sha256(whole.encode()).hexdigest()


def sql_version() -> int:
    """The number of the schema and the functions together: `make sql-version` raises it when any of them changes."""
    return int(json.loads(read_sql("version.json"))["version"])


def load_queries() -> dict[str, str]:
    """Statements by name, without the semicolon that ends them."""
    return {match[1]: match[3].strip().rstrip(";") for match in _NAMED.finditer(read_sql("queries.sql"))}
