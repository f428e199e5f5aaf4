"""Endpoints that mean harm, or behave as if: each is a real server, and none of them gets more than its own lane."""

import asyncio
import socket
import time
from pathlib import Path
from typing import Any, NoReturn

import pytest
from push_support import (
    LOOPBACK,
    SHORT,
    Names,
    Request,
    outlet,
    parcel,
    platform,
    receiving,
    reply,
    saying,
)

from bridges.outlet import Gone, Undeliverable, Unreachable
from bridges.webhooks.client import Patience, PlatformHttpClient
from support.authority import Authority

METADATA = "http://169.254.169.254/latest/meta-data/"


async def sent(url: str, *, names: Names | None = None, nets: object = (), **row: Any) -> None:
    async with outlet(platform(url, **row), names=names, nets=nets) as (to, _):
        await to.send(parcel())


# --- where it leads ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_followed_by_nobody(status: int) -> None:
    async with receiving() as inside, receiving(lambda *_: reply(status, b"", Location=inside.url)) as receiver:
        with pytest.raises(Unreachable, match="not followed"):
            await sent(receiver.url)
        assert (1, 0) == (len(receiver.got), inside.connections)


async def test_a_redirect_to_the_metadata_is_followed_by_nobody() -> None:
    async with receiving(lambda *_: reply(302, b"", Location=METADATA)) as receiver:
        with pytest.raises(Unreachable, match="not followed"):
            await sent(receiver.url)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "localhost.", "127.1", "127.0.1", "0x7f.1", "0x7f000001", "2130706433", "0177.0.0.1",
        "017700000001", "127.0.0.1.", "127.0.0.1..", "①②⑦.⓪.⓪.①", "127。0。0。1", "%31%32%37.0.0.1", "[::1]",
        "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "[::127.0.0.1]", "[::ffff:0:127.0.0.1]",
        "[64:ff9b::127.0.0.1]", "[::1%25lo]", "[::1%lo]", "0", "0.0.0.0", "[::]",
    ],
)  # fmt: skip
async def test_no_spelling_of_this_machine_gets_through(host: str) -> None:
    async with receiving() as receiver:
        with pytest.raises(Unreachable):
            await sent(f"http://{host}:{receiver.port}/api/", trusted=False)
        assert 0 == receiver.connections


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "[fe80::1%25lo]", "0xa9fea9fe"]
)
async def test_the_metadata_is_refused_to_the_operators_platforms_too(host: str) -> None:
    with pytest.raises(Unreachable, match="is refused"):
        await sent(f"http://{host}/", trusted=True)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::1"],
)
async def test_a_name_is_no_way_round(address: str) -> None:
    async with receiving() as receiver:
        with pytest.raises(Unreachable, match="is refused"):
            await sent(f"http://a.example:{receiver.port}/", trusted=False, names=Names([address]))
        assert 0 == receiver.connections


async def test_a_dns_answer_that_changes_finds_no_gap() -> None:
    """An address that is fine, and at the next connection another: what is dialled is what was checked."""
    names = Names(["127.0.0.1"], ["169.254.169.254"], ["127.0.0.1"])
    async with receiving(lambda *_: reply(Connection="close")) as receiver:
        row = platform(f"http://a.example:{receiver.port}/", trusted=False)
        async with outlet(row, names=names, nets=LOOPBACK) as (to, _):
            await to.send(parcel())
            with pytest.raises(Unreachable, match=r"169\.254\.169\.254 is refused"):
                await to.send(parcel())
            await to.send(parcel())
        assert (3, 2) == (names.lookups, receiver.connections)


async def test_of_several_addresses_the_good_one_is_dialled() -> None:
    async with receiving() as receiver:
        names = Names(["10.0.0.1", "::ffff:127.0.0.1", "127.0.0.1"])
        await sent(f"http://a.example:{receiver.port}/", trusted=False, names=names, nets=LOOPBACK)
        assert 1 == len(receiver.got)


async def test_a_connection_of_the_operators_platform_is_not_kept_after_the_trust_ended() -> None:
    async with receiving() as receiver:
        async with outlet(platform(receiver.url, trusted=True)) as (to, shelf):
            await to.send(parcel())
            await to.send(parcel())
            assert 1 == receiver.connections, "it is kept while it may be"
            shelf.row = platform(receiver.url, trusted=False)
            with pytest.raises(Unreachable, match="is refused"):
                await to.send(parcel())
        assert 2 == len(receiver.got)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://a.example/", "no http"),
        ("http:///", "no http"),
        ("http://u:p@a.example/", "user or password"),
        ("http://a.example:22/", "port 22"),
        (f"http://{'a' * 64}.example/", "can't be used"),
    ],
)
async def test_a_url_that_is_none_holds_its_lane_and_no_other(url: str, why: str) -> None:
    with pytest.raises(Unreachable, match=why):
        await sent(url, trusted=False)


# --- how it answers ---------------------------------------------------------------------------------------------------


async def test_a_body_without_an_end_is_read_for_its_beginning_alone() -> None:
    written = 0

    async def endless(_: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            written += 0x10000
            await writer.drain()

    async with receiving(endless) as receiver:
        await sent(receiver.url)
    assert written < 16 << 20, "what the system's own buffers hold"


@pytest.mark.parametrize("start", [b"HTTP/1.1 20", b"HTTP/1.1 100 Continue\r\nX: "])
async def test_an_answer_that_drips_is_waited_for_no_longer_than_the_time(start: bytes) -> None:
    async def drip(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        while True:
            writer.write(b"0")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with receiving(drip) as receiver:
        began = time.monotonic()
        with pytest.raises(Unreachable, match=r"within 0\.5 s|spoke no HTTP"):
            await sent(receiver.url)
    assert time.monotonic() - began < 5


async def test_a_body_that_drips_changes_nothing_about_its_status() -> None:
    async def drip(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 %d It-is\r\nContent-Length: 1000\r\n\r\n" % status)
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with receiving(drip) as receiver:
        status = 200
        await sent(receiver.url)
        status = 422
        with pytest.raises(Undeliverable, match=r"it answered 422: x+"):
            await sent(receiver.url)


@pytest.mark.parametrize("style", ["paths", "webhook"])
async def test_a_certificate_that_nobody_vouches_for(tmp_path: Path, style: str) -> None:
    async with receiving(tls=Authority(tmp_path).context_for("a.example")) as receiver:
        url, names = f"https://a.example:{receiver.port}/", Names(["127.0.0.1"])
        with pytest.raises(Unreachable, match="certificate"):
            await sent(url, style=style, names=names)
        assert [] == receiver.got, "nothing was said to it"
        await sent(url, style=style, names=names, insecure=True)
        assert 1 == len(receiver.got)


async def test_401_holds_the_lane_and_buries_nothing() -> None:
    async with receiving(lambda *_: reply(401, b"bad signature")) as receiver:
        async with outlet(platform(receiver.url)) as (to, _):
            for _ in range(8):
                with pytest.raises(Unreachable, match=r"401: bad signature; .*secret"):
                    await to.send(parcel())
        assert {"POST"} == {request.method for request in receiver.got}


async def test_410_ends_it() -> None:
    async with receiving(lambda *_: reply(410, b"moved out")) as receiver:
        with pytest.raises(Gone, match="410: moved out"):
            await sent(receiver.url)


async def test_429_says_when_to_come_back() -> None:
    async with receiving(lambda *_: reply(429, b"", Retry_After="17")) as receiver:
        with pytest.raises(Unreachable) as caught:
            await sent(receiver.url)
    assert 17 == caught.value.retry_after


async def test_html_where_something_failed_is_a_reason_that_can_be_read() -> None:
    page = b"<!DOCTYPE html>\n<title>\x00502</title>\n<h1>Bad gateway</h1>" + b" " * 50_000
    async with receiving(lambda *_: reply(502, page, Content_Type="text/html")) as receiver:
        with pytest.raises(Unreachable) as caught:
            await sent(receiver.url)
    assert "it answered 502: <!DOCTYPE html> <title>�502</title> <h1>Bad gateway</h1>" == str(caught.value)


async def test_a_success_in_html_is_one() -> None:
    """The first systems answer ``success`` as text/html."""
    async with receiving(lambda *_: reply(200, b"success", Content_Type="text/html")) as receiver:
        await sent(receiver.url)


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-OpenSSH_9\r\n", b"HTTP/1.1 " + b"9" * 60_000 + b"\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\0" * 100,
        b"HTTP/1.1 100 Continue\r\n" * 999, b"ICY 200 OK\r\n\r\n",
    ],
    ids=["ssh", "long", "status", "nul", "interim", "icy"],
)  # fmt: skip
async def test_what_speaks_no_http(said: bytes) -> None:
    async with receiving(saying(said)) as receiver:
        with pytest.raises(Unreachable, match="broke, or spoke no HTTP") as caught:
            await sent(receiver.url)
        assert len(str(caught.value)) < 400, "a reason is stored, shown and logged"


@pytest.mark.parametrize("asked", ["Sun, 01 Mar 99999999999 12:01:00 GMT", "Sun, 01 Mar 2026 12:01:00 +99999999999999"])
async def test_a_time_that_there_is_not_is_no_time_to_come_back(asked: str) -> None:
    async with receiving(lambda *_: reply(503, b"", Retry_After=asked)) as receiver:
        with pytest.raises(Unreachable) as caught:
            await sent(receiver.url)
        assert caught.value.retry_after is None


async def test_a_body_that_is_packed_is_not_unpacked() -> None:
    """Twenty kilobytes may be twenty megabytes inside."""
    async with receiving(lambda *_: reply(422, b"\x1f\x8b\x08", Content_Encoding="gzip")) as receiver:
        with pytest.raises(Undeliverable, match="it answered 422"):
            await sent(receiver.url)
        assert "identity" == receiver.got[0].headers["accept-encoding"]


# --- where there is nobody --------------------------------------------------------------------------------------------


async def test_nobody_listens() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable, match="there is no connection"):
            await sent(f"http://127.0.0.1:{bound.getsockname()[1]}/")


async def test_a_name_that_nobody_has() -> None:
    with pytest.raises(Unreachable, match="there is no connection"):
        await sent("http://platform.invalid/")


async def test_a_lookup_that_hangs() -> None:
    class Silent(Names):
        async def resolve(self, *_: object, **__: object) -> NoReturn:
            await asyncio.Event().wait()
            raise AssertionError

    row = platform("http://a.example/")
    async with outlet(row, patience=Patience(connect=0.3, total=9.0), names=Silent([])) as (to, _):
        with pytest.raises(Unreachable, match=r"within 0\.3 s"):
            await to.send(parcel())


async def test_who_does_not_even_accept() -> None:
    """Connecting has a time of its own: a full queue swallows what comes."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        row = platform(f"http://127.0.0.1:{address[1]}/")
        began = time.monotonic()
        async with outlet(row, patience=Patience(connect=0.3, total=9.0)) as (to, _):
            with pytest.raises(Unreachable, match=r"within 0\.3 s"):
                await to.send(parcel())
        assert time.monotonic() - began < 5
        for filler in fillers:
            filler.close()


async def test_who_accepts_and_says_nothing() -> None:
    async with receiving(lambda *_: asyncio.sleep(30)) as receiver:
        with pytest.raises(Unreachable, match=r"did not answer within 0\.5 s"):
            await sent(receiver.url)


async def test_the_environment_names_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving() as proxy, receiving() as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        await sent(receiver.url)
        assert (0, 1) == (proxy.connections, receiver.connections)


async def test_closing_is_harmless_to_repeat() -> None:
    client = PlatformHttpClient((), SHORT)
    await client.close()
    async with receiving() as receiver:
        await client.ask(platform(receiver.url), "GET", receiver.url, 10)
        await client.close()
        await client.close()
        assert 200 == (await client.ask(platform(receiver.url), "GET", receiver.url, 10)).status
        await client.close()
