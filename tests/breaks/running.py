"""Runs tests in a copy of the tree, broken or not, and judges what became of them."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from breaks.table import Break

REPORTING = Path(__file__).with_name("reporting.py")
LINKED = (".venv", "tests/node_modules")
LIMIT = 90.0  # seconds for one test, with the start of its pytest and its PostgreSQL
# A program that is no program says nothing about a rule: not by what the test raises, nor by what processes log.
NO_PROGRAM = re.compile(
    r"\b(SyntaxError|IndentationError|ImportError|ModuleNotFoundError|NameError|UnboundLocalError|ReferenceError"
    r"|PostgresSyntaxError|Undefined(?:Column|Function|Object|Parameter|Table)Error)\b(?=:|$)", re.MULTILINE
)  # fmt: skip


@dataclass(frozen=True)
class Report:
    """What became of one phase (collect, setup, call, teardown) of a test."""

    test: str
    phase: str
    outcome: str
    text: str


@dataclass(frozen=True)
class Verdict:
    """``caught``: the named test failed, by itself. Else ``why`` not; ``ours``: the break could not be tried."""

    caught: bool
    why: str = ""
    ours: bool = False

    def __str__(self) -> str:
        return "caught" if self.caught else f"ERROR: {self.why}" if self.ours else f"NOT CAUGHT: {self.why}"


def judge(test: str, reports: Sequence[Report]) -> Verdict:
    """What the reports of a broken tree say."""
    if failed := [report for report in reports if report.phase == "collect" and report.outcome == "failed"]:
        return Verdict(False, f"{failed[0].test} can't be collected: {_last_line(failed[0].text)}", ours=True)
    mine = {report.phase: report for report in reports if report.test == test}
    setup, call, teardown = (mine.get(phase) for phase in ("setup", "call", "teardown"))
    if setup is None:
        return Verdict(False, "there is no such test", ours=True)
    if setup.outcome == "skipped" or (call is not None and call.outcome == "skipped"):
        return Verdict(False, "the test is skipped", ours=True)
    if setup.outcome == "failed":
        return Verdict(False, f"a fixture fails: {_last_line(setup.text)}", ours=True)
    if call is None or teardown is None:
        return Verdict(False, "the test was not ended by itself", ours=True)
    if call.outcome == "passed":
        if teardown.outcome == "failed":
            return Verdict(False, f"only a fixture fails, behind the test: {_last_line(teardown.text)}", ours=True)
        return Verdict(False, "the test passes")
    if found := NO_PROGRAM.search(call.text):
        return Verdict(False, f"what is broken is no program: {found[1]}", ours=True)
    return Verdict(True)


def judge_unbroken(tests: Iterable[str], reports: Sequence[Report]) -> Iterator[str]:
    """Complaints about tests that do not pass as they must before anything is broken."""
    yield from (
        f"{report.test} can't be collected: {_last_line(report.text)}"
        for report in reports
        if report.phase == "collect" and report.outcome == "failed"
    )
    for test in tests:
        phases = {report.phase: report for report in reports if report.test == test}
        bad = next((report for report in phases.values() if report.outcome != "passed"), None)
        if bad is not None:
            yield f"{test}: {bad.phase} {bad.outcome}: {_last_line(bad.text)}"
        elif not phases.keys() >= {"setup", "call", "teardown"}:
            yield f"{test} was not run to its end"


def _last_line(text: str) -> str:
    errors = [line[1:] for line in text.splitlines() if line.startswith("E ")] or text.splitlines() or ["?"]
    return errors[-1].strip()


class Tree:
    """A copy of the product and its tests that may be broken."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def copied(cls, source: Path, root: Path) -> Tree:
        """What git has of ``source``, with changes that are not committed; what is installed is linked."""
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=source, check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        for name in filter(None, listed.split("\0")):
            if (source / name).is_file() and name not in LINKED:
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source / name, root / name)
        for name in LINKED:
            if (source / name).exists():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).symlink_to((source / name).resolve())
        return cls(root)

    def try_break(self, each: Break, limit: float = LIMIT) -> Verdict:
        try:
            with self._broken(each):
                return judge(each.test, self.run([each.test], limit))
        except (OSError, ValueError) as exc:
            return Verdict(False, str(exc), ours=True)
        except subprocess.TimeoutExpired:
            return Verdict(False, f"no end within {limit:g} s", ours=True)

    def run(self, tests: Sequence[str], limit: float, *options: str) -> list[Report]:
        """Raises subprocess.TimeoutExpired."""
        path = self.root / "reports.jsonl"
        path.unlink(missing_ok=True)
        command = [sys.executable, str(REPORTING), str(path), "-q", "-p", "no:cacheprovider", *options, *tests]
        with open(self.root / "output.txt", "wb") as output:
            running = subprocess.Popen(
                command, cwd=self.root, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
            try:
                running.wait(limit)
            finally:
                if running.poll() is None:
                    os.killpg(running.pid, signal.SIGKILL)
                    running.wait()
        lines = path.read_text().splitlines() if path.exists() else []
        return [Report(**json.loads(line)) for line in lines]

    @contextmanager
    def _broken(self, each: Break) -> Iterator[None]:
        path = self.root / each.file
        status, source = path.stat(), path.read_text()
        _write(path, each.broken(source))
        try:
            yield
        finally:
            _write(path, source)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    # Compiled files are told by size and second: one of the same is not to be taken for another.
    Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)
