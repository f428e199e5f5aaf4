"""What the tests of the live view and of the operator's page share, beside `browsing`: named in `pytest_plugins`.

It is imported before it becomes a plugin, hence PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from browsing import person
from playwright.async_api import Browser, Page, expect

from conftest import ROOT, needs
from support.programs import Recado, recado

KEY = "the key of the tests' backend"
PATIENCE = 30_000  # milliseconds; on a busy machine a browser is slow to draw
AXE = ROOT / "tests" / "node_modules" / "axe-core" / "axe.min.js"

Opener = Callable[..., Awaitable[Page]]


@dataclass
class Backend:
    """Somebody who publishes by REST."""

    server: Recado
    http: aiohttp.ClientSession

    async def ask(self, method: str, path: str, **body: Any) -> Any:
        url = f"{self.server.api}/api/v1/{path}"
        async with self.http.request(method, url, json=body or None) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json() if answer.status != 204 else None

    async def topic(self, kind: str = "public", *, name: str = "") -> str:
        name = name or f"updates.store.{uuid.uuid4()}"
        await self.ask("PUT", f"topics/{quote(name, safe='')}", owner="ezout", kind=kind)
        return name

    async def publish(self, topic: str, contents: Iterable[Any], sender: str = "ezout") -> None:
        items = [{"topic_name": topic, "content": content, "sender": sender} for content in contents]
        async with self.http.post(f"{self.server.api}/api/v1/messages/batch", json=items) as answer:
            assert answer.status == 200, await answer.text()


@asynccontextmanager
async def backend_of(server: Recado, key: str = "") -> AsyncIterator[Backend]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with aiohttp.ClientSession(headers=headers) as http:
        yield Backend(server, http)


@pytest.fixture(scope="module")
async def backend() -> AsyncIterator[Backend]:
    """Of a server in open mode."""
    async with recado(RATE_LIMIT="0") as server, backend_of(server) as found:
        yield found


@pytest.fixture(scope="module")
async def guarded() -> AsyncIterator[Backend]:
    """Of a server in key mode."""
    async with recado(AUTH_MODE="key", API_KEY=KEY) as server, backend_of(server, KEY) as found:
        yield found


@pytest.fixture
async def open_page(browser: Browser) -> AsyncIterator[Opener]:
    """Opens pages, each in a browser of its own."""
    expect.set_options(timeout=PATIENCE)
    async with contextlib.AsyncExitStack() as stack:

        async def opened(backend: Backend, path: str, **options: Any) -> Page:
            context = await stack.enter_async_context(person(browser, backend.server, **{"locale": "en-US", **options}))
            page = await context.new_page()
            page.set_default_timeout(PATIENCE)
            await page.goto(backend.server.api + path)
            return page

        yield opened


async def look_away(page: Page) -> None:
    """As if the tab went behind another one."""
    await page.evaluate(
        "Object.defineProperty(document, 'hidden', {value: true, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )


async def look_again(page: Page) -> None:
    await page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")


async def flaws(page: Page) -> list[str]:
    """What axe-core finds that keeps people from using a page: serious and critical violations."""
    if not AXE.exists():
        needs("axe-core, of tests/package.json,")
    await page.evaluate(AXE.read_text())  # as the debugger does it: the page's policy lets no script of ours in
    found: list[dict[str, Any]] = (await page.evaluate("axe.run()"))["violations"]
    return [
        f"{each['id']}: {node['html']} {node['failureSummary']}"
        for each in found if each["impact"] in ("serious", "critical") for node in each["nodes"]
    ]  # fmt: skip
