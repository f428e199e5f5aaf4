"""`recado platforms` and `recado bridges`, against a real server."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import aiohttp
import pytest
from terminal_support import Server, serving

from messaging.store.bridges import BridgeStore, DeadLetter
from messaging.store.pool import Pool
from recado.client import Refused
from recado.terminal.commands import make_parser
from recado.terminal.formatting import Paint
from recado.terminal.platforms import advised, age, table
from standalone.doctor.probes import embedded_dsn
from support.waiting import until

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
AN_HOUR_AGO = (NOW - timedelta(hours=1)).isoformat()


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Server]:
    """A server of its own, which may push to this machine."""
    async with serving(INTEGRATOR_ALLOW_NETS="127.0.0.0/8") as server:
        yield server


class Picky(BaseHTTPRequestHandler):
    """A platform that takes nothing but what says so."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        takes = b"good" in body or b"test" in body or self.server.takes_all  # type: ignore[attr-defined]
        self.send_response(204 if takes else 422)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def picky() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), Picky) as http:
        http.takes_all = False  # type: ignore[attr-defined]
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield http
        http.shutdown()
        thread.join()


async def listed(server: Server, *command: str) -> dict[str, Any]:
    """What a list has, by name."""
    code, out, error = await server.run(*(command or ("platforms",)), "--json")
    assert (code, error) == (0, "")
    return {each["name"]: each for each in json.loads(out)}


async def add(server: Server, name: str, *more: str) -> dict[str, str]:
    code, out, error = await server.run("platforms", "add", name, *more, "--json")
    assert (code, error) == (0, "")
    made: dict[str, str] = json.loads(out)
    return made


async def test_a_platform_is_added_listed_paused_resumed_and_forgotten(server: Server) -> None:
    code, out, _ = await server.run("platforms", "add", "four th")
    assert code == 0
    assert "token   " in out and "secret  whsec_" in out
    assert (await listed(server))["four th"]["lag"] == 0

    _, out, _ = await server.run("platforms", "pause", "four th")
    assert out.startswith("four th is paused")
    _, out, _ = await server.run("platforms")
    assert re.search(r"^four th +paused +0 to come +paused by the operator$", out, re.M)
    assert (await listed(server, "bridges"))["four%20th"]["paused"]

    await server.run("platforms", "resume", "four th")
    assert not (await listed(server))["four th"]["paused"]

    assert (await server.run("platforms", "forget", "four th"))[1] == "four th is forgotten.\n"
    assert "four th" not in await listed(server)


async def test_a_secret_is_rotated(server: Server) -> None:
    made = await add(server, "rotating")
    code, out, _ = await server.run("platforms", "rotate", "rotating")
    assert code == 0 and out.splitlines()[1].strip().startswith("whsec_")
    assert made["secret"] not in out
    _, out, _ = await server.run("platforms", "rotate", "rotating", "--json")
    assert json.loads(out)["name"] == "rotating"


async def test_what_was_given_up_is_shown_counted_and_sent_again(server: Server, picky: HTTPServer) -> None:
    await add(server, "picky", "--url", f"http://127.0.0.1:{picky.server_port}/")
    teller = await add(server, "teller")
    for name in ("good 1", "bad 1", "bad 2"):
        await told(server, teller["token"], name)

    async def is_through() -> bool:
        one = (await listed(server))["picky"]
        return bool(one["dead_letters"] == 2 and one["lag"] == 0)

    await until(is_through)
    _, out, _ = await server.run("platforms")
    assert next(line for line in out.splitlines() if line.startswith("picky ")).endswith(" 0 to come, 2 dead")
    _, out, _ = await server.run("platforms", "dead", "picky")
    assert out.count("it answered 422") == 2
    assert "bad 1" in out
    dead = await server.run("platforms", "dead", "picky", "--json")
    ids = [str(each["id"]) for each in json.loads(dead[1])]
    assert dead[1] == (await server.run("bridges", "dead", "picky", "--json"))[1]

    assert (await server.run("platforms", "replay", "picky", "--dry-run"))[1] == "2 would be sent again.\n"
    assert (await server.run("platforms", "replay", "picky", "--since", "2099-01-01"))[1] == "0 on the way again.\n"
    picky.takes_all = True  # type: ignore[attr-defined]
    assert (await server.run("platforms", "replay", "picky", ids[0]))[1] == "1 on the way again.\n"
    assert (await server.run("bridges", "replay", "picky"))[1] == "1 on the way again.\n"
    assert (await server.run("platforms", "dead", "picky"))[1] == "picky has no dead letters.\n"


async def test_a_bridge_in_is_paused_resumed_and_its_dead_letters_are_tried_again(server: Server) -> None:
    async with book_of(server) as book:
        await book.register_inlet("orders", "test")
        for number, sender in [(1, "nats"), (2, "")]:
            fate = DeadLetter(
                bridge="orders",
                topic="shop",
                topic_id=0,
                seq=number,
                sender=sender,
                content="1",
                sent_at=None,
                reason="It is not JSON.",
                came_by="orders.new",
            )
            await book.bury(fate)
    _, out, _ = await server.run("bridges")
    assert "orders" in out and "comes in, 2 dead" in next(line for line in out.splitlines() if "orders" in line)
    _, out, _ = await server.run("bridges", "pause", "orders")
    assert out.startswith("orders is paused; nothing is taken from there")
    assert (await server.run("bridges", "resume", "orders"))[1] == "orders is read, from now on.\n"
    letters = json.loads((await server.run("bridges", "dead", "orders", "--json"))[1])
    assert await server.run("bridges", "replay", "orders") == (0, "1 on the way again.\n", "")
    code, out, error = await server.run("bridges", "replay", "orders", *(str(each["id"]) for each in letters))
    assert (code, out) == (1, "0 on the way again.\n")
    assert "stays: There is no dead letter of this id." in error and "It is not JSON." in error


@asynccontextmanager
async def book_of(server: Server) -> AsyncIterator[BridgeStore]:
    """What an inlet writes into the server's database."""
    pool = Pool(embedded_dsn(server.data_dir), 1)
    await pool.open()
    try:
        yield BridgeStore(pool)
    finally:
        await pool.close()


async def told(server: Server, token: str, name: str) -> None:
    """A user of this name is told to the other platforms."""
    url = f"http://127.0.0.1:{server.ports['API_PORT']}/user"
    body = {"id": name, "name": name, "token": token}
    async with aiohttp.ClientSession() as http, http.post(url, json=body) as response:
        assert response.status == 200, await response.text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["platforms", "pause", "no\x1bbody"], "There is no platform 'no\\x1bbody'. `recado platforms` lists them."),
        (["bridges", "replay", "nobody", "7"], "There is no bridge 'nobody'. `recado bridges` lists them."),
        (["bridges", "replay", "nobody"], "There is no bridge 'nobody'. `recado bridges` lists them."),
        (["bridges", "dead", "nobody"], "There is no bridge 'nobody'. `recado bridges` lists them."),
        (["bridges", "dead", "nobody", "--json"], "There is no bridge 'nobody'. `recado bridges` lists them."),
        (["bridges", "resume", "nobody"], "There is no bridge 'nobody'. `recado bridges` lists them."),
        (["bridges", "forget", "nobody"], "There is no bridge 'nobody'. `recado bridges` lists them."),
        (["platforms", "dead", "nobody"], "There is no platform 'nobody'. `recado platforms` lists them."),
        (["platforms", "add", "recado"], "There is a platform 'recado' already."),
        (["platforms", "add", "x", "--url", "nowhere"], "needs an http or https address"),
        (["platforms", "--api", "nowhere"], "--api: 'nowhere' is no address"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
async def test_what_can_not_be_done_is_told_in_one_line(server: Server, arguments: list[str], words: str) -> None:
    code, out, error = await server.run(*arguments)
    assert (code, out) == (1, "")
    assert words in error
    assert error.startswith("recado: ") and error.count("\n") == 1


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("forbidden", "This is for who has the API key: --key KEY, or API_KEY. (no)"),
        ("unauthorized", "This is for who has the API key: --key KEY, or API_KEY. (no)"),
        ("not_found", "There is no platform 'x'. `recado platforms` lists them."),
        ("conflict", "no"),
    ],
)
def test_a_refusal_says_what_to_do(code: str, words: str) -> None:
    assert advised(Refused(code, "no"), make_parser().parse_args(["platforms", "pause", "x"])) == words


def test_what_is_said_before_the_action_holds_behind_it() -> None:
    options = make_parser().parse_args(["platforms", "--api", "http://a", "--json", "dead", "x", "--key", "k"])
    assert (options.api, options.json, options.key, options.ws) == ("http://a", True, "k", None)


def test_a_table_tells_what_waits_since_when_and_why() -> None:
    up = {"name": "up", "paused": False, "state": "up", "lag": 0, "oldest": None, "dead_letters": 0, "reason": None}
    trouble = {"state": "failing", "lag": 7, "oldest": AN_HOUR_AGO, "reason": "no\nanswer\x07"}
    down = {**up, "name": "down\x1b[2J", **trouble}
    assert table([up, down], Paint(), NOW) == [
        "up             up       0 to come",
        "down\\u001b[2J  failing  7 to come since 1 h  no answer\\u0007",
    ]
    assert "\x1b[31mfailing\x1b[0m" in table([down], Paint(colours=True), NOW)[0]


@pytest.mark.parametrize(("seconds", "text"), [(-1, "0 s"), (59, "59 s"), (60, "1 min"), (7200, "2 h"), (90000, "1 d")])
def test_an_age_has_one_unit(seconds: int, text: str) -> None:
    assert age(timedelta(seconds=seconds)) == text
