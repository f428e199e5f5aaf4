"""What of the inbox page and of recado.js needs no browser, by node's own test runner."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from conftest import needs

HERE = Path(__file__).parent


@pytest.mark.parametrize("name", ["inbox", "recado", "recado-client"])
async def test_modules(name: str) -> None:
    process = await asyncio.create_subprocess_exec(
        needs("node"), "--test", str(HERE / f"{name}.test.mjs"), stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert "# fail 0" in output.decode() and "# pass 0" not in output.decode()
