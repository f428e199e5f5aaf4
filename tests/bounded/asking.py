"""Asks a door by bytes, in a thread of its own."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable, Iterator

PATIENCE = 30.0  # seconds


def http(port: int, head: str, body: Iterable[bytes] = ()) -> bytes:
    """The answer to a request. ``body``: its pieces, each sent by itself, without waiting to send several as one."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _exchange(line, [head.encode("utf-8", "surrogateescape"), *body])


def _exchange(line: socket.socket, pieces: Iterable[bytes]) -> bytes:
    try:
        for piece in pieces:
            line.sendall(piece)
    except OSError:
        pass  # refused before it was all there: the answer is waiting
    answer = b"".join(_until_end(line))
    assert b" 500 " not in answer.partition(b"\r\n")[0], answer
    return answer


def _until_end(line: socket.socket) -> Iterator[bytes]:
    try:
        while part := line.recv(1 << 16):
            yield part
    except ConnectionResetError:
        return


def request(method: str, target: str, body: bytes = b"", **headers: str) -> str:
    """A request's head. ``headers``: with ``_`` for ``-``."""
    given = {"Host": "localhost", "Connection": "close"}
    if body:
        given |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    return f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in given.items()) + "\r\n"


class WebSocket:
    """A connection that sends what it is told, and reads up to an answer."""

    def __init__(self, port: int, target: str, headers: str = "") -> None:
        self._line = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stream = self._line.makefile("rb")
        head = (
            f"GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {'A' * 22}==\r\n{headers}\r\n"
        )
        self._line.sendall(head.encode("utf-8", "surrogateescape"))
        self.status = int(self._stream.readline().split()[1])
        while self._stream.readline().strip():
            continue

    def close(self) -> None:
        self._stream.close()
        self._line.close()

    def ask(self, pieces: Iterable[bytes]) -> bool:
        """Send pieces, then a question, and read until it is answered: True; or until the connection ends."""
        mark = os.urandom(8).hex().encode()
        try:
            for piece in pieces:
                self._line.sendall(piece)
            self._line.sendall(frame(1, b'{"action":"topics","ref":"%b"}' % mark))
            while mark not in self._read():
                continue
            return True
        except (OSError, EOFError, struct.error):
            return False

    def _read(self) -> bytes:
        first, second = struct.unpack("!BB", self._stream.read(2))
        size = second & 0x7F
        if size > 125:
            size = int.from_bytes(self._stream.read(2 if size == 126 else 8), "big")
        data = self._stream.read(size)
        if first & 0x0F == 8:
            raise EOFError
        return data


def frame(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """A client's frame (RFC 6455, 5.2), masked with zeros."""
    size = len(payload)
    head = bytes([(0x80 if fin else 0) | opcode])
    if size < 126:
        return head + bytes([0x80 | size]) + bytes(4) + payload
    length = struct.pack("!BH", 0xFE, size) if size < 65536 else struct.pack("!BQ", 0xFF, size)
    return head + length + bytes(4) + payload
