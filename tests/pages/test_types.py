"""What holds of api/web before anything runs: who imports whom, and the types, with those that recado.js brings."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import ROOT, needs

HERE = Path(__file__).parent
WEB = ROOT / "api" / "web"
TYPES = ("recado.d.ts", "recado-api.d.ts", "recado-rules.d.ts")  # what an application sees of it


def test_a_page_imports_from_its_own_room_from_shared_and_recado_alone() -> None:
    """So that no page loads another one, and who takes recado*.js has all of it."""
    beyond = [
        f"{path.relative_to(WEB)} imports {found.relative_to(WEB)}"
        for path in WEB.rglob("*.js")
        for name in re.findall(r'(?:from |import\()"(.+?)"', path.read_text())
        if (found := (path.parent / name).resolve()).parent not in (WEB, path.parent)
        if found.parent != WEB / "shared" or path.parent == WEB
    ]
    assert beyond == []


def check(*arguments: str | Path) -> None:
    tsc = subprocess.run([needs("tsc"), *arguments], capture_output=True, text=True)
    if tsc.returncode:
        pytest.fail(tsc.stdout, pytrace=False)


def test_recado_js_fits_its_types_and_brings_them(tmp_path: Path) -> None:
    """From a copy without them: beside its types TypeScript would not look at the module itself."""
    for module in WEB.glob("recado*.js"):
        shutil.copy(module, tmp_path)
    shutil.copy(HERE / "tsconfig.recado.json", tmp_path / "tsconfig.json")
    check("-p", tmp_path)
    made = {name: (tmp_path / name).read_text() for name in TYPES}
    if os.environ.get("WRITE_TYPES"):
        for name, text in made.items():
            (WEB / name).write_text(text)
    if made != {path.name: path.read_text() for path in WEB.glob("*.d.ts")}:
        pytest.fail("api/web/*.d.ts are not the types of recado.js: make types", pytrace=False)


def test_the_pages_fit_their_types() -> None:
    check("-p", HERE)
