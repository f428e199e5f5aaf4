"""How the embedded PostgreSQL is made and started."""

from pathlib import Path
from urllib.parse import quote, urlencode

INITDB_OPTIONS = (
    "--username=postgres", "--auth=trust", "--no-instructions", "--encoding=UTF8", "--locale=C",
    # Sorts by code point and knows the cases of all letters, whichever libraries the system has or gets.
    "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
)  # fmt: skip
DATABASE = "recado"
# All that the driver would otherwise take from the shell (PGSSLMODE and the like) or from ~/.pgpass, which are meant
# for other servers. Nobody asks for the password.
_SAID = {
    "port": "5432", "password": "none", "sslmode": "disable", "sslnegotiation": "postgres",
    "target_session_attrs": "any", "krbsrvname": "postgres", "gsslib": "gssapi",
}  # fmt: skip
_SETTINGS = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "cluster_name": "recado",
    # stderr is our log; what a collector writes elsewhere would be missing from the errors here.
    "logging_collector": "off",
    "max_connections": "100",
    "shared_buffers": "128MB",
    # After a checkpoint each page goes whole into the log at its first change, so rare ones save writes. What a
    # crash costs is bounded by the size: to replay it takes seconds.
    "max_wal_size": "1GB",
    "checkpoint_timeout": "15min",
}


def server_options(sockets: Path) -> list[str]:
    """What `postgres` is started with; it listens in the directory ``sockets`` alone."""
    settings = {**_SETTINGS, "unix_socket_directories": str(sockets)}
    return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]


def address(sockets: Path | str) -> str:
    """The DSN of our database on the server that listens in the directory ``sockets``."""
    return f"postgresql://postgres@/{DATABASE}?{urlencode({'host': str(sockets), **_SAID}, quote_via=quote)}"
