"""The key that signs tokens: given, or made once and kept."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from messaging.settings import SECRET_BYTES


def kept_secret(path: Path) -> str:
    """The secret in a file that only its owner may read; made where it is missing.

    Raises:
        OSError: the file can't be read or made.
    """
    try:
        # O_EXCL: of two that start at once, one makes it and the other reads it.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(descriptor, "w") as file:
        file.write(new_secret() + "\n")
        file.flush()
        os.fsync(file.fileno())
    return path.read_text().strip()


def new_secret() -> str:
    return secrets.token_hex(SECRET_BYTES)
