"""``python -m messaging``: bring the database in DATABASE_URL to the version of this program, and end.

For the role that owns the tables, where the one that serves may not change them (docs/hardening.md).
"""

from __future__ import annotations

import signal

if __name__ == "__main__":  # Python's own way to end in the middle of an import is a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from collections.abc import Mapping

from messaging.runtime.process import Stop, deployed_settings, run_process
from messaging.settings.settings import Settings
from messaging.store.migrations import migrate

_READ = ("DATABASE_URL", "UNSAFE_DURABILITY", "STOP_SECONDS")  # what else a service needs is not asked for


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Raises SettingsError."""
    given = {name: text for name, text in environ.items() if name.startswith(_READ)}
    return deployed_settings(given, needed=("DATABASE_URL",))


async def work(settings: Settings, stop: Stop) -> None:
    await migrate(settings.database_url, unsafe=settings.unsafe_durability)


def main() -> None:
    run_process("messaging", work, read_settings)


if __name__ == "__main__":
    main()
