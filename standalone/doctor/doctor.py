"""`recado doctor` where the server is: the database, the bus and this machine too."""

from __future__ import annotations

import argparse
import os

from messaging.settings.settings import Settings, SettingsError
from recado.terminal.access import Access
from recado.terminal.doctor.diagnosis import Finding
from recado.terminal.doctor.doctor import tell
from standalone.doctor.diagnosis import findings
from standalone.doctor.probes import gather


async def run(options: argparse.Namespace) -> int:
    try:
        settings = Settings.from_environ(os.environ)
        found = findings(await gather(settings, Access.from_options(options, os.environ), options.node))
    except SettingsError as exc:
        found = [Finding("fault", "settings", str(exc), "Correct it, then ask again.")]
    return tell(found, as_json=options.json)
