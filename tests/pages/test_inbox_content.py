"""Content of every kind in the inbox page: shown, not run; what is large is folded, what is many stays out of it."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import pytest
from browsing import PHONE, leave_texts, log_in, person, post, shows
from playwright.async_api import Browser, Page, expect

from support.programs import Recado

pytest_plugins = ["browsing"]

V1 = "/api/v1"
RUN = "document.body.dataset.ran = 'yes'"
HOSTILE = [
    f"<script>{RUN}</script>",
    f'<img src=x onerror="{RUN}"><svg onload="{RUN}">',
    "javascript:alert(1) and data:text/html,x",
    "\u202eright to left override\u202c",
    "مرحبا بك في الصندوق 42",
    "👩‍👩‍👧‍👦🏳️‍🌈" * 40,
    "W" * 5000,
    "e" + "\u0301" * 500,
    "\n" * 400 + "the end",
]


def nested(depth: int) -> Any:
    content: Any = f"<b onclick={RUN!r}>bottom</b>"
    for level in range(depth):
        content = {f"level {level}": content} if level % 2 else [content]
    return content


OBJECTS = [
    nested(60),
    {f"key {number}": "v" * 200 for number in range(300)},
    {"<script>": RUN, "__proto__": {"x": 1}, "k" * 3000: None, "": []},
    list(range(2000)),
    [[], {}, None, True, 1e300, "", -0.5],
    12345678901234567890,
    None,
]


async def publish(server: Recado, topic: str, *contents: Any) -> None:
    for start in range(0, len(contents), 1000):
        some = [{"topic_name": topic, "content": each, "sender": "eva"} for each in contents[start : start + 1000]]
        results = json.loads(await post(server, f"{V1}/messages/batch", some))
        assert {each["result"] for each in results} == {"ok"}


async def topic_with(server: Recado, topic: str, *contents: Any) -> None:
    """A topic in which eva has published this, and to which ana belongs since before."""
    await post(server, f"{V1}/topics/{quote(topic, safe='')}", {"owner": "eva"}, method="PUT")
    await post(server, f"{V1}/topics/{quote(topic, safe='')}/members/ana", {}, method="PUT")
    await publish(server, topic, *contents)


async def overflow(page: Page) -> list[str]:
    """What makes the page, or a row of the list, wider than the window."""
    found: list[str] = await page.evaluate(
        """() => [document.documentElement, document.body, ...document.querySelectorAll(".port, .row, .message .body")]
            .filter(each => each.scrollWidth > each.clientWidth + 1
                || each.getBoundingClientRect().right > innerWidth + 1)
            .map(each => each.className || each.localName)"""
    )
    return found


@pytest.mark.parametrize("width", ["phone", "desktop"])
async def test_hostile_content_is_shown_not_run(browser: Browser, server: Recado, width: str) -> None:
    contents = [*HOSTILE, *OBJECTS, "<script>" + "long " * 12_000]
    options = {"viewport": PHONE} if width == "phone" else {}
    async with person(browser, server, **options) as ana:
        page = await log_in(ana, server, "ana")
        for number, content in enumerate(contents):
            topic = f"t{number}"
            await topic_with(server, topic, content)
            await page.goto(f"{server.api}/#/{topic}")
            await page.get_by_role("heading", level=1, name=topic, exact=True).wait_for()
            await page.locator(".message .body").wait_for()
            for folded in await page.locator("details:not([open]) > summary").all():
                await folded.click()
            assert await overflow(page) == [], repr(content)[:60]
            if isinstance(content, str):
                shown = await page.locator(".message .text").text_content()
                assert shown is not None and content.startswith(shown.partition("…")[0])
        assert await page.evaluate("document.body.dataset.ran") is None
        assert await page.locator(".port :is(script, img, svg:not(.icon), b)").count() == 0


async def test_a_long_text_is_folded_and_unfolds(browser: Browser, server: Recado) -> None:
    text = "word " * 12_000
    await leave_texts(server, "ana", text)
    async with person(browser, server, viewport=PHONE) as ana:
        page = await log_in(ana, server, "ana")
        block = page.locator(".message .text")
        await block.wait_for()
        assert len(await block.inner_text()) < 2000
        await page.get_by_role("button", name="Show all").click()
        assert len(await block.inner_text()) > 59_000
        assert await overflow(page) == []
        await page.get_by_role("button", name="Show less").click()
        assert len(await block.inner_text()) < 2000


async def test_only_http_addresses_become_links(browser: Browser, server: Recado) -> None:
    text = "See https://a.example/x?y=1. Or (http://b.example), javascript:alert(1), ftp://c.example, https://"
    await leave_texts(server, "ana", text)
    async with person(browser, server) as ana:
        page = await log_in(ana, server, "ana")
        await shows(page, text)
        links = await page.locator(".message .body a").evaluate_all(
            "all => all.map(each => [each.href, each.rel, each.target])"
        )
        assert links == [
            ["https://a.example/x?y=1", "noopener noreferrer", "_blank"],
            ["http://b.example/", "noopener noreferrer", "_blank"],
        ]


async def numbers(page: Page) -> list[int]:
    """The messages in view, from top to bottom."""
    found: list[int] = await page.evaluate(
        """() => {
            const port = document.querySelector(".port").getBoundingClientRect();
            return [...document.querySelectorAll(".message .body")]
                .map(each => [each.getBoundingClientRect(), each.innerText])
                .filter(([box]) => box.bottom > port.top + 1 && box.top < port.bottom - 1)
                .sort(([one], [other]) => one.top - other.top)
                .map(([, text]) => parseInt(text));
        }"""
    )
    return found


async def test_ten_thousand_messages_scroll_and_stay_out_of_the_page(browser: Browser, server: Recado) -> None:
    many = 10_000
    await topic_with(server, "busy", *(f"{n}\n" + "tall\n" * (n % 7) for n in range(1, many + 1)))
    async with person(browser, server) as ana:
        page = await log_in(ana, server, "ana")
        await expect(page.get_by_role("link", name="busy")).to_contain_text("999+")
        await page.goto(f"{server.api}/#/busy")
        await page.locator(".message").first.wait_for()
        assert (await numbers(page))[0] == 1  # it begins with what was not yet seen
        await page.locator(".below", has_text=re.compile("99[0-9]{2} new messages")).click()
        await page.locator(".message", has_text=f"{many}").wait_for()
        await expect(page.get_by_role("link", name="busy")).not_to_contain_text("9")

        seen, most = set(await numbers(page)), 0
        while 1 not in seen:
            found = await numbers(page)
            assert found and all(after == before + 1 for before, after in pairwise(found)), found
            seen.update(found)
            most = max(most, await page.locator("*").count())
            await page.locator(".port").evaluate("port => port.scrollBy(0, -40 * port.clientHeight)")
            await page.evaluate("() => new Promise(requestAnimationFrame)")
        assert most < 1500
        assert await page.locator(".message").count() < 120


async def test_history_comes_as_one_scrolls_up(browser: Browser, server: Recado) -> None:
    await post(server, f"{V1}/topics/old", {"owner": "eva"}, method="PUT")
    await publish(server, "old", *(f"{n}" for n in range(1, 401)))
    async with person(browser, server) as ana:
        page = await log_in(ana, server, "ana")
        await page.get_by_role("button", name="Join or create a topic").click()
        await page.get_by_label("Name of the topic").fill("old")
        await page.keyboard.press("Enter")
        await page.locator(".message", has_text="400").wait_for()
        in_view = await numbers(page)
        assert in_view[-1] == 400
        await page.locator(".port").focus()
        while not await page.get_by_text("This is the beginning.").is_visible():
            await page.keyboard.press("Home")
            await page.evaluate("() => new Promise(requestAnimationFrame)")
        found = await numbers(page)
        assert found[0] == 1 and all(after == before + 1 for before, after in pairwise(found))


async def test_what_is_loaded_can_be_searched(browser: Browser, server: Recado) -> None:
    await topic_with(
        server, "notes", *(f"note {n}" for n in range(1, 201)), {"what": "needle"}, *(f"more {n}" for n in range(50))
    )
    async with person(browser, server) as ana:
        page = await log_in(ana, server, "ana")
        await page.goto(f"{server.api}/#/notes")
        await page.locator(".below", has_text="new message").click()
        await page.get_by_role("button", name="Find in this conversation").click()
        await page.keyboard.type("NEEDLE")
        await page.get_by_text("1 of 1").wait_for()
        await expect(page.locator(".found")).to_be_in_viewport()
        await page.keyboard.press("Control+a")
        await page.keyboard.type("note 7")
        await page.get_by_text("11 of 11").wait_for()  # 7, 70 … 79
        await page.keyboard.press("Escape")
        await expect(page.locator(".found")).to_have_count(0)
