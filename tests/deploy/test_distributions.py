"""The two distributions, built from a clean copy and installed into empty environments: the client alone, and both."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest

import house
import recado
from conftest import ROOT, lacks
from support.once import once_a_run
from support.places import data_dir
from support.programs import Program

SERVER = sorted(set(house.PRODUCT) - {"recado"})
CLIENT_COMMANDS = {"token", "topics", "publish", "tail", "export", "chat", "platforms", "bridges", "doctor"}
BUILD_SDIST = "import sys; from setuptools import build_meta; print(build_meta.build_sdist(sys.argv[1]))"
NOT_PACKED = {"pyproject.toml", "README.md", "LICENSE"}


class Environment:
    """A virtual environment with some wheels; what these need is lent by the tests' own."""

    def __init__(self, root: Path, *wheels: Path) -> None:
        self.bin = root / "bin"
        self._cwd = root / "work"
        run(sys.executable, "-m", "venv", "--without-pip", str(root), cwd=root.parent)
        run(
            sys.executable, "-m", "pip", "--python", str(self.bin / "python"), "install",
            "-q", "--no-index", "--no-deps", "--no-compile", *map(str, wheels), cwd=root,
        )  # fmt: skip
        lent = next(root.glob("lib/python*/site-packages")) / "lent.pth"
        lent.write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
        self._cwd.mkdir()
        # An application's own, which stands first on the way.
        (self._cwd / "messaging.py").write_text("raise ImportError('this is the messaging of an application')\n")

    def run(self, program: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.bin / program, *arguments], cwd=self._cwd, env={"PATH": os.environ["PATH"], **environ},
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True)
class Made:
    tree: Path
    wheels: dict[str, Path]
    client: Environment
    both: Environment


def build_and_install(root: Path) -> Made:
    tree, out = root / "tree", root / "wheels"
    out.mkdir()
    copy_clean(tree)
    for project in (tree, tree / "recado"):
        build(project, out)
    wheels = {path.name.partition("-")[0].replace("_", "-"): path for path in out.glob("*.whl")}
    return Made(
        tree, wheels, Environment(root / "client", wheels["recado"]), Environment(root / "both", *wheels.values())
    )


def copy_clean(tree: Path) -> None:
    """What the two are made from, without anything that a work tree gathers."""
    for name in house.PRODUCT:
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    for name in NOT_PACKED:
        shutil.copy(ROOT / name, tree / name)


def build(project: Path, out: Path) -> None:
    """A wheel from its source distribution, without the network."""
    sdist = run(sys.executable, "-c", BUILD_SDIST, str(out), cwd=project).split()[-1]
    run(
        sys.executable, "-m", "pip", "wheel", "-q", "--no-index", "--no-build-isolation", "--no-deps",
        "-w", str(out), str(out / sdist), cwd=out,
    )  # fmt: skip


@pytest.fixture
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    if int(version("setuptools").partition(".")[0]) < 77:
        lacks("setuptools is older than 77 here: make .venv/.dev")
    return once_a_run(tmp_path_factory, "distributions", build_and_install)


@pytest.fixture
def client(made: Made) -> Environment:
    return made.client


@pytest.fixture
def both(made: Made) -> Environment:
    return made.both


@pytest.mark.parametrize(("distribution", "rooms"), [("recado", ["recado"]), ("recado-server", SERVER)])
def test_a_wheel_has_every_file_of_its_rooms_and_no_other(made: Made, distribution: str, rooms: list[str]) -> None:
    files = [path for room in rooms for path in (made.tree / room).rglob("*") if path.is_file()]
    ours = {path.relative_to(made.tree).as_posix() for path in files if path.parent.suffix != ".egg-info"}
    with zipfile.ZipFile(made.wheels[distribution]) as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
        about = {name.rpartition("/")[2] for name in wheel.namelist()} - {Path(name).name for name in packed}
    assert packed == ours - {f"recado/{name}" for name in NOT_PACKED}
    assert {"METADATA", "LICENSE"} <= about


def test_the_client_comes_without_the_server_and_is_not_troubled_by_an_applications_names(client: Environment) -> None:
    script = (
        "import sys; sys.path.insert(0, '.'); from importlib.util import find_spec\n"
        "import recado.client, recado.terminal.commands\n"
        f"print([room for room in {SERVER} if find_spec(room)], find_spec('messaging').origin)"
    )
    found = client.run("python", "-c", script)

    assert found.stdout.startswith("['messaging'] "), found.stderr
    assert found.stdout.rstrip().endswith("work/messaging.py")


@pytest.mark.parametrize("arguments", [[], ["up"], ["restored"]])
def test_without_the_server_one_line_says_how_to_get_it(client: Environment, arguments: list[str]) -> None:
    done = client.run("recado", *arguments)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "pip install recado-server" in done.stderr


def listed(help_text: str) -> set[str]:
    return {line.split()[0] for line in help_text.splitlines() if line.startswith("    ") and line[4:5].isalpha()}


def test_the_help_lists_what_is_here(client: Environment, both: Environment) -> None:
    assert listed(client.run("recado", "--help").stdout) == CLIENT_COMMANDS
    assert listed(both.run("recado", "--help").stdout) == CLIENT_COMMANDS | {"up", "restored"}


def test_the_version_is_told(client: Environment) -> None:
    assert client.run("recado", "--version").stdout == f"recado {recado.__version__}\n"


def test_a_doctor_looks_behind_the_doors_where_the_server_is(client: Environment, both: Environment) -> None:
    nowhere = {"API_PORT": "1", "WS_PORT": "1"}
    subjects = []
    for environment in (client, both):
        done = environment.run("recado", "doctor", "--json", **nowhere)
        subjects.append({finding["subject"].split()[0] for finding in json.loads(done.stdout)})
        assert done.returncode == 1

    assert subjects[0] == {"WebSocket", "API"}
    assert subjects[1] == {"WebSocket", "API", "database", "bus", "descriptors", "disk"}


def test_an_application_that_uses_the_client_is_type_checked_strictly(client: Environment, tmp_path: Path) -> None:
    source = tmp_path / "application.py"
    source.write_text(
        "from recado.client import Client\n\n"
        "async def main() -> int:\n"
        "    async with Client('ws://127.0.0.1:5000', 'a token') as client:\n"
        "        return await client.publish('noticias', {'a': 1}, ttl='long')\n"
    )
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--python-executable", client.bin / "python", source.name],
        cwd=tmp_path, capture_output=True, text=True, timeout=100,
    )  # fmt: skip

    complaints = [line for line in checked.stdout.splitlines() if ": error: " in line]
    assert len(complaints) == 1, checked.stdout
    assert 'Argument "ttl" to "publish" of "Client" has incompatible type "str"' in complaints[0]


async def test_the_server_starts_from_its_wheel(both: Environment) -> None:
    with data_dir() as data:
        server = await Program.start(str(both.bin / "recado"), DATA_DIR=str(data), WS_PORT="0", API_PORT="0")
        try:
            await server.line("^ready$")
        finally:
            assert await server.end() == 0
