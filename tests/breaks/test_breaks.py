"""The table fits the code, and the runner tells a catch from an error of its own. `make breaks` runs the table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from breaks.running import Report, Tree, Verdict, judge, judge_unbroken
from breaks.table import RULES, Break, check, load
from conftest import ROOT

TEST = "test_product.py::test_it"
PRODUCT = "def most() -> int:\n    return 3\n"


def test_the_table_fits_the_code() -> None:
    breaks = load()
    assert [] == list(check(breaks, ROOT))
    assert len(breaks) >= 60
    assert set(RULES) == {each.rule for each in breaks}


def test_every_test_that_it_names_is_there() -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    tests = sorted({each.test for each in load()})
    found = subprocess.run([*command, *tests], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr


def a_break(**changes: str) -> Break:
    said = {"why": "at most 3", "file": "product.py", "text": "return 3", "becomes": "return 4", "test": TEST}
    return Break(rule=6, **{**said, **changes})


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({}, ""),
        ({"text": "return 5"}, "stands 0 times"),
        ({"text": "m", "becomes": "n"}, "stands 2 times"),
        ({"file": "gone.py"}, "No such file"),
        ({"becomes": "return ("}, "never closed"),
        ({"becomes": "return 3"}, "another number of lines"),
        ({"becomes": "x = 4\n    return x"}, "another number of lines"),
        ({"text": PRODUCT, "becomes": "def least() -> int:\n    return 4\n"}, "another number of lines"),
    ],
)
def test_a_break_that_can_not_be_made_is_complained_about(
    tmp_path: Path, changes: dict[str, str], complaint: str
) -> None:
    (tmp_path / "product.py").write_text("# most\n" + PRODUCT)
    complaints = "\n".join(check([a_break(**changes)], tmp_path))
    assert complaint in complaints and bool(complaint) == bool(complaints)


def test_the_same_break_twice_is_complained_about(tmp_path: Path) -> None:
    (tmp_path / "product.py").write_text(PRODUCT)
    assert ["twice"] == [each.rpartition(" ")[2] for each in check([a_break(), a_break()], tmp_path)]


# --- verdicts --------------------------------------------------------------------------------------


def reports(setup: str = "passed", call: str = "passed", teardown: str = "passed", text: str = "") -> list[Report]:
    phases = [("setup", setup), ("call", call), ("teardown", teardown)]
    return [Report(TEST, phase, outcome, text) for phase, outcome in phases if outcome]


COLLECTING = Report("test_product.py", "collect", "failed", "E  ModuleNotFoundError: No module named 'gone'")
OURS, THEIRS = True, False


@pytest.mark.parametrize("text", ["E  assert 4 == 3", "E  TimeoutError", "E  BadRequest: NameErrors: 2"])
def test_a_test_that_fails_by_itself_has_caught_it(text: str) -> None:
    assert judge(TEST, reports(call="failed", text=text)).caught
    assert judge(TEST, reports(call="failed", teardown="failed", text=text)).caught


@pytest.mark.parametrize(
    ("found", "why", "ours"),
    [
        (reports(), "passes", THEIRS),
        ([], "no such test", OURS),
        ([Report("test_product.py::test_other", "call", "failed", "")], "no such test", OURS),
        ([COLLECTING], "can't be collected: ModuleNotFoundError", OURS),
        ([*reports(call="failed"), COLLECTING], "can't be collected", OURS),
        (reports(setup="skipped", call=""), "skipped", OURS),
        (reports(call="skipped"), "skipped", OURS),
        (reports(setup="failed", call=""), "a fixture fails", OURS),
        (reports(teardown="failed"), "only a fixture fails", OURS),
        (reports(call="", teardown=""), "not ended by itself", OURS),
        (reports(call="failed", teardown=""), "not ended by itself", OURS),
        (reports(call="failed", text="E  NameError: name 'x' is not defined"), "NameError", OURS),
        (reports(call="failed", text="asyncpg.exceptions.PostgresSyntaxError: at FROM"), "SyntaxError", OURS),
    ],
)
def test_nothing_else_is_a_catch(found: list[Report], why: str, ours: bool) -> None:
    verdict = judge(TEST, found)
    assert why in verdict.why and (False, ours) == (verdict.caught, verdict.ours)


def test_unbroken_every_test_must_pass() -> None:
    assert [] == list(judge_unbroken([TEST], reports()))
    for bad in ([], [COLLECTING], reports(call="failed"), reports(setup="skipped", call=""), reports(call="")):
        assert list(judge_unbroken([TEST], bad))
    assert list(judge_unbroken([TEST], reports(teardown="failed")))


# --- trees -----------------------------------------------------------------------------------------

TESTS = """
import time, pytest, product

@pytest.fixture
def three(): assert product.most() == 3

def test_it(): assert product.most() == 3
def test_other(): assert product.most() > 0
def test_behind_a_fixture(three): assert product.most() == 3
def test_without_end(): product.most() == 3 or time.sleep(3600)
"""


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # it needs none, and each takes its time
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "product.py").write_text(PRODUCT)
    (tmp_path / "test_product.py").write_text(TESTS)
    return Tree(tmp_path)


def test_what_a_real_run_says(tree: Tree) -> None:
    def tried(name: str = "it", limit: float = 60, **changes: str) -> Verdict:
        return tree.try_break(a_break(test=f"test_product.py::test_{name}", **changes), limit)

    assert tried().caught
    assert not tried("other").caught and not tried("other").ours
    assert tried("behind_a_fixture").ours and tried("that_is_gone").ours
    assert tried(becomes="return x").ours and tried(text="return 5").ours
    assert "no end within 2 s" in tried("without_end", limit=2).why
    assert (tree.root / "product.py").read_text() == PRODUCT
    assert [] == list(judge_unbroken([TEST], tree.run([TEST], 60)))


def test_a_copy_has_what_git_has(tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    (source / "tests" / "node_modules").mkdir(parents=True)
    (source / ".gitignore").write_text("*.log\n/tests/node_modules\n")
    for name in ("tracked.py", "new.py", "an.log"):
        (source / name).write_text(name)
    for command in (["init", "-q"], ["add", "tracked.py"]):
        subprocess.run(["git", *command], cwd=source, check=True)
    Tree.copied(source, copy)
    assert {".gitignore", "tracked.py", "new.py"} == {path.name for path in copy.glob("*") if path.is_file()}
    assert (copy / "tests" / "node_modules").is_symlink()
