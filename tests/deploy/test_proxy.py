"""Caddy, as configured in deploy/, before two doors: pings pass, who asks is known, no token is logged."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from conftest import ROOT, needs
from support.log import value
from support.places import free_port
from support.waiting import until
from support.ws import Running, receive, running, send

TIME = 20  # seconds
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)


class Proxy:
    """A running Caddy."""

    def __init__(self, site: str, log: Path) -> None:
        self.site = site
        self.log = log

    @asynccontextmanager
    async def client(
        self, door: Running, user: str, headers: dict[str, str] | None = None
    ) -> AsyncIterator[ClientConnection]:
        url = f"ws://{self.site}/{door.token(user)}"
        async with connect(url, proxy=None, additional_headers=headers, close_timeout=1) as link:
            assert json.loads(await link.recv())["action"] == "connected"
            yield link


@asynccontextmanager
async def proxy(folder: Path, *doors: str) -> AsyncIterator[Proxy]:
    """Caddy as in the compose file, but for the addresses."""
    caddy, site = needs("caddy"), f"127.0.0.1:{free_port()}"
    environ = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "CADDY_ADMIN": f"unix/{folder}/admin", "WS_SITE": f"http://{site}",
        "API_SITE": f"http://127.0.0.1:{free_port()}", "WS_UPSTREAMS": " ".join(doors), "API_UPSTREAMS": doors[0],
    }  # fmt: skip
    log = folder / "log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            caddy, "run", "--config", str(ROOT / "deploy" / "Caddyfile"), env=environ, stdout=output, stderr=output
        )
    try:
        async with asyncio.timeout(TIME):
            while b"serving initial configuration" not in log.read_bytes():
                assert process.returncode is None, log.read_text()
                await asyncio.sleep(0.05)
        yield Proxy(site, log)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def address(door: Running) -> str:
    return door.url.removeprefix("ws://")


async def test_a_pong_behind_the_proxy_confirms(database: str, tmp_path: Path) -> None:
    async with running(database) as door, proxy(tmp_path, address(door)) as front, front.client(door, "ana") as link:
        await send(link, action="message", topic_name="@ana", content="hola", id="m")
        await receive(link, "message")

        await until(lambda: value(database, "SELECT max(seq) = 1 FROM recado.cursors"))


async def test_connections_are_spread_and_their_addresses_arrive(database: str, tmp_path: Path) -> None:
    async with (
        running(database, trusted_proxies=LOOPBACK) as one,
        running(database, trusted_proxies=LOOPBACK) as two,
        proxy(tmp_path, address(one), address(two)) as front,
        contextlib.AsyncExitStack() as stack,
    ):
        for number in range(4):
            claimed = {"X-Forwarded-For": "203.0.113.9"}
            await stack.enter_async_context(front.client(one, f"user-{number}", claimed))
        assert [len(list(door.door.hub.sessions())) for door in (one, two)] == [2, 2]
        seen = {address for door in (one, two) for address in door.node.connections._counts}
        assert seen == {"127.0.0.1"}, "what a client says of itself is not believed"


async def test_a_door_that_restarts_sends_its_sessions_to_the_other(database: str, tmp_path: Path) -> None:
    async with running(database) as one, running(database) as two, proxy(tmp_path, address(one), address(two)) as front:
        async with front.client(one, "ana") as link:
            first, other = (one, two) if list(one.door.hub.sessions()) else (two, one)
            await asyncio.gather(first.door.drain(), receive(link, "closing"))
            with pytest.raises(ConnectionClosed) as closed:
                await link.recv()
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 4012
        async with front.client(one, "ana"):
            assert len(list(other.door.hub.sessions())) == 1


async def test_counters_and_readiness_stay_inside(database: str, tmp_path: Path) -> None:
    async with running(database) as door, proxy(tmp_path, address(door)) as front, aiohttp.ClientSession() as http:
        for path, status in (("/healthz", 200), ("/readyz", 404), ("/metrics", 404)):
            async with http.get(f"http://{front.site}{path}") as response:
                assert response.status == status, path


async def test_no_token_reaches_the_log(database: str, tmp_path: Path) -> None:
    """Not even where every door is gone and the proxy says so."""
    async with proxy(tmp_path, f"127.0.0.1:{free_port()}") as front, aiohttp.ClientSession() as http:
        headers = {"Sec-WebSocket-Protocol": "bearer, eyTOKEN", "Authorization": "Bearer eyTOKEN"}
        async with http.get(f"http://{front.site}/eyTOKEN?x=eyTOKEN", headers=headers) as response:
            assert response.status in (502, 503)
    text = front.log.read_text()
    assert '"status":50' in text and "eyTOKEN" not in text
