"""A connection of the library, with frames handled where they are parsed: in `data_received`, without a task.

That bypasses the library's queue and with it its flow control; `Session.stop_reading` takes its place. Server frames
are never fragmented (a ping may then stand between any two), and the library's keep-alive is not used.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from websockets.asyncio.server import ServerConnection
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import CLOSED, CLOSING, OPEN, Event

from messaging.connections import MAX_HEAD, Accepted, Connections
from ws_server.session import BUFFER_BYTES, Session


class Reader(Protocol):
    """Who is told what the peer sends."""

    session: Session

    def text(self, data: bytes) -> None: ...

    def pong(self, payload: bytes) -> None: ...

    def gone(self) -> None: ...


class Link(ServerConnection):
    """One WebSocket. `reader` is set before the handshake is answered, so that it misses no frame."""

    # With the library's own it would be more than 30 in one dict, whose keys CPython then does not share: 1.5 KiB each.
    __slots__ = ("_connections", "_head", "_limit", "_links", "_parts", "accepted", "address", "reader")

    def __init__(self, links: set[Link], connections: Connections, *args: Any, **kwargs: Any) -> None:
        """``links``: where it stands while its socket is open; ``connections``: where it is counted."""
        super().__init__(*args, **kwargs)
        self._links = links
        self._connections = connections
        self.accepted: Accepted | None = None  # None: it was refused, and nothing else is done for it
        self.reader: Reader | None = None
        self.address = ""  # of the peer; taken at once, for a transport that has closed tells none
        self._parts = bytearray()  # of a fragmented message; the library bounds its size, not the number of fragments
        self._head = 0  # bytes before the handshake was read
        self._limit: asyncio.TimerHandle | None = None  # when a peer that goes is cut off

    @property
    def leaving(self) -> bool:
        """Whether a close frame or the end of the stream went or came: from then on it is read until it has gone."""
        return self._limit is not None

    def connection_made(self, transport: Any) -> None:
        self.address = str((transport.get_extra_info("peername") or ("",))[0])
        self.accepted = self._connections.accept(self.address, transport.abort)
        if self.accepted is None:
            transport.abort()
            return
        super().connection_made(transport)
        self._links.add(self)
        # Above the bound of the fan-out: reached by replies alone, whose asker then is no longer read.
        transport.set_write_buffer_limits(BUFFER_BYTES, BUFFER_BYTES // 2)

    def process_event(self, event: Event) -> None:
        if not isinstance(event, Frame):
            super().process_event(event)
        elif self.reader is None:
            self.transport.abort()  # nothing may come before the answer to the handshake (RFC 6455, 4.1)
        elif event.opcode is Opcode.PONG:
            self.reader.pong(bytes(event.data))
        elif event.opcode is Opcode.BINARY:
            self.refuse(CloseCode.UNSUPPORTED_DATA, "text frames only")
        elif event.opcode is Opcode.TEXT or event.opcode is Opcode.CONT:
            self._text(event)

    def _text(self, frame: Frame) -> None:
        data = bytes(frame.data)
        if frame.opcode is Opcode.CONT or not frame.fin:
            self._parts += data
            if not frame.fin:
                return
            data = bytes(self._parts)
            self._parts.clear()
        if self.reader is None:
            return
        if self.protocol.state is not OPEN:
            if not self.protocol.close_rcvd_then_sent:
                return  # our close frame has gone out
            # It came before the peer's close frame, in one piece with it: it counts, but nothing may be answered.
            self.reader.session.mute = True
        if not data.isascii():
            try:
                data.decode()
            except UnicodeDecodeError:
                self.refuse(CloseCode.INVALID_DATA, "not UTF-8")
                return
        self.reader.text(data)

    def refuse(self, code: CloseCode, reason: str) -> None:
        """Fail the connection (RFC 6455, 7.1.7)."""
        self.protocol.fail(code, reason)
        self.send_data()

    def send_data(self) -> None:
        """Write what the protocol has to say. Whatever ends a connection comes by here."""
        super().send_data()
        if self.protocol.state in (CLOSING, CLOSED) and not self.leaving:
            self._leave()

    def _leave(self) -> None:
        # A paused transport would never see the peer's end, and a peer may never end, or never take the last bytes.
        self.transport.resume_reading()
        self._limit = self.loop.call_later(self.close_timeout or 0, self.transport.abort)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.request is None:
            self._head += len(data)
            if self._head > MAX_HEAD:
                self.transport.abort()
        self._check()

    def eof_received(self) -> None:
        super().eof_received()
        self._check()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.accepted is None:
            return
        self._connections.end(self.accepted)
        super().connection_lost(exc)
        self._links.discard(self)
        if self._limit is not None:
            self._limit.cancel()
        self._check()

    def _check(self) -> None:
        # From here on a write would follow a close frame, or a half-closed socket.
        if self.reader is not None and self.protocol.state is not OPEN and self.request is not None and self.response:
            self.reader.gone()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.reader is not None:
            self.reader.session.stop_reading("replies")

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.reader is not None:
            self.reader.session.resume_reading("replies")
