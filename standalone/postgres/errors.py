"""Why the embedded PostgreSQL cannot be had.

PostgresError
├── AlreadyRunning
├── DataDirUnusable
├── IncompatibleCluster
└── StartFailed
"""

from pathlib import Path


class PostgresError(Exception):
    """The embedded PostgreSQL cannot be had. The message says why, and what to do."""


class AlreadyRunning(PostgresError):
    """A living process has this DATA_DIR."""

    def __init__(self, data_dir: Path, pid: int | None) -> None:
        process = f"process {pid}" if pid else "another process"
        super().__init__(f"{process} already serves DATA_DIR {data_dir}: stop it, or choose another DATA_DIR")
        self.pid = pid


class DataDirUnusable(PostgresError):
    """DATA_DIR cannot be made, entered, given away or written to."""


class IncompatibleCluster(PostgresError):
    """The cluster was made by another major version of PostgreSQL."""


class StartFailed(PostgresError):
    """A program of PostgreSQL is missing or gave up. Its last words are in the message."""
