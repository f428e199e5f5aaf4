"""The example is what it says: one command, and both sides have all."""

from __future__ import annotations

import asyncio
import sys

import pytest

from conftest import ROOT, needs


@pytest.mark.limit(180)
async def test_three_shops_in_one_command() -> None:
    needs("nats-server")
    program = await asyncio.create_subprocess_exec(
        sys.executable, str(ROOT / "examples" / "ezout"), cwd=ROOT,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(120):
        output, _ = await program.communicate()
    assert program.returncode == 0, output.decode()[-2000:]
    assert b"has heard all of them, and so has ana" in output
