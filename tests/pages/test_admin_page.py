"""The operator's page, in a real browser against a real server."""

from __future__ import annotations

import re
import subprocess
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from browsing import PHONE
from panels_support import KEY, Backend, Opener, backend_of, flaws, look_again, look_away
from playwright.async_api import Page, expect

from conftest import ROOT, needs
from messaging.store.bridges import BridgeStore, DeadLetter
from messaging.store.pool import Pool
from support.programs import recado

pytest_plugins = ["browsing", "panels_support"]


@asynccontextmanager
async def bridge_store(backend: Backend) -> AsyncIterator[BridgeStore]:
    """What a bridge's lane writes into the server's database."""
    pool = Pool(f"postgresql://postgres@/recado?host={backend.server.data}/run&port=5432", 1)
    await pool.open()
    try:
        yield BridgeStore(pool)
    finally:
        await pool.close()


async def bury(pool_of: BridgeStore, bridge: str, seq: int, content: str | None) -> None:
    sent_at = None if content is None else await pool_of._pool.value("clock")
    await pool_of.bury(
        DeadLetter(
            bridge=bridge,
            topic="updates.a",
            topic_id=7,
            seq=seq,
            sender="ana",
            content=content,
            sent_at=sent_at,
            reason="answered 422",
        )
    )


def line(page: Page, panel: str, text: str) -> Any:
    return page.locator(f"#{panel} tbody tr", has_text=text)


def test_the_pure_parts() -> None:
    done = subprocess.run(
        [needs("node"), "--test", ROOT / "tests/pages/admin.test.mjs"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


async def test_how_much_where_and_who_is_behind(backend: Backend, open_page: Opener) -> None:
    topic = await backend.topic()
    await backend.ask("PUT", f"topics/{topic}/members/eva")
    page = await open_page(backend, "/admin")
    await expect(page.locator("#state")).to_have_text("Up to date")
    before = int((await page.locator("#appended").inner_text()).replace(",", ""))
    await backend.publish(topic, range(40))
    await expect(page.locator("#appended")).to_have_text(f"{before + 40:,}")
    await expect(line(page, "busiest", topic)).to_contain_text("40")
    await expect(line(page, "behind", "eva")).to_have_text(re.compile(rf"^eva{re.escape(topic)}40\d+ seconds?$"))
    await expect(page.locator("#behind-about")).to_contain_text("50 longest topics and 1,000 members")
    await expect(page.locator("#process-about")).to_contain_text(":")
    await expect(page.locator("#plot .line")).to_have_attribute("d", re.compile("^M"))


async def test_a_key_is_asked_for_and_a_wrong_one_is_called_so(guarded: Backend, open_page: Opener) -> None:
    page = await open_page(guarded, "/admin")
    await expect(page.locator("#state")).to_have_text("Key needed")
    user = (await guarded.ask("POST", "tokens", user="ana"))["token"]
    for wrong in ("a wrong key", user):
        await page.get_by_label("API key").fill(wrong)
        await page.get_by_role("button", name="Open").click()
        await expect(page.locator(".alert")).to_have_text("The server does not take this key.")
    await page.get_by_label("API key").fill(KEY)
    await page.get_by_role("button", name="Open").click()
    await expect(page.locator("#state")).to_have_text("Up to date")
    await page.reload()
    await expect(page.locator("#state")).to_have_text("Up to date")  # kept by this tab
    assert KEY not in page.url and await page.evaluate("localStorage.length") == 0
    await page.get_by_role("button", name="Forget the key").click()
    await expect(page.locator("#state")).to_have_text("Key needed")


async def test_bridges_with_their_lag_and_what_they_gave_up_on(backend: Backend, open_page: Opener) -> None:
    name = f"shops{uuid.uuid4().hex}"
    async with bridge_store(backend) as store:
        user_id = await store.register(name, "test", f"{name}.%")
        await store.report(user_id, "failing", "connection refused", 3)
        await bury(store, name, 1, '{"n":"<img src=x>"}')
        await bury(store, name, 2, '"two"')
        await bury(store, name, 3, None)
    await backend.topic(name=f"{name}.a")
    await backend.publish(f"{name}.a", ["one"])
    page = await open_page(backend, "/admin")
    bridge = line(page, "bridges", name)
    await expect(bridge).to_contain_text("connection refused (3 attempts)")
    assert (await bridge.locator("td").all_inner_texts())[:4] == [name, "out", "failing", "1"]
    await bridge.get_by_role("button", name=f"Pause {name}").click()
    await expect(bridge).to_contain_text("paused by the operator")
    await bridge.get_by_role("button", name=f"Resume {name}").click()
    await expect(bridge.get_by_role("button", name=f"Pause {name}")).to_be_focused()

    await bridge.get_by_role("button", name="dead letters").click()
    letters = page.locator("#letters tbody tr")
    await expect(letters).to_have_count(3)
    await expect(letters.first).to_contain_text('{"n":"<img src=x>"}')
    await expect(letters.last).to_contain_text("expired before it could be sent")
    await page.get_by_label("Choose message 1 of").check()
    await page.get_by_role("button", name="Send again").click()
    await expect(letters).to_have_count(2)
    await expect(page.locator("#letters-said")).to_have_text("1 message is sent again.")
    await page.get_by_label("Choose all").check()
    await page.get_by_role("button", name="Send again").click()
    await expect(letters).to_have_count(1)  # what expired stays
    await expect(bridge.locator("td").nth(3)).to_have_text("3")  # they lie before the bridge again
    assert await page.locator("#letters img").count() == 0


async def test_bridges_in_stand_beside_them_with_their_second_tries(backend: Backend, open_page: Opener) -> None:
    name, topic = f"orders{uuid.uuid4().hex}", f"shop{uuid.uuid4().hex}"
    async with bridge_store(backend) as store:
        await store.report(await store.register_inlet(name, "test"), "waiting", "no route", 2)
        for number, sender, content in [(1, "nats", '"a"'), (2, "nats", f'"{"x" * 70_000}"'), (3, "", '"shown"')]:
            await store.bury(
                DeadLetter(
                    bridge=name,
                    topic=topic,
                    topic_id=0,
                    seq=number,
                    sender=sender,
                    content=content,
                    sent_at=None,
                    reason="no",
                    came_by=f"orders.{number}",
                )
            )
    page = await open_page(backend, "/admin")
    bridge = line(page, "bridges", name)
    await expect(bridge).to_contain_text("no route (2 attempts)")
    assert (await bridge.locator("td").all_inner_texts())[:5] == [name, "in", "waiting", "–", "–"]
    await bridge.get_by_role("button", name=f"Pause {name}").click()
    await expect(bridge).to_contain_text("paused by the operator")
    await bridge.get_by_role("button", name=f"Resume {name}").click()
    await bridge.get_by_role("button", name="dead letters").click()
    letters = page.locator("#letters tbody tr")
    await expect(letters).to_have_count(3)
    await expect(letters.last).to_contain_text("orders.3")  # it could not be read, so nobody sent it
    await expect(letters.last.get_by_role("checkbox")).to_be_disabled()
    await page.get_by_label("Choose all").check()
    await page.get_by_role("button", name="Send again").click()
    await expect(letters).to_have_count(2)
    said = page.locator("#letters-said")
    await expect(said).to_contain_text("1 message is sent again. One stays: The content has 70002 bytes; the most is")
    page_of = await backend.ask("GET", f"topics/{topic}/messages")
    assert [each["content"] for each in page_of["messages"]] == ["a"]


async def test_a_server_that_is_away_is_said(open_page: Opener) -> None:
    async with recado() as server, backend_of(server) as backend:
        page = await open_page(backend, "/admin")
        await expect(page.locator("#state")).to_have_text("Up to date")
        await server.end()
        await expect(page.locator("#state")).to_have_text("Not connected")
        await expect(page.locator("#advice")).to_contain_text("the last that it said")
        await expect(page.locator("#topics")).not_to_be_empty()
        again = await server.again()
        try:
            await expect(page.locator("#state")).to_have_text("Up to date")
        finally:
            await again.end()


async def test_it_asks_only_while_somebody_looks(backend: Backend, open_page: Opener) -> None:
    page = await open_page(backend, "/admin")
    await expect(page.locator("#state")).to_have_text("Up to date")
    await look_away(page)
    await expect(page.locator("#state")).to_contain_text("old")
    async with page.expect_request("**/api/v1/overview"):
        await look_again(page)
    await expect(page.locator("#state")).to_have_text("Up to date")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_people_with_other_eyes_and_hands(backend: Backend, open_page: Opener, scheme: str) -> None:
    topic = await backend.topic()
    await backend.publish(topic, ["one"])
    async with bridge_store(backend) as store:
        await store.register("seen", "test", "nothing.%")
        await bury(store, "seen", 1, '"one"')
    page = await open_page(backend, "/admin", color_scheme=scheme)
    await page.get_by_role("button", name="dead letters of seen").click()
    await expect(page.locator("#letters tbody tr")).to_have_count(1)
    assert await flaws(page) == []


@pytest.mark.parametrize(("locale", "title"), [("es-ES", "Al día"), ("it-IT", "Aggiornato"), ("fr-FR", "Up to date")])
async def test_languages(backend: Backend, open_page: Opener, locale: str, title: str) -> None:
    page = await open_page(backend, "/admin", locale=locale)
    await expect(page.locator("#state")).to_have_text(title)


async def test_a_phone_needs_no_scrolling_sideways(backend: Backend, open_page: Opener) -> None:
    page = await open_page(backend, "/admin", viewport=PHONE)
    await expect(page.locator("#state")).to_have_text("Up to date")
    assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
