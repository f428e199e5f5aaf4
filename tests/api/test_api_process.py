"""The API as a process of its own."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import aiohttp
import pytest

from messaging.runtime.process import deployed_settings
from messaging.settings.settings import SettingsError
from support.doors import SECRET
from support.places import free_port

ROOT = Path(__file__).resolve().parents[2]


async def started(**environ: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "api", cwd=ROOT, env={"PATH": os.environ["PATH"], **environ},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_says_ready_serves_and_stops(database: str, number: signal.Signals) -> None:
    port = free_port()
    process = await started(DATABASE_URL=database, JWT_SECRET=SECRET, API_PORT=str(port))
    assert process.stdout is not None
    async with asyncio.timeout(30):
        assert await process.stdout.readline() == b"ready\n"
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/readyz") as response:
            assert response.status == 200
        process.send_signal(number)
        _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()


@pytest.mark.parametrize("missing", ["DATABASE_URL", "JWT_SECRET"])
def test_what_it_needs(missing: str) -> None:
    environ = {"DATABASE_URL": "postgresql://host/name", "JWT_SECRET": SECRET}
    with pytest.raises(SettingsError, match=f"^{missing}: "):
        deployed_settings({**environ, missing: " "})
    with pytest.raises(SettingsError, match="API_PORT"):
        deployed_settings({**environ, "API_PORT": "x"})
