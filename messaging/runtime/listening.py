"""What goes wrong where a door opens its port is told by the settings that choose the address."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from messaging.settings.settings import SettingsError


@contextmanager
def named(door: str, host: str, port: int) -> Iterator[None]:
    """``door``: what its two settings begin with, "WS" or "API". Raises SettingsError in place of what comes up."""
    try:
        yield
    except (OSError, UnicodeError) as exc:  # a name that is none is refused by its encoding
        if isinstance(exc, OSError) and exc.errno == errno.EADDRINUSE:
            raise SettingsError(f"{door}_PORT: another program has port {port} of {host}: choose another") from exc
        raise SettingsError(f"{door}_HOST, {door}_PORT: can't listen on port {port} of {host!r} ({exc})") from exc
