"""A test that hangs is ended from outside, and names itself."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from support import time_limit
time_limit._GRACE = 0.5

def pytest_configure(config):
    time_limit.install(config)
"""
WAITS = """
import asyncio, subprocess, pytest, uvloop

async def outer():
    await inner()

async def inner():
    await asyncio.get_running_loop().create_future()

async def hang(child):
    task = asyncio.create_task(outer(), name="the one that waits")
    await task

@pytest.mark.limit(1)
def test_hangs():
    child = subprocess.Popen(["sleep", "1000"])
    uvloop.run(hang(child))
"""
BLOCKED = """
import ctypes, pytest

@pytest.fixture(scope="module")
def stuck():
    ctypes.PyDLL(None).usleep(10**9)

@pytest.mark.limit(1)
def test_hangs(stuck): pass
"""
SLOW_END = """
import time, pytest

@pytest.fixture
def slow():
    yield
    time.sleep(1000)

@pytest.mark.limit(1)
def test_hangs(slow): pass
"""


def run(folder: Path, text: str, *options: str) -> tuple[int, str]:
    """Exit code and all output; as the children hold its pipe too, reading it to its end shows that they are gone."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(text + "\n\ndef test_next(): pass\n")
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", str(folder), *options, str(folder)]
    # Neither this run's own settings nor plugins that only cost time.
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "COV"))}
    environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    ended = subprocess.run(
        command, env=environ, timeout=60, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return ended.returncode, ended.stdout


def test_a_hanging_test_is_ended_with_the_stacks_of_its_tasks_and_threads(tmp_path: Path) -> None:
    code, output = run(tmp_path, WAITS)
    assert code == 70
    assert "test_it.py::test_hangs (call) has not ended within 1 s" in output
    assert "Task the one that waits:" in output
    assert "in outer" in output and "in inner" in output
    assert "Thread 0x" in output and "in test_hangs" in output


def test_what_holds_the_interpreter_is_ended_too(tmp_path: Path) -> None:
    code, output = run(tmp_path, BLOCKED)
    assert code == 1
    assert "Timeout (0:00:01.500000)!" in output and "in stuck" in output


@pytest.mark.parametrize("text", [WAITS, SLOW_END])
def test_a_worker_of_xdist_that_hangs_is_named_and_another_goes_on(tmp_path: Path, text: str) -> None:
    code, output = run(tmp_path, text, "-p", "xdist", "-n", "1")
    assert code == 1
    assert "crashed while running 'test_it.py::test_hangs'" in output
    assert "has not ended within 1 s" in output and "=== " in output
    assert "1 failed, 1 passed" in output or "1 failed, 2 passed" in output


def test_a_quick_one_is_left_alone(tmp_path: Path) -> None:
    code, output = run(tmp_path, "def test_it(): pass", "-p", "xdist", "-n", "1")
    assert (code, "2 passed" in output) == (0, True), output
