"""A WebSocket client that reads, answers pings and sends bytes only when it is told to."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from contextlib import suppress
from typing import Any

from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.uri import parse_uri


class RawClient:
    """One connection over a plain socket. Pongs leave with `answer`, or with `read` unless told otherwise."""

    def __init__(self, sock: socket.socket, protocol: ClientProtocol) -> None:
        self.sock = sock
        self.protocol = protocol
        self.frames: list[dict[str, Any]] = []  # text frames, decoded
        self.texts = 0  # text frames that came
        self.pings = 0
        self.pinged = 0  # text frames that came before the last ping
        self.pongs = 0
        self.closed: Close | None = None
        self.after_close = 0  # frames that followed the close frame
        self.ended = False  # the peer sends no more
        self.received = 0  # bytes

    @classmethod
    async def connect(
        cls,
        url: str,
        receive_buffer: int | None = None,
        headers: dict[str, str] | None = None,
        subprotocols: list[str] | None = None,
    ) -> RawClient:
        uri = parse_uri(url)
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer is not None:  # before connecting: it decides the window that is offered
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            # Segments as on a real line: those of the loopback are larger than the window, and wait for timers.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1000)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (uri.host, uri.port))
        quiet = logging.getLogger("tests.rules_raw")  # a client's own log would show its token
        quiet.disabled = True
        protocol = ClientProtocol(uri, max_size=None, subprotocols=subprotocols, logger=quiet)  # type: ignore[arg-type]
        client = cls(sock, protocol)
        request = client.protocol.connect()
        for name, value in (headers or {}).items():
            request.headers[name] = value
        client.protocol.send_request(request)
        await client.answer()
        while client.protocol.state.name == "CONNECTING" and not client.ended:
            await client.read(size=512)
        if client.protocol.handshake_exc is not None:
            raise client.protocol.handshake_exc
        return client

    async def answer(self) -> None:
        """Send what the protocol has to say: the request, pongs, the reply to a close frame."""
        for data in self.protocol.data_to_send():
            if data:
                with suppress(OSError):
                    await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def read(self, size: int = 65536, *, pong: bool = True) -> None:
        """Read once."""
        try:
            data = await asyncio.get_running_loop().sock_recv(self.sock, size)
        except OSError:
            data = b""
        self.received += len(data)
        if data:
            self.protocol.receive_data(data)
        else:
            self.ended = True
            self.protocol.receive_eof()
        for event in self.protocol.events_received():
            if isinstance(event, Frame):
                self._take(event)
        if pong:
            await self.answer()

    def _take(self, frame: Frame) -> None:
        self.after_close += self.closed is not None
        if frame.opcode is Opcode.PING:
            self.pings += 1
            self.pinged = self.texts
        elif frame.opcode is Opcode.PONG:
            self.pongs += 1
        elif frame.opcode is Opcode.CLOSE:
            self.closed = Close.parse(frame.data)
        elif frame.opcode is Opcode.TEXT:
            assert frame.fin, "server frames are never fragmented"
            self.texts += 1
            self.frames.append(json.loads(bytes(frame.data)))

    async def send(self, text: str | bytes, opcode: Opcode = Opcode.TEXT, *, fin: bool = True) -> None:
        data = text.encode() if isinstance(text, str) else text
        await self.send_bytes(Frame(opcode, data, fin).serialize(mask=True))

    async def send_bytes(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def request(self, **frame: Any) -> None:
        await self.send(json.dumps(frame))

    async def next(self, action: str | None = None, within: float = 10) -> dict[str, Any]:
        """The next text frame, or the next of this action; it is taken off."""
        async with asyncio.timeout(within):
            while True:
                while self.frames:
                    frame = self.frames.pop(0)
                    if action is None or frame["action"] == action:
                        return frame
                assert not self.ended, f"the connection ended: {self.closed}"
                await self.read()

    async def end(self, within: float = 15) -> int:
        """Read to the end. The close code, 1006 where no close frame came."""
        async with asyncio.timeout(within):
            while not self.ended:
                await self.read()
        return 1006 if self.closed is None else int(self.closed.code)

    def close(self) -> None:
        """Vanish, without a closing handshake."""
        self.sock.close()

    async def __aenter__(self) -> RawClient:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()
