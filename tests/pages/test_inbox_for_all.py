"""The inbox page for everybody: by keyboard, with a screen reader, on a phone, in the reader's language."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from browsing import DESKTOP, PHONE, connected, leave_texts, log_in, open_conversation, person, post, shows
from panels_support import flaws
from playwright.async_api import Browser, Page, expect

from support.programs import Recado, recado

pytest_plugins = ["browsing"]

V1 = "/api/v1"
KEY = "the key of the tests' backend"


async def filled(server: Recado) -> None:
    await post(server, f"{V1}/topics/news", {"owner": "eva"}, method="PUT")
    await post(server, f"{V1}/topics/news/members/ana", {}, method="PUT")
    for content in ("hello https://a.example", {"a": 1, "b": {"c": [1, 2, {"d": None}]}}, "long " * 1000):
        await post(server, f"{V1}/topics/news/messages", {"content": content, "sender": "eva"})
    await leave_texts(server, "ana", "an offer")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", ["phone", "desktop"])
async def test_nothing_keeps_anybody_out(browser: Browser, server: Recado, scheme: str, size: str) -> None:
    await filled(server)
    viewport = PHONE if size == "phone" else DESKTOP
    async with person(browser, server, viewport=viewport, color_scheme=scheme) as ana:
        page = await ana.new_page()
        await page.goto(server.api)
        await page.get_by_label("Your name").wait_for()
        assert await flaws(page) == []
        await page.get_by_label("Your name").fill("ana")
        await page.keyboard.press("Enter")
        await connected(page)
        await shows(page, "an offer")
        assert await flaws(page) == []
        await page.goto(f"{server.api}/#")
        assert await flaws(page) == []
        await page.goto(f"{server.api}/#/news")
        await page.locator(".message", has_text="hello").wait_for()
        assert await flaws(page) == []
        await page.get_by_role("button", name="Find").click()
        await page.get_by_role("button", name="Invite somebody").click()
        assert await flaws(page) == []
        await page.keyboard.press("Escape")
        await page.goto(f"{server.api}/#/%40nobody")
        await page.get_by_text("No messages with nobody yet").wait_for()
        assert await flaws(page) == []


async def test_a_phone_shows_the_list_or_a_conversation(browser: Browser, server: Recado) -> None:
    await filled(server)
    async with person(browser, server, viewport=PHONE) as ana:
        page = await log_in(ana, server, "ana")
        sidebar, conversation = page.get_by_role("navigation"), page.locator(".conversation")
        await expect(conversation).to_be_visible()
        await expect(sidebar).not_to_be_visible()
        await page.get_by_role("link", name="Back to the list").click()
        await expect(sidebar).to_be_visible()
        await expect(conversation).not_to_be_visible()
        await open_conversation(page, "news")
        await expect(page.get_by_role("heading", level=1)).to_be_focused()
        await page.go_back()
        await expect(sidebar).to_be_visible()


async def test_with_the_keyboard_alone(browser: Browser, server: Recado) -> None:
    await filled(server)
    async with person(browser, server) as ana:
        page = await ana.new_page()
        await page.goto(server.api)
        await expect(page.get_by_label("Your name")).to_be_focused()
        await page.keyboard.type("ana")
        await page.keyboard.press("Enter")
        await shows(page, "an offer")
        await tab_to(page, "news")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", level=1, name="news")).to_be_focused()
        await tab_to(page, "Message to news")
        await page.keyboard.type("one line")
        await page.keyboard.press("Shift+Enter")
        await page.keyboard.type("another")
        await page.keyboard.press("Enter")
        await page.locator(".message.mine", has_text="one line\nanother").wait_for()
        await tab_to(page, "Invite somebody", back=True)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog").get_by_role("textbox")).to_be_focused()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("button", name="Invite somebody")).to_be_focused()


async def tab_to(page: Page, name: str, *, back: bool = False) -> None:
    """Press Tab until what has this name has the focus."""
    for _ in range(40):
        await page.keyboard.press("Shift+Tab" if back else "Tab")
        found = await page.evaluate(
            "() => [document.activeElement.getAttribute('aria-label'), document.activeElement.innerText]"
        )
        if any(text and text.strip().startswith(name) for text in found):
            return
    raise AssertionError(f"the focus never came to {name!r}")


async def test_what_comes_is_said_aloud(browser: Browser, server: Recado) -> None:
    async with person(browser, server) as ana:
        page = await log_in(ana, server, "ana")
        await expect(page.locator(".topbar [role=status]").first).to_have_text("Connected")
        await leave_texts(server, "ana", "an offer")
        await expect(page.locator(".topbar [role=status]").first).to_have_text("ACMESky: an offer")


@pytest.mark.parametrize(
    ("locale", "button", "inbox"),
    [("es-MX", "Abrir mi buzón", "Buzón"), ("it", "Apri la mia posta", "Posta"), ("fr-FR", "Open my inbox", "Inbox")],
)
async def test_in_the_readers_language(browser: Browser, server: Recado, locale: str, button: str, inbox: str) -> None:
    async with person(browser, server, locale=locale) as ana:
        page = await ana.new_page()
        await page.goto(server.api)
        await page.locator("input[name=username]").fill("ana")
        await page.get_by_role("button", name=button).click()
        await page.get_by_role("heading", level=1, name=inbox).wait_for()
        assert await page.evaluate("document.documentElement.lang") in (locale[:2], "en")


async def test_the_start_prints_the_address_of_the_page_first(server: Recado) -> None:
    addresses = [line.split()[-1] for line in server.seen if "://" in line]
    assert addresses[0] == f"{server.api}/"


# --- logging in and out -------------------------------------------------------------------------------------------


async def test_a_name_outside_the_rule_is_refused_in_words(browser: Browser, server: Recado) -> None:
    async with person(browser, server) as ana:
        page = await ana.new_page()
        await page.goto(server.api)
        await page.get_by_label("Your name").fill("a//b")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_contain_text("is not a name that a user may have")
        await expect(page.get_by_role("button", name="Open my inbox")).to_be_enabled()


async def test_key_mode_takes_tokens_and_links(browser: Browser) -> None:
    async with recado(AUTH_MODE="key", API_KEY=KEY) as server, person(browser, server) as ana:
        page = await ana.new_page()
        await page.goto(server.api)
        await page.get_by_label("Token").fill("no token")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_have_text("This token is not accepted any more. Ask for a new one.")
        await page.get_by_label("Token").fill((await backend(server, "tokens", user="ana"))["token"])
        await page.keyboard.press("Enter")
        await connected(page)
        await expect(page.get_by_role("button", name="Account of ana")).to_be_visible()

    async with recado(AUTH_MODE="key", API_KEY=KEY) as server, person(browser, server) as eva:
        page = await eva.new_page()
        ticket = (await backend(server, "tickets", user="eva"))["ticket"]
        await page.goto(f"{server.api}/#ticket={ticket}")  # as `recado token --link eva` prints it
        await expect(page.get_by_role("button", name="Account of eva")).to_be_visible()
        await connected(page)
        assert "ticket" not in page.url
        await page.evaluate("localStorage.clear()")
        await page.goto("about:blank")
        await page.goto(f"{server.api}/#ticket={ticket}")
        await expect(page.get_by_role("alert")).to_contain_text("This login link was used already")
        assert "ticket" not in page.url


@pytest.mark.parametrize("load", ["in the page", "in a new tab"])
async def test_a_link_replaces_a_living_session_only_by_who_says_so(browser: Browser, load: str) -> None:
    """Else anybody could have somebody write in another's name, or into another's inbox."""
    async with recado(AUTH_MODE="key", API_KEY=KEY) as server, person(browser, server) as ana:
        page = await ana.new_page()
        await page.goto(f"{server.api}/#ticket={(await backend(server, 'tickets', user='ana'))['ticket']}")
        await connected(page)
        question = page.get_by_role("dialog", name="Log ana out of this browser")
        for answer, user in [("Escape", "ana"), ("Cancel", "ana"), ("Use the link", "eva")]:
            ticket = (await backend(server, "tickets", user="eva"))["ticket"]
            if load == "in a new tab":
                await page.goto("about:blank")
            await page.goto(f"{server.api}/#ticket={ticket}")
            await question.wait_for()
            assert "ticket" not in page.url
            if answer == "Escape":
                await page.keyboard.press("Escape")
            else:
                await question.get_by_role("button", name=answer).click()
            await expect(question).to_have_count(0)
            await expect(page.get_by_role("button", name=f"Account of {user}")).to_be_visible()
            await connected(page)
            assert user == await page.evaluate("JSON.parse(localStorage.getItem('recado.session')).user")
        await page.goto(f"{server.api}/#ticket={ticket}")  # used by now: whoever is logged in stays so
        await page.get_by_role("dialog").get_by_role("button", name="Use the link").click()
        await page.get_by_text("This login link was used already").wait_for()
        await expect(page.get_by_role("button", name="Account of eva")).to_be_visible()


async def backend(server: Recado, path: str, **body: Any) -> Any:
    url, headers = f"{server.api}{V1}/{path}", {"Authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession(headers=headers) as http, http.post(url, json=body) as answer:
        return await answer.json()


async def test_revoked_is_logged_out(browser: Browser) -> None:
    async with recado(AUTH_MODE="key", API_KEY=KEY) as server, person(browser, server) as ana:
        page = await ana.new_page()
        await page.goto(server.api)
        await page.get_by_label("Token").fill((await backend(server, "tokens", user="ana"))["token"])
        await page.keyboard.press("Enter")
        await connected(page)
        await backend(server, "tokens/revoke", user="ana")
        await expect(page.get_by_role("alert")).to_have_text("This token is not accepted any more. Ask for a new one.")
        await page.reload()
        await expect(page.get_by_label("Token")).to_be_visible()


async def test_logging_out_keeps_or_forgets(browser: Browser, server: Recado) -> None:
    await leave_texts(server, "ana", "an offer")
    async with person(browser, server) as ana:
        page = await log_in(ana, server, "ana", stays=True)
        await shows(page, "an offer")
        for forget, left in [(False, ["an offer"]), (True, [])]:
            await page.get_by_role("button", name="Account of ana").click()
            await page.get_by_role("dialog").get_by_role("checkbox").set_checked(forget)
            await page.get_by_role("dialog").get_by_role("button", name="Log out").click()
            await page.get_by_label("Your name").wait_for()
            await page.reload()
            await page.get_by_label("Your name").fill("ana")
            await page.keyboard.press("Enter")
            await connected(page)
            await shows(page, *left)


async def test_the_token_never_stands_in_an_address(browser: Browser, server: Recado) -> None:
    async with person(browser, server) as ana:
        addresses: list[str] = []
        ana.on("request", lambda request: addresses.append(request.url))
        page = await ana.new_page()
        page.on("websocket", lambda socket: addresses.append(socket.url))
        await page.goto(server.api)
        await page.get_by_label("Your name").fill("ana")
        await page.keyboard.press("Enter")
        await connected(page)
        token = await page.evaluate("JSON.parse(sessionStorage.getItem('recado.session')).token")
        assert token.count(".") == 2 and len(addresses) > 5
        assert not [address for address in addresses if token in address]
        assert await page.evaluate("localStorage.getItem('recado.session')") is None
