"""A real browser before a real server: fixtures, for modules that name this one in `pytest_plugins`.

It is imported before it becomes a plugin, hence PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import asyncpg
import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from conftest import needs
from support.programs import Recado, recado
from support.waiting import until

ARGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
CHROMIUM = ("chromium-headless-shell", "chromium")  # the first has no windows to draw, and takes a third less
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 800}


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    program = needs(*CHROMIUM)
    async with async_playwright() as playwright:
        found = await playwright.chromium.launch(executable_path=program, args=ARGS)
        yield found
        await found.close()


@pytest.fixture
async def server() -> AsyncIterator[Recado]:
    """A server of the test's own."""
    needs(*CHROMIUM)
    async with recado() as program:
        yield program


@contextlib.asynccontextmanager
async def person(browser: Browser, server: Recado, **options: Any) -> AsyncIterator[BrowserContext]:
    """Somebody with a browser of their own: its pages may raise nothing, and ask no other host."""
    context = await browser.new_context(**{"viewport": DESKTOP, "locale": "en-GB", **options})
    context.set_default_timeout(10_000)
    raised: list[str] = []
    asked: list[str] = []
    context.on("weberror", lambda error: raised.append(str(error.error)))
    context.on("console", lambda said: raised.append(said.text) if "Content Security Policy" in said.text else None)
    context.on("request", lambda request: asked.append(request.url))
    try:
        yield context
    finally:
        await context.close()
    assert raised == []
    assert [url for url in asked if not url.startswith((server.api, "blob:"))] == []


async def log_in(context: BrowserContext, server: Recado, user: str, *, stays: bool = False) -> Page:
    """A page in which ``user`` has logged in by name."""
    page = await context.new_page()
    await page.goto(server.api)
    await page.get_by_label("Your name").fill(user)
    if stays:
        await page.get_by_label("Stay logged in").check()
    await page.get_by_role("button", name="Open my inbox").click()
    await connected(page)
    return page


async def connected(page: Page, timeout: float = 40_000) -> None:
    await page.locator(".topbar[data-state=online]").wait_for(timeout=timeout)


async def open_conversation(page: Page, name: str) -> None:
    await page.get_by_role("navigation").get_by_role("link", name=name).click()
    await page.get_by_role("heading", level=1, name=name).wait_for()


async def texts(page: Page) -> list[str]:
    """The messages in the page, as they stand from top to bottom."""
    found: list[str] = await page.locator(".message .body").all_inner_texts()
    return found


async def shows(page: Page, *wanted: str) -> None:
    """Wait until the page has just these messages."""
    await page.wait_for_function(
        """wanted => {
            const found = [...document.querySelectorAll(".message .body")].map(each => each.innerText);
            return JSON.stringify(found) === JSON.stringify(wanted);
        }""",
        arg=wanted,
    )


async def post(server: Recado, path: str, body: Any, *, method: str = "POST", status: int | None = None) -> str:
    """Ask the API as a backend does."""
    async with aiohttp.ClientSession() as http, http.request(method, server.api + path, json=body) as answer:
        text = await answer.text()
        assert answer.status == status if status else answer.ok, f"{answer.status} {text}"
        return text


async def leave_texts(server: Recado, receiver: str, *bodies: str, sender: str = "ACMESky") -> None:
    """Leave texts in an inbox, as ProntoGram's backends do."""
    for body in bodies:
        assert "" == await post(server, "/messages", {"sender": sender, "receiver": receiver, "body": body}, status=200)


async def stored(server: Recado, topic: str) -> list[int]:
    """The seqs of a topic's messages that the server's own database holds."""
    connection = await asyncpg.connect(host=str(server.data / "run"), port=5432, user="postgres", database="recado")
    try:
        rows = await connection.fetch(
            "SELECT seq FROM recado.messages JOIN recado.topics AS t ON t.id = topic_id WHERE t.name = $1 ORDER BY seq",
            topic,
        )
        return [row["seq"] for row in rows]
    finally:
        await connection.close()


async def until_stored(server: Recado, topic: str, wanted: list[int], timeout: float = 30) -> None:
    """Wait until the database holds just these of a topic's messages: nothing announces a purge."""
    await until(lambda: stored(server, topic), lambda found: found == wanted, timeout)
