"""What this machine lacks, named once at the end of a run, with the command that brings it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

# By the first word of what `needs` was asked for last; what is of Python, make installs.
APT = {
    "chromium": "chromium",
    "epmd": "rabbitmq-server",
    "node": "nodejs",
    "postgres": "postgresql",
    "rabbitmq-server": "rabbitmq-server",
    "tmux": "tmux",
}
NPM = {"axe-core", "tsc", "wscat"}
MISSING = " is not installed"


def summary(reasons: Iterable[str]) -> list[str]:
    """The lines, from why each test was skipped."""
    counted = Counter(reason.removeprefix("Skipped: ") for reason in reasons)
    tools = {reason.partition(" ")[0].strip(",") for reason in counted if reason.endswith(MISSING)}
    commands = []
    if packages := {APT[tool] for tool in tools & APT.keys()}:
        commands.append(f"apt install {' '.join(sorted(packages))}")
    if tools & NPM:
        commands.append("npm --prefix tests install   (apt install npm)")
    if tools - APT.keys() - NPM:
        commands.append(".venv/bin/pip install --require-hashes -r requirements-dev.txt")
    lines = [f"{count} {'test' if count == 1 else 'tests'}: {reason}" for reason, count in sorted(counted.items())]
    return [*lines, *(f"To run them: {command}" for command in commands)]
