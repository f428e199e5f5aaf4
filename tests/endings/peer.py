"""A peer of plain sockets: it says bytes, looks for bytes, and ends in every way that TCP knows."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Generic, TypeVar

T = TypeVar("T")

UPGRADE = (
    "GET /{path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: cmVjYWRvLXRlc3RzLXJhdw==\r\n\r\n"
)
CLOSE = b"\x88\x82\0\0\0\0\x03\xe8"  # 1000, masked with zeros
LINGER_NONE = struct.pack("ii", 1, 0)


class Peer:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.heard = bytearray()

    async def say(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def hear(self, what: bytes, within: float = 15) -> None:
        """Read until this stands in what was heard."""
        async with asyncio.timeout(within):
            while what not in self.heard:
                data = await asyncio.get_running_loop().sock_recv(self.sock, 65536)
                assert data, bytes(self.heard[-300:])
                self.heard += data

    async def ended(self, within: float = 15) -> None:
        """Read until the other side has ended."""
        async with asyncio.timeout(within):
            try:
                while await asyncio.get_running_loop().sock_recv(self.sock, 65536):
                    pass
            except ConnectionError:
                pass


# How a peer ends: what it says last, in one write with what it said before, and what it does then.
Ending = tuple[bytes, Callable[[Peer], Awaitable[None]]]


async def closes(peer: Peer) -> None:
    peer.sock.close()


async def closes_politely(peer: Peer) -> None:
    """As RFC 6455 (7.1.1) has it: the server ends the connection first. A server that says nothing is left."""
    with suppress(TimeoutError):
        await peer.ended(0.5)
    peer.sock.close()


async def resets(peer: Peer) -> None:
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
    peer.sock.close()


async def half_closes(peer: Peer) -> None:
    peer.sock.shutdown(socket.SHUT_WR)


async def stays(peer: Peer) -> None:
    """Its socket stays open: nothing is said, nothing is taken."""


GONE: dict[str, Ending] = {"closed": (b"", closes), "reset": (b"", resets)}
WS_GONE: dict[str, Ending] = {
    **GONE,
    "close frame, closed": (CLOSE, closes),
    "close frame, closed politely": (CLOSE, closes_politely),
    "close frame, reset": (CLOSE, resets),
}
WS_STAYS: dict[str, Ending] = {
    "half-closed": (b"", half_closes),
    "close frame, half-closed": (CLOSE, half_closes),
    "close frame, silent": (CLOSE, stays),
    "broken frame, silent": (b"\xff\xff", stays),
}


class Peers:
    """All peers of a test."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.all: list[Peer] = []

    @property
    def mine(self) -> set[int]:
        return {peer.sock.fileno() for peer in self.all}

    async def connect(self, small: bool = False) -> Peer:
        """``small``: its buffer takes little, so that what it does not read waits at the other side."""
        sock = socket.socket()
        self.all.append(Peer(sock))
        sock.setblocking(False)
        if small:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        return self.all[-1]

    async def websocket(self, path: str, small: bool = False) -> Peer:
        """Connected, and greeted."""
        peer = await self.connect(small)
        await peer.say(UPGRADE.format(path=path).encode())
        await peer.hear(b'"connected"')
        return peer


@asynccontextmanager
async def peers(url: str) -> AsyncIterator[Peers]:
    found = Peers(int(url.rpartition(":")[2]))
    try:
        yield found
    finally:
        for peer in found.all:
            peer.sock.close()


class States(dict[str, Callable[[T], AbstractAsyncContextManager[tuple[Peer, bytes]]]], Generic[T]):
    """By name, a context: the peer, and what it says last before it ends; behind it what held the state is over."""

    def __call__(self, name: str) -> Callable[[Callable[[T], AsyncIterator[tuple[Peer, bytes]]]], None]:
        def kept(function: Callable[[T], AsyncIterator[tuple[Peer, bytes]]]) -> None:
            self[name] = asynccontextmanager(function)

        return kept
