"""Raise the number of schema and functions (sql/version.json) where they have changed: ``make sql-version``."""

import json
import sys
from pathlib import Path


def main() -> None:
    root = Path(__file__).resolve().parent.parent
    sys.path.insert(0, str(root))
    from messaging.store.queries import sql_checksum, sql_version

    path, checksum = root / "sql" / "version.json", sql_checksum()
    before = json.loads(path.read_text())
    if before["checksum"] != checksum:
        number = sql_version() + 1
        path.write_text(json.dumps({"version": number, "checksum": checksum}, indent=2) + "\n")
        print(f"schema and functions: version {number}")


if __name__ == "__main__":
    main()
