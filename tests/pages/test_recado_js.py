"""recado.js in a page of another site: one of ALLOWED_ORIGINS may, any other may not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from browsing import post, until_stored
from playwright.async_api import Browser, expect

from support.places import free_port
from support.programs import recado

pytest_plugins = ["browsing"]

PAGE = """<!doctype html><title>Another site</title><ol></ol><output></output>
<script type="module">
  const say = text => { document.querySelector("output").textContent = text; };
  try {
    const { ask, connect } = await import("%(api)s/web/recado.js");
    const { token } = await ask("%(api)s", "POST", "api/v1/tokens", { body: { user: "ana" } });
    const recado = connect({
      token,
      onmessage: ({ sender, content }) => {
        const item = document.createElement("li");
        item.textContent = `${sender}: ${content}`;
        document.querySelector("ol").append(item);
      },
      onstate: ({ name }) => say(name),
    });
    await recado.publish("@eva", "hello");
    say("published");
  } catch (error) {
    say(`refused: ${error.message}`);
  }
</script>"""


@contextlib.asynccontextmanager
async def site(port: int, page: str) -> AsyncIterator[str]:
    """Another site, which has one page."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(page)}\r\n"
            writer.write(f"{head}Connection: close\r\n\r\n{page}".encode())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.close()


async def test_a_page_of_an_allowed_site(browser: Browser) -> None:
    port = free_port()
    async with recado(ALLOWED_ORIGINS=f"http://127.0.0.1:{port}") as server:
        await post(server, "/api/v1/users", {"user": "eva"})
        await post(server, "/messages", {"sender": "shop", "receiver": "ana", "body": "an offer"})
        async with site(port, PAGE % {"api": server.api}) as url:
            page = await browser.new_page()
            await page.goto(url)
            await expect(page.locator("output")).to_have_text("published")
            await expect(page.locator("li")).to_have_text(["shop: an offer"])
            await until_stored(server, "@ana", [])  # acknowledged, as onmessage has returned
            await until_stored(server, "@eva", [1])
            await page.close()


async def test_a_page_of_any_other_site(browser: Browser) -> None:
    port = free_port()
    async with recado() as server, site(port, PAGE % {"api": server.api}) as url:
        page = await browser.new_page()
        await page.goto(url)
        await expect(page.locator("output")).to_contain_text("refused")
        await page.close()
