"""The inbox page, with a real browser: what came while away, live, once each, through crashes."""

from __future__ import annotations

import asyncio

from browsing import (
    connected,
    leave_texts,
    log_in,
    open_conversation,
    person,
    post,
    shows,
    stored,
    until_stored,
)
from playwright.async_api import Browser, Page, expect

from support.programs import Recado, kill_everything

pytest_plugins = ["browsing"]

V1 = "/api/v1"


async def test_what_came_while_away_then_live_then_gone_from_the_server(browser: Browser, server: Recado) -> None:
    await leave_texts(server, "ana", "one", "two", "three")
    async with person(browser, server) as ana:
        page = await log_in(ana, server, "ana", stays=True)
        await shows(page, "one", "two", "three")
        await leave_texts(server, "ana", "four")
        await shows(page, "one", "two", "three", "four")
        await until_stored(server, "@ana", [])

        await page.close()
        await leave_texts(server, "ana", "five", "six")
        page = await ana.new_page()
        await page.goto(server.api)
        await shows(page, "one", "two", "three", "four", "five", "six")  # the first four are this browser's own
        assert await page.locator(".new ~ .message .body").all_inner_texts() == ["five", "six"]
        await until_stored(server, "@ana", [])


async def test_browsers_that_do_not_stay_logged_in_leave_nothing_behind(browser: Browser, server: Recado) -> None:
    """They share one device: what one has shown is no longer kept for those that were closed."""
    for text in ("first", "second"):
        await leave_texts(server, "ana", text)
        async with person(browser, server) as ana:
            await shows(await log_in(ana, server, "ana"), text)
            await until_stored(server, "@ana", [])


async def test_a_browser_that_stays_logged_in_gets_what_another_one_has_shown(browser: Browser, server: Recado) -> None:
    async with person(browser, server) as home, person(browser, server) as elsewhere:
        page = await log_in(home, server, "ana", stays=True)
        await page.close()
        await leave_texts(server, "ana", "an offer")
        await shows(await log_in(elsewhere, server, "ana"), "an offer")
        page = await home.new_page()
        await page.goto(server.api)
        await shows(page, "an offer")
        await until_stored(server, "@ana", [])


async def test_everything_is_killed_and_the_page_comes_back_by_itself(browser: Browser, server: Recado) -> None:
    async with person(browser, server) as ana:
        page = await log_in(ana, server, "ana")
        await leave_texts(server, "ana", "before")
        await shows(page, "before")
        kill_everything(server)
        await server.process.wait()
        await page.locator(".topbar[data-state=waiting]").wait_for()
        again = await server.again()
        try:
            await leave_texts(again, "ana", "after")
            await connected(page)
            await shows(page, "before", "after")
            await leave_texts(again, "ana", "live")
            await shows(page, "before", "after", "live")
            await until_stored(again, "@ana", [])
        finally:
            await again.end()


async def test_a_message_on_its_way_when_everything_is_killed_is_stored_once(browser: Browser, server: Recado) -> None:
    await post(server, f"{V1}/users", {"user": "eva"})
    async with person(browser, server) as ana:
        page = await log_in(ana, server, "ana")
        await page.goto(f"{server.api}/#/%40eva")
        kill_everything(server)
        await server.process.wait()
        await page.locator(".topbar[data-state=waiting]").wait_for()
        await page.get_by_label("Message to eva").fill("are you there?")
        await page.keyboard.press("Enter")
        await page.get_by_text("Sending…").wait_for()
        again = await server.again()
        try:
            await page.get_by_text("Sending…").wait_for(state="detached", timeout=40_000)
            await shows(page, "are you there?")
            assert await stored(again, "@eva") == [1]
        finally:
            await again.end()


async def test_a_hidden_tab_confirms_nothing(browser: Browser, server: Recado) -> None:
    async with person(browser, server) as ana:
        page = await log_in(ana, server, "ana")
        await set_hidden(page, True)
        await leave_texts(server, "ana", "unseen", "as well")
        await expect(page).to_have_title("(2) Recado")
        await leave_texts(server, "eva", "other")
        async with person(browser, server) as eva:  # by the time her message has gone, ana's would have, too
            await shows(await log_in(eva, server, "eva"), "other")
            await until_stored(server, "@eva", [])
        assert await stored(server, "@ana") == [1, 2]
        await set_hidden(page, False)
        await shows(page, "unseen", "as well")
        await until_stored(server, "@ana", [])
        await expect(page).to_have_title("Recado")


async def set_hidden(page: Page, hidden: bool) -> None:
    """As when somebody turns to another tab; headless, a page is never hidden by itself."""
    await page.evaluate(
        """hidden => {
            Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


async def test_what_was_not_scrolled_to_is_not_confirmed(browser: Browser, server: Recado) -> None:
    await leave_texts(server, "ana", *(f"offer {number}\n\n\n\n\nmore" for number in range(1, 31)))
    async with person(browser, server) as ana:
        page = await log_in(ana, server, "ana")
        await page.locator(".message", has_text="offer 1").first.wait_for()
        below = page.locator(".below", has_text="new messages")
        await below.wait_for()
        async with asyncio.timeout(30):
            while True:  # what lies below becomes less for as long as the page is being laid out
                left = int((await below.inner_text()).split()[0])
                if left < 30 and await stored(server, "@ana") == list(range(31 - left, 31)):
                    break
                await asyncio.sleep(0.2)
        assert left > 15
        await page.locator(".port").hover()
        async with asyncio.timeout(30):
            while await stored(server, "@ana"):  # a new height can hold the end back, where the button was gone already
                await page.mouse.wheel(0, 400)
                await page.evaluate("() => new Promise(requestAnimationFrame)")
        await expect(below).to_be_hidden()


async def test_only_what_was_seen_of_one_sender_is_confirmed(browser: Browser, server: Recado) -> None:
    """The cursor of an inbox is one: it stops before the first message that was not shown."""
    async with person(browser, server) as ana:
        page = await log_in(ana, server, "ana")
        await page.goto(f"{server.api}/#/%40eva")
        await leave_texts(server, "ana", "hello", sender="eva")
        await leave_texts(server, "ana", "offer")
        await leave_texts(server, "ana", "again", sender="eva")
        await shows(page, "hello", "again")
        await until_stored(server, "@ana", [2, 3])
        await expect(page.get_by_role("link", name="ACMESky")).to_contain_text("1")
        await open_conversation(page, "Inbox")
        await shows(page, "hello", "offer", "again")
        await until_stored(server, "@ana", [])


async def test_two_people_write_to_each_other(browser: Browser, server: Recado) -> None:
    await post(server, f"{V1}/users", {"user": "eva"})
    async with person(browser, server) as ana, person(browser, server) as eva:
        one, other = await log_in(ana, server, "ana"), await log_in(eva, server, "eva")
        await one.get_by_role("navigation").get_by_role("button", name="New message").click()
        await one.get_by_label("To", exact=True).fill("eva")
        await one.keyboard.press("Enter")
        await one.get_by_label("Message to eva").fill("are you there?")
        await one.keyboard.press("Enter")
        await shows(other, "are you there?")
        await other.locator(".message").hover()
        await other.get_by_role("link", name="Reply to ana").click()
        await expect(other.get_by_label("Message to ana")).to_be_focused()
        await other.keyboard.type("yes")
        await other.keyboard.press("Enter")
        await shows(one, "are you there?", "yes")
        await one.reload()
        await shows(one, "are you there?", "yes")  # both have gone from the server: this browser has kept them


async def test_a_topic_from_its_making_to_leaving_it(browser: Browser, server: Recado) -> None:
    await post(server, f"{V1}/users", {"user": "eva"})
    async with person(browser, server) as ana, person(browser, server) as eva:
        one, other = await log_in(ana, server, "ana"), await log_in(eva, server, "eva")
        await one.get_by_role("button", name="Join or create a topic").click()
        await one.get_by_label("Name of the topic").fill("garden/2027")
        await one.get_by_label("Private").check()
        await one.get_by_role("button", name="Create", exact=True).click()
        await one.get_by_text("Private topic, yours").wait_for()
        await one.get_by_role("button", name="Invite somebody").click()
        await one.get_by_role("dialog").get_by_label("Name").fill("eva")
        await one.keyboard.press("Enter")
        await one.get_by_text("eva belongs to garden/2027 now.").wait_for()
        await one.get_by_label("Message to garden/2027").fill("beans")
        await one.keyboard.press("Enter")
        await shows(one, "beans")

        await other.get_by_text("ana invited you to garden/2027.").wait_for()
        await expect(other.get_by_role("link", name="garden/2027")).to_contain_text("1")
        await open_conversation(other, "garden/2027")
        await shows(other, "beans")
        await expect(other.get_by_role("link", name="garden/2027")).not_to_contain_text("1")
        await other.get_by_role("button", name="Leave this topic").click()
        await other.get_by_role("dialog").get_by_role("button", name="Leave").click()
        await other.get_by_role("heading", level=1, name="Inbox").wait_for()
        await expect(other.get_by_role("link", name="garden/2027")).to_have_count(0)


async def test_a_topic_that_is_not_there(browser: Browser, server: Recado) -> None:
    async with person(browser, server) as ana:
        page = await log_in(ana, server, "ana")
        await page.get_by_role("button", name="Join or create a topic").click()
        await page.get_by_label("Name of the topic").fill("nowhere")
        await page.get_by_role("button", name="Join", exact=True).click()
        await expect(page.locator(".notice")).to_be_visible()
        await page.goto(f"{server.api}/#/nowhere")
        await page.get_by_role("heading", level=1, name="Inbox").wait_for()
