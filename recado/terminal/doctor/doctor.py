"""`recado doctor`: what is wrong with a server's doors, and what to do. Exit code 1 where anything is at fault.

Where the server is installed, its own doctor also looks behind them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict

from recado.terminal.access import Access
from recado.terminal.doctor.diagnosis import Finding, door_findings
from recado.terminal.doctor.probes import ask_doors
from recado.terminal.formatting import Paint, safe
from recado.terminal.options import add_server


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--node", action="append", default=[], metavar="URL", help="one more door to try, ws:// or http://; repeatable"
    )
    parser.add_argument("--json", action="store_true", help="the findings as JSON")
    add_server(parser)


async def run(options: argparse.Namespace) -> int:
    doors, token_from = await ask_doors(Access.from_options(options, os.environ), options.node)
    return tell([*door_findings(doors, token_from)], as_json=options.json)


def tell(found: Sequence[Finding], *, as_json: bool) -> int:
    """Print the findings; the exit code."""
    if as_json:
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
