"""What aiohttp answers by itself is answered as all else is: a code, a message, and nothing of the request."""

from __future__ import annotations

import asyncio
import json

import pytest

from support.doors import Door

SECRET = b"s3cret"
HEAD = b"Host: localhost\r\nConnection: close\r\n"


async def exchange(door: Door, sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers in small letters, body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", door.settings.api_port)
    writer.write(sent)
    async with asyncio.timeout(10):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    status, *lines = head.decode().split("\r\n")
    return int(status.split()[1]), {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}, body


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"GET /%b HTTP/1.1\r\n%b\r\n", 404, "not_found"),
        (b"PUT /healthz?%b HTTP/1.1\r\n%b\r\n", 405, "method_not_allowed"),
        (b"GET /healthz HTTP/1.1\r\nExpect: %b\r\n%b\r\n", 417, "expectation_failed"),
        (b"GET /nothing HTTP/1.1\r\nExpect: %b\r\n%b\r\n", 417, "expectation_failed"),
        (b"%b\xff\r\n%b\r\n", 400, "bad_request"),
        (b"GET /\xff%b HTTP/1.1\r\n%b\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nBad Header %b: 1\r\n%b\r\n", 400, "bad_request"),
        (b"GET / HTTP/9.9 %b\r\n%b\r\n", 400, "bad_request"),
        (b"GET /%b" + b"a" * 9000 + b" HTTP/1.1\r\n%b\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nX: %b" + b"a" * 9000 + b"\r\n%b\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\n" + b"X: %b\r\n" + b"X: 1\r\n" * 200 + b"%b\r\n", 400, "bad_request"),
        (b"POST /messages HTTP/1.1\r\nContent-Length: %b\r\n%b\r\n", 400, "bad_request"),
        (b"POST /messages HTTP/1.1\r\nTransfer-Encoding: %b\r\n%b\r\n", 400, "bad_request"),
    ],
)
async def test_it_says_no_in_our_words(door: Door, sent: bytes, status: int, code: str) -> None:
    found, headers, body = await exchange(door, sent % (SECRET, HEAD))
    assert (found, headers["content-type"]) == (status, "application/json")
    assert json.loads(body)["code"] == code and set(json.loads(body)) == {"code", "message"}
    assert SECRET not in body and SECRET.decode() not in str(headers)


async def test_what_is_no_http_does_not_flood_the_log(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(20):
        assert (await exchange(door, b"GET / HTTP/9.9\r\n" + HEAD + b"\r\n"))[0] == 400
    assert len(caplog.records) == 1


async def test_a_body_that_cannot_be_read_is_refused_in_our_words(door: Door) -> None:
    head = b"POST /messages HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n" + HEAD
    status, headers, body = await exchange(door, head + b"\r\ns3cret\r\n")
    assert (status, headers["content-type"], json.loads(body)["code"]) == (400, "application/json", "bad_request")
    assert SECRET not in body


async def test_who_expects_to_go_on_may(door: Door) -> None:
    body = b'{"sender":"a","receiver":"b","body":"c"}'
    head = b"POST /messages HTTP/1.1\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n" + HEAD
    reader, writer = await asyncio.open_connection("127.0.0.1", door.settings.api_port)
    writer.write(head + b"Content-Length: %d\r\n\r\n" % len(body))
    async with asyncio.timeout(10):
        assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"
        writer.write(body)
        assert b"HTTP/1.1 200 OK" in await reader.read()
    writer.close()
