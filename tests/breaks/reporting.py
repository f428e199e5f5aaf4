"""pytest, which writes what became of each phase of each test to a file: ``reporting.py FILE ARGUMENTS OF PYTEST``."""

import json
import sys

import pytest


class Reports:
    """A plugin: a line of JSON a report, written at once, as the process may be ended at any time."""

    def __init__(self, path: str) -> None:
        self._path = path

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.outcome != "passed":
            self._write(report, "collect")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._write(report, report.when)

    def _write(self, report: pytest.CollectReport | pytest.TestReport, phase: str) -> None:
        text = "\n".join([report.longreprtext, *(content for _, content in report.sections)])
        line = {"test": report.nodeid, "phase": phase, "outcome": report.outcome, "text": text}
        with open(self._path, "a") as file:
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    del sys.path[0]  # this folder, whose names are nobody's
    sys.exit(pytest.main(sys.argv[2:], plugins=[Reports(sys.argv[1])]))
