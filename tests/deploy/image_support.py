"""A Dockerfile, read and carried out without Docker: its steps run for real, in a folder and a virtual environment."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

import pytest

from conftest import REQUIRE_ALL, ROOT

Step = tuple[str, str]  # an instruction, and what follows it

STEP_TIME = 150  # seconds; the longest is pip


def steps_of(text: str) -> list[Step]:
    """The instructions of a Dockerfile, in order, without comments; continued lines are joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(words[0].upper(), words[1].strip()) for line in whole.splitlines() if (words := line.split(maxsplit=1))]


def command_of(argument: str) -> list[str]:
    """A command in exec form; one in shell form is wrapped as Docker does it."""
    return list(json.loads(argument)) if argument.startswith("[") else ["/bin/sh", "-c", argument]


def is_ignored(path: str, patterns: list[str]) -> bool:
    """Whether .dockerignore keeps a path out: the last pattern that fits it, or a folder above it, decides."""
    parts = path.split("/")
    above = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    ignored = False
    for pattern in patterns:
        plain = pattern.removeprefix("!")
        if any(_fits(name, plain) for name in above):
            ignored = not pattern.startswith("!")
    return ignored


def _fits(name: str, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatch(name.rpartition("/")[2], pattern[3:])
    return name.count("/") == pattern.count("/") and fnmatch(name, pattern)


def context() -> list[str]:
    """The files that a build is given, by their path from the root of the repository."""
    text = (ROOT / ".dockerignore").read_text()
    patterns = [line for line in text.splitlines() if line and not line.startswith("#")]
    found = []
    for folder, folders, files in os.walk(ROOT):
        here = Path(folder).relative_to(ROOT)
        if not here.parts:  # nothing below these can be let in again
            folders[:] = [name for name in folders if not is_ignored(name, patterns)]
        found += [path for name in files if not is_ignored(path := (here / name).as_posix(), patterns)]
    return found


@dataclass
class Image:
    """What a Dockerfile makes. Its environment has the interpreter of `venv` in front."""

    root: Path
    venv: Path
    workdir: Path = Path("/")
    environ: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)  # USER, EXPOSE, STOPSIGNAL, HEALTHCHECK, CMD as they are
    steps: list[Step] = field(default_factory=list)

    @property
    def app(self) -> Path:
        return self.root / self.workdir.relative_to("/")

    @property
    def cmd(self) -> list[str]:
        return command_of(self.settings["CMD"])

    @property
    def health(self) -> list[str]:
        return command_of(self.settings["HEALTHCHECK"].partition("CMD ")[2])

    def environment(self, **more: str) -> dict[str, str]:
        """Of a process in a container: nothing of ours but what is given."""
        system = "/usr/local/bin:/usr/bin:/bin"
        return {"PATH": f"{self.venv}/bin:{system}", "HOME": "/", **self.environ, **more}

    def run(self, command: list[str], **more: str) -> subprocess.CompletedProcess[str]:
        program = shutil.which(command[0], path=self.environment()["PATH"]) or command[0]
        return subprocess.run(
            [program, *command[1:]], cwd=self.app, env=self.environment(**more), timeout=STEP_TIME,
            capture_output=True, text=True, check=False,
        )  # fmt: skip


class Builder:
    """Builds images one after another. Like Docker, it runs no step twice whose forerunners were all the same."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._installed: tuple[Step, ...] | None = None

    def build(self, dockerfile: str) -> Image:
        image = Image(self._root / dockerfile, self._root / "venv")
        image.root.mkdir()
        for name, argument in steps_of((ROOT / dockerfile).read_text()):
            image.steps.append((name, argument))
            take = getattr(self, f"_{name.lower()}", None)
            if take is None:
                image.settings[name] = argument
            else:
                take(image, argument)
        return image

    def _from(self, image: Image, argument: str) -> None:
        assert not self._installed or argument == self._installed[0][1], "all images stand on the same base"

    def _env(self, image: Image, argument: str) -> None:
        for pair in shlex.split(argument):
            name, _, value = pair.partition("=")
            image.environ[name] = value

    def _workdir(self, image: Image, argument: str) -> None:
        image.workdir = Path(argument)
        image.app.mkdir(parents=True)

    def _copy(self, image: Image, argument: str) -> None:
        source, target = argument.split()
        files = [path for path in context() if path == source or path.startswith(f"{source}/")]
        assert files, f"COPY {source}: the build has no such file; is it in .dockerignore?"
        if target.endswith((".", "/")) and (ROOT / source).is_file():
            target += f"/{Path(source).name}"
        for path in files:
            place = image.app / target / Path(path).relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, place)

    def _run(self, image: Image, argument: str) -> None:
        if "pip install" in argument:
            if self._installed == tuple(image.steps):
                return
            assert self._installed is None, "the images differ above this step: put what differs below it"
            subprocess.run([sys.executable, "-m", "venv", image.venv], check=True, timeout=STEP_TIME)
            self._installed = tuple(image.steps)
        done = image.run(["/bin/sh", "-c", argument])
        if done.returncode and "pip install" in argument and not REQUIRE_ALL:
            pytest.skip(f"pip can't install here: {done.stderr[-300:]}")
        assert done.returncode == 0, done.stdout + done.stderr
