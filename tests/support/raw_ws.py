"""A WebSocket client that does nothing by itself: every frame that it sends, a pong included, the test sends."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
HANDSHAKE = (
    "GET /{path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: cmVjYWRvLXRlc3RzLXJhdw==\r\n{more}\r\n"
)


def frame(opcode: int, payload: bytes = b"") -> bytes:
    """A client's frame (RFC 6455, 5.2), masked with zeros."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else struct.pack("!BH", 0x80 | 126, size)
    return bytes([0x80 | opcode]) + length + bytes(4) + payload


def text(**command: Any) -> bytes:
    return frame(TEXT, json.dumps(command).encode())


def close(code: int = 1000) -> bytes:
    return frame(CLOSE, struct.pack("!H", code))


class RawClient:
    """What came is in `texts`, `pings` and `closed`, in order."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.texts: list[dict[str, Any]] = []
        self.pings: list[bytes] = []
        self.closed: int | None = None
        self._log: list[dict[str, Any] | bytes] = []  # texts and pings
        self._answered: set[bytes] = set()

    def write(self, *frames: bytes) -> None:
        """Send frames in one piece."""
        self.writer.write(b"".join(frames))

    def pong(self, payload: bytes) -> None:
        self._answered.add(payload)
        self.write(frame(PONG, payload))

    async def read(self) -> None:
        """Take one frame."""
        first, second = await self.reader.readexactly(2)
        size = second & 0x7F
        if size >= 126:
            size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
        payload = await self.reader.readexactly(size)
        match first & 0x0F:
            case 1:
                self.texts.append(json.loads(payload))
                self._log.append(self.texts[-1])
            case 9:
                self.pings.append(payload)
                self._log.append(payload)
            case 8:
                self.closed = struct.unpack("!H", payload[:2])[0]

    async def until(self, done: Callable[[], Any], timeout: float = 15) -> Any:
        """Take frames until ``done`` finds something; what it found."""
        async with asyncio.timeout(timeout):
            while not (found := done()):
                await self.read()
            return found

    async def greeted(self) -> None:
        """Wait until it is connected."""
        await self.until(lambda: self.texts)

    async def ping(self, number: int) -> bytes:
        """Wait for the ping of this number (from 1)."""
        await self.until(lambda: len(self.pings) >= number)
        return self.pings[number - 1]

    async def ping_behind(self, seq: int) -> bytes:
        """Wait for the ping that follows a message. The server pings idle peers, too: one before it is answered."""
        message = await self.message(seq)
        place = next(n for n, each in enumerate(self._log) if each is message)
        for payload in self._log[:place]:
            if isinstance(payload, bytes) and payload not in self._answered:
                self.pong(payload)
        found: bytes = await self.until(
            lambda: next((each for each in self._log[place:] if isinstance(each, bytes)), None)
        )
        return found

    async def message(self, seq: int) -> dict[str, Any]:
        found: dict[str, Any] = await self.until(
            lambda: next((t for t in self.texts if t["action"] == "message" and t.get("seq") == seq), None)
        )
        return found

    async def answer(self, ref: str) -> dict[str, Any]:
        """The reply to the request with this ref."""
        found: dict[str, Any] = await self.until(lambda: next((t for t in self.texts if t.get("ref") == ref), None))
        return found

    async def handled(self) -> None:
        """Wait until the server has done all that it was asked for so far."""
        await self._asked("topics")

    async def heard(self) -> None:
        """Wait until the server has read all that was sent so far, and written all that it had for us by then."""
        await self._asked("no such action")

    async def _asked(self, action: str) -> None:
        ref = f"asked {len(self.texts)}"
        self.write(text(action=action, ref=ref))
        await self.answer(ref)

    def reset(self) -> None:
        """Vanish: what is unsent goes, the peer gets an RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@asynccontextmanager
async def raw_client(url: str, path: str, *early: bytes) -> AsyncIterator[RawClient]:
    """Connect, and shake hands. ``early``: frames in one piece with the handshake."""
    host, _, port = url.removeprefix("ws://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        head = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: cmVjYWRvLXRlc3RzLXJhdw==\r\n\r\n".encode()
        )
        writer.write(head + b"".join(early))
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in head, head
        yield RawClient(reader, writer)
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)


@asynccontextmanager
async def line(url: str, address: str = "127.0.0.1") -> AsyncIterator[Stream]:
    host, _, port = url.removeprefix("ws://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), local_addr=(address, 0))
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)


async def ended(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(10):
        try:
            return await reader.read()
        except ConnectionError:
            return b""
