"""Free ports, and folders that PostgreSQL's user can reach also where the tests run as root."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def make_folder(within: Path | None = None, prefix: str = "recado-test-") -> Path:
    """One that other users may enter, but not list: as root, PostgreSQL runs as another user."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=within))
    folder.chmod(0o711)
    return folder


@contextmanager
def folder() -> Iterator[Path]:
    """One that is gone at the end."""
    made = make_folder()
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def data_dir() -> Iterator[Path]:
    """A DATA_DIR that is not there yet."""
    with folder() as made:
        yield made / "data"
