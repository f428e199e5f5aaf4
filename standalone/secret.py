"""The key that signs tokens: given, or made once and kept."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from messaging.settings.settings import SECRET_BYTES, Settings, SettingsError


def kept_secret(path: Path) -> str:
    """The secret in a file that only its owner may read; made where it is missing.

    Raises:
        SettingsError: what is in the file is no secret.
        OSError: the file can't be read or made.
    """
    if not path.exists():
        _make(path)
    secret = path.read_bytes().strip()
    if len(secret) < SECRET_BYTES or not secret.isascii():
        raise SettingsError(f"DATA_DIR: {path} holds no secret: remove it for a new one, which makes all tokens void")
    return secret.decode()


def secret_here(settings: Settings) -> str:
    """The one in DATA_DIR; "" where there is none that this user may read, or where it is in the database."""
    if settings.database_url:
        return ""
    try:
        secret = (settings.data_dir / "secret").read_text().strip()
    except OSError:
        return ""
    return secret if len(secret.encode()) >= SECRET_BYTES else ""


def _make(path: Path) -> None:
    # Whole or not at all, whatever kills us; of two that start at once, one links it and both read it.
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(new_secret() + "\n")
        file.flush()
        os.fsync(file.fileno())
    with suppress(FileExistsError):
        path.hardlink_to(draft)
    draft.unlink()


def new_secret() -> str:
    return secrets.token_hex(SECRET_BYTES)
