"""`recado doctor`: what is wrong with an installation, and what to do. Exit code 1 where anything is at fault."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict

from messaging.settings.settings import Settings, SettingsError
from recado.terminal.access import Access
from recado.terminal.doctor.diagnosis import Finding, findings
from recado.terminal.doctor.probes import gather
from recado.terminal.formatting import Paint, safe
from recado.terminal.options import add_server


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--node", action="append", default=[], metavar="URL", help="one more door to try, ws:// or http://; repeatable"
    )
    parser.add_argument("--json", action="store_true", help="the findings as JSON")
    add_server(parser)


async def run(options: argparse.Namespace) -> int:
    try:
        settings = Settings.from_environ(os.environ)
        found = findings(await gather(settings, Access.from_options(options, os.environ), options.node))
    except SettingsError as exc:
        found = [Finding("fault", "settings", str(exc), "Correct it, then ask again.")]
    if options.json:
        print(safe(json.dumps([asdict(finding) for finding in found], ensure_ascii=False, indent=2)))
    else:
        print(report(found, Paint.for_stream(sys.stdout, os.environ)))
    return 1 if any(finding.level == "fault" for finding in found) else 0


def report(found: Sequence[Finding], paint: Paint) -> str:
    """A line for each finding, what to do below it, and the sum."""
    marks = {"ok": paint.good("ok   "), "warn": paint.warning("warn "), "fault": paint.bad("fault")}
    lines = []
    for finding in found:
        lines.append(f"{marks[finding.level]}  {paint.bold(safe(finding.subject))}: {safe(finding.text)}")
        if finding.advice:
            lines.append(f"       → {safe(finding.advice)}")
    faults, warnings = (sum(finding.level == level for finding in found) for level in ("fault", "warn"))
    lines += ["", f"{_count(faults, 'fault')}, {_count(warnings, 'warning')}."]
    return "\n".join(lines)


def _count(number: int, word: str) -> str:
    return f"{number or 'no'} {word}{'' if number == 1 else 's'}"
