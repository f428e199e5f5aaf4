"""What the WebSocket door answers to what is no handshake: as HTTP has it, and in our words."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from support import ws as ws_support
from support.ws import Running


@pytest.fixture
async def recado(database: str) -> AsyncIterator[Running]:
    async with ws_support.running(database) as running:
        yield running


async def exchange(
    recado: Running, method: str, path: str, more: str = "", version: str = "1.1"
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers in small letters, and all that follows them."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(recado.url.rpartition(":")[2]))
    writer.write(f"{method} {path} HTTP/{version}\r\nHost: localhost\r\n{more}\r\n".encode())
    async with asyncio.timeout(10):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    status, *lines = head.decode().split("\r\n")
    return int(status.split()[1]), {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}, body


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/", "/no-token", "//["])
async def test_head_has_the_headers_of_get_and_no_body(recado: Running, path: str) -> None:
    status, headers, body = await exchange(recado, "GET", path)
    of_head = await exchange(recado, "HEAD", path)
    assert body and int(headers["content-length"]) == len(body)
    assert (of_head[0], of_head[2]) == (status, b"")
    assert of_head[1]["content-type"] == headers["content-type"] and int(of_head[1]["content-length"]) > 0


UPGRADE = "Upgrade: websocket\r\nConnection: Upgrade\r\n"
SECURE = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"


@pytest.mark.parametrize(
    ("method", "more", "status", "code"),
    [
        ("GET", "", 426, "upgrade_required"),
        ("POST", UPGRADE + SECURE, 405, "method_not_allowed"),
        ("GET", UPGRADE, 400, "bad_request"),
        ("GET", UPGRADE + SECURE.replace("13", "s3cret"), 400, "bad_request"),
        ("GET", UPGRADE.replace("websocket", "s3cret") + SECURE, 426, "upgrade_required"),
    ],
)
async def test_the_library_refuses_in_our_words(
    recado: Running, method: str, more: str, status: int, code: str
) -> None:
    path = f"/{recado.token('ana')}"
    found, headers, body = await exchange(recado, method, path, more)
    assert (found, headers["content-type"], json.loads(body)["code"]) == (status, "application/json", code)
    assert set(json.loads(body)) == {"code", "message"} and b"s3cret" not in body
    assert headers.get("allow") == ("GET" if status == 405 else None)
    assert headers.get("upgrade") == ("websocket" if status == 426 else None)
    assert (await exchange(recado, "HEAD", path, more))[2] == b""


async def test_what_strangers_bring_about_does_not_flood_the_log(
    recado: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is no handshake is not told at all; a defect of ours once in a while."""
    for method, more, version in (("GET", "", "9.9"), ("G\x00T", "x\r\n", "1.1"), ("GET", "a: b\x7f\r\n", "1.1")):
        for _ in range(5):
            with suppress(IndexError):  # no answer
                await exchange(recado, method, "/x", more, version)
    assert not caplog.records

    async def fail(*_: object, **more: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(recado.door._admission, "admit", fail)
    for _ in range(20):
        assert (await exchange(recado, "GET", "/x", UPGRADE + SECURE))[0] == 500
    assert [record.getMessage() for record in caplog.records] == ["process_request failed"]
