"""The live view, in a real browser against a real server."""

from __future__ import annotations

import asyncio
import subprocess
import time
import uuid
from typing import Any
from urllib.parse import quote

import pytest
from browsing import PHONE
from panels_support import Backend, Opener, backend_of, flaws, look_again, look_away
from playwright.async_api import Locator, Page, expect

from conftest import ROOT, needs
from support.programs import recado

pytest_plugins = ["browsing", "panels_support"]


def watch(topic: str) -> str:
    return f"/watch/{quote(topic, safe='')}"


def checkout(number: int, **fields: Any) -> dict[str, Any]:
    """A backend's event, as EzOut sends it."""
    return {
        "session_id": str(uuid.UUID(int=number)), "shop_id": str(uuid.UUID(int=1)), "shopper_id": str(uuid.UUID(int=2)),
        "action_id": 1, "create_time": "2026-11-22 10:30:00+00:00", "action": "add", "product_name": f"mug {number}",
        "product_id": number, "product_price": 2.5, "UPC": "0001", "category_id": "c", "basket_total": 10.0, **fields,
    }  # fmt: skip


async def see(page: Page, text: str) -> None:
    await expect(page.locator("#scroller tbody")).to_contain_text(text)


async def heads(page: Page) -> list[str]:
    return await page.locator("#scroller thead th").all_inner_texts()


async def place_of(row: Locator) -> float:
    """Where a row stands in what is scrolled, in pixels."""
    top: float = await row.evaluate(
        "each => each.getBoundingClientRect().y - each.closest('#scroller').getBoundingClientRect().y"
    )
    return top


async def received(page: Page, count: int) -> None:
    await page.wait_for_function("n => document.getElementById('received').textContent === n", arg=f"{count:,}")


def test_the_pure_parts() -> None:
    done = subprocess.run(
        [needs("node"), "--test", ROOT / "tests/pages/watch.test.mjs"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


async def test_what_was_sent_is_there_and_what_comes_appears(backend: Backend, open_page: Opener) -> None:
    topic = await backend.topic()
    await backend.publish(topic, [checkout(n) for n in range(3)])
    page = await open_page(backend, watch(topic))
    await see(page, "mug 2")
    assert await heads(page) == [
        "Time", "create_time", "action", "product_name", "product_price", "UPC", "basket_total",
    ]  # fmt: skip
    await backend.publish(topic, [checkout(7)])
    await see(page, "mug 7")
    assert "mug 7" in await page.locator("#scroller tbody tr[data-seq]").first.inner_text()  # the newest on top
    await received(page, 1)
    await expect(page.locator("#rate")).to_have_text("4")
    await expect(page.locator("#totals tbody tr").first).to_have_text("product_price102.5102.5")
    await expect(page.locator("#state")).to_have_text("Live")


async def test_a_shop_manager_sees_a_checkout_as_the_backend_reports_it(backend: Backend, open_page: Opener) -> None:
    shop = uuid.uuid4()
    page = await open_page(backend, watch(f"updates.store.{shop}"))  # before the shop's first event
    await expect(page.locator("#state")).to_have_text("Waiting for the topic")
    event = checkout(1, session_id=str(uuid.uuid4()), shop_id=str(shop), shopper_id=str(uuid.uuid4()))
    url = f"{backend.server.api}/publish/{shop}"
    async with backend.http.post(url, json=event) as answer:
        assert answer.status == 200, await answer.text()
    await see(page, "mug 1")
    assert "basket_total" in await heads(page)


async def test_plain_texts_have_one_column(backend: Backend, open_page: Opener) -> None:
    topic = await backend.topic(name=f"plain/{uuid.uuid4()}+x")
    await backend.publish(topic, ["hello", "world"], sender="ana")
    page = await open_page(backend, watch(topic))
    await see(page, "world")
    assert await heads(page) == ["Time", "From", "Message"]
    await expect(page.locator("h1")).to_have_text(topic)


async def test_history_comes_with_scrolling(backend: Backend, open_page: Opener) -> None:
    topic = await backend.topic()
    await backend.publish(topic, [checkout(n) for n in range(350)])
    page = await open_page(backend, watch(topic))
    await see(page, "mug 349")
    while await page.locator("tr[data-seq='1']").count() == 0:
        await page.locator("#scroller").evaluate("each => each.scrollTop = each.scrollHeight")
        await page.evaluate("() => new Promise(requestAnimationFrame)")
    await expect(page.locator("#about")).to_contain_text("350 of 350")
    await page.get_by_role("button", name="To the newest").click()
    await see(page, "mug 349")


async def test_who_reads_further_down_stays_there(backend: Backend, open_page: Opener) -> None:
    topic = await backend.topic()
    await backend.publish(topic, [checkout(n) for n in range(90)])
    page = await open_page(backend, watch(topic))
    await see(page, "mug 89")
    await page.locator("#scroller").evaluate("each => each.scrollTop = 1000")
    row = page.locator("tr[data-seq='55']")
    await expect(row).to_be_visible()
    before = await place_of(row)
    await backend.publish(topic, [checkout(n) for n in range(90, 97)])
    await received(page, 7)
    assert await place_of(row) == before


async def test_the_filter(backend: Backend, open_page: Opener) -> None:
    topic = await backend.topic()
    await backend.publish(topic, [checkout(1, action="remove", product_price=30), checkout(2), checkout(3)])
    page = await open_page(backend, watch(topic))
    await see(page, "mug 3")
    rows = page.locator("tr[data-seq]")
    await page.locator("#filter").fill("REMOVE mug")
    await expect(rows).to_have_count(1)
    await backend.publish(topic, [checkout(4), checkout(5, action="remove", product_price=10)])
    await expect(rows).to_have_count(2)
    await expect(page.locator("#totals tbody tr").first).to_have_text("product_price40204020")
    await page.locator("#filter-column").select_option("product_price")
    await page.locator("#filter").fill("> 20")
    await expect(rows).to_have_count(1)
    await page.locator("#filter").fill("> 99")
    await expect(page.locator("#empty")).to_have_text("Nothing that is kept passes this filter.")
    await page.locator("#filter").fill("")
    await expect(rows).to_have_count(5)


async def test_columns_are_chosen(backend: Backend, open_page: Opener) -> None:
    topic = await backend.topic()
    await backend.publish(topic, [checkout(1)])
    page = await open_page(backend, watch(topic))
    await see(page, "mug 1")
    await page.get_by_role("button", name="Columns").click()
    for name in ("Time", "create_time", "action", "UPC", "product_price"):
        await page.get_by_label(name, exact=True).uncheck()
    await page.get_by_label("product_id").check()
    assert await heads(page) == ["product_name", "product_id", "basket_total"]
    await page.keyboard.press("Escape")
    await expect(page.get_by_label("product_id")).to_be_hidden()


async def test_a_pause_holds_what_comes_and_says_how_much(backend: Backend, open_page: Opener) -> None:
    topic = await backend.topic()
    await backend.publish(topic, [checkout(1)])
    page = await open_page(backend, watch(topic))
    await see(page, "mug 1")
    await page.get_by_role("button", name="Pause").click()
    await backend.publish(topic, [checkout(2), checkout(3)])
    await expect(page.locator("#pause")).to_have_text("Go on (2 held)")
    await expect(page.locator("#state")).to_have_text("Paused")
    await received(page, 2)
    assert await page.locator("tr[data-seq]").count() == 1
    await page.locator("#pause").click()
    await see(page, "mug 3")
    await expect(page.locator("#pause")).to_have_text("Pause")


async def test_hostile_content_is_shown_and_not_run(backend: Backend, open_page: Opener) -> None:
    topic = await backend.topic()
    attack = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"
    hostile = {attack: attack, "__proto__": {"x": attack}, "constructor": "javascript:document.title='run'"}
    await backend.publish(topic, [hostile, attack, {"deep": [[{attack: attack}]]}])
    page = await open_page(backend, watch(topic))
    await expect(page.locator("#scroller tbody")).to_contain_text("onerror")
    assert attack.replace(" ", "") in (await page.locator("#scroller thead").inner_text()).replace(" ", "")
    await page.locator("tr[data-seq='1'] button").click()
    await expect(page.locator("#detail pre")).to_contain_text("onerror")
    assert await page.locator("#scroller img, #scroller script, #scroller b, #detail img, #totals img").count() == 0
    assert "run" not in await page.title()


async def test_a_row_opens_whole(backend: Backend, open_page: Opener) -> None:
    topic = await backend.topic()
    await backend.publish(topic, [{"text": "long " * 500 + "end"}])
    page = await open_page(backend, watch(topic))
    await page.locator("tr[data-seq='1'] button").press("Enter")
    await expect(page.locator("#detail pre")).to_contain_text("end")
    await page.keyboard.press("Escape")
    await expect(page.locator("#detail")).to_be_hidden()


async def test_it_holds_200_messages_a_second(backend: Backend, open_page: Opener) -> None:
    topic = await backend.topic()
    page = await open_page(backend, watch(topic))
    await expect(page.locator("#state")).to_have_text("Live")
    began = time.monotonic()
    for second in range(10):
        await asyncio.gather(*(
            backend.publish(topic, [checkout(second * 200 + part * 50 + n) for n in range(50)]) for part in range(4)
        ))  # fmt: skip
        if second == 5:
            asked = time.monotonic()
            await page.locator("#filter-column").select_option("action")
            assert time.monotonic() - asked < 2
        await asyncio.sleep(max(0, began + second + 1 - time.monotonic()))  # the rate is the point
    await received(page, 2000)
    await expect(page.locator("#about")).to_contain_text("2,000 of 2,000")
    await expect(page.locator("tr[data-seq='2000']")).to_be_visible()
    assert await page.locator("#scroller tr").count() < 80


async def test_a_topic_that_is_not_there_is_waited_for(backend: Backend, open_page: Opener) -> None:
    topic = f"later.{uuid.uuid4()}"
    page = await open_page(backend, watch(topic))
    await expect(page.locator("#state")).to_have_text("Waiting for the topic")
    await expect(page.locator("#notice")).to_contain_text(topic)
    await backend.topic(name=topic)
    await backend.publish(topic, ["at last"])
    await see(page, "at last")
    await expect(page.locator("#notice")).to_be_hidden()


async def test_watching_makes_no_device_and_no_member_in_open_mode(backend: Backend, open_page: Opener) -> None:
    topic = await backend.topic("private")
    await backend.publish(topic, ["a secret"])
    page = await open_page(backend, watch(topic))
    await see(page, "a secret")
    members = (await backend.ask("GET", f"topics/{topic}/members"))["members"]
    assert [each["username"] for each in members] == ["ezout"] and members[0]["cursors"] == {}


async def test_with_a_key_the_reader_logs_in_and_joins(guarded: Backend, open_page: Opener) -> None:
    topic = await guarded.topic()
    await guarded.publish(topic, [checkout(1)])
    token = (await guarded.ask("POST", "tokens", user="ana"))["token"]
    page = await open_page(guarded, watch(topic))
    await expect(page.locator("#state")).to_have_text("Log in to watch")
    field = page.get_by_label("Token")
    await field.fill("wrong")
    await page.get_by_role("button", name="Watch").click()
    await expect(page.locator(".alert")).to_contain_text("not accepted")
    await field.fill(token)
    await page.get_by_role("button", name="Watch").click()
    await see(page, "mug 1")
    members = (await guarded.ask("GET", f"topics/{topic}/members"))["members"]
    assert {each["username"]: each["cursors"] for each in members} == {"ana": {}, "ezout": {}}
    await page.get_by_role("button", name="Leave it").click()
    await expect(page.locator("#notice")).to_contain_text("You left")
    assert len((await guarded.ask("GET", f"topics/{topic}/members"))["members"]) == 1
    assert token not in page.url


async def test_a_private_topic_is_none_for_others(guarded: Backend, open_page: Opener) -> None:
    topic = await guarded.topic("private")
    token = (await guarded.ask("POST", "tokens", user="eva"))["token"]
    page = await open_page(guarded, watch(topic))
    await page.get_by_label("Token").fill(token)
    await page.get_by_role("button", name="Watch").click()
    await expect(page.locator("#state")).to_have_text("Waiting for the topic")
    await expect(page.locator("#notice")).to_contain_text("that you may see")


async def test_a_server_that_is_away_is_said_and_nothing_is_lost(open_page: Opener) -> None:
    async with recado() as server, backend_of(server) as backend:
        topic = await backend.topic()
        await backend.publish(topic, ["before"])
        page = await open_page(backend, watch(topic))
        await see(page, "before")
        await server.end()
        await expect(page.locator("#state")).to_have_text("Not connected")
        again = await server.again()
        try:
            await backend.publish(topic, ["after"])
            await see(page, "after")
            await expect(page.locator("#state")).to_have_text("Live")
        finally:
            await again.end()


async def test_a_tab_that_nobody_looks_at_gives_its_connection_back(backend: Backend, open_page: Opener) -> None:
    topic = await backend.topic()
    page = await open_page(backend, watch(topic))
    await expect(page.locator("#state")).to_have_text("Live")
    await page.clock.install()
    await look_away(page)
    async with page.expect_event("requestfailed", lambda request: "/stream" in request.url):
        await page.clock.fast_forward(30_000)
    await backend.publish(topic, ["meanwhile"])
    await look_again(page)
    await see(page, "meanwhile")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_people_with_other_eyes_and_hands(backend: Backend, open_page: Opener, scheme: str) -> None:
    topic = await backend.topic()
    await backend.publish(topic, [checkout(n) for n in range(30)])
    page = await open_page(backend, watch(topic), color_scheme=scheme)
    await see(page, "mug 29")
    await page.get_by_role("button", name="Columns").click()
    assert await flaws(page) == []
    await page.keyboard.press("Escape")
    await page.locator("tr[data-seq='30'] button").click()
    assert await flaws(page) == []


@pytest.mark.parametrize(("locale", "title"), [("es-ES", "En vivo"), ("it-IT", "Dal vivo"), ("fr-FR", "Live")])
async def test_languages(backend: Backend, open_page: Opener, locale: str, title: str) -> None:
    topic = await backend.topic()
    page = await open_page(backend, watch(topic), locale=locale)
    await expect(page.locator("#state")).to_have_text(title)


async def test_a_phone_needs_no_scrolling_sideways(backend: Backend, open_page: Opener) -> None:
    topic = await backend.topic()
    await backend.publish(topic, [checkout(1)])
    page = await open_page(backend, watch(topic), viewport=PHONE)
    await see(page, "mug 1")
    assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    box = await page.locator("#scroller").bounding_box()
    assert box is not None and box["y"] + box["height"] <= PHONE["height"]
