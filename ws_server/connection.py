"""A connection of the library, with frames handled where they are parsed: in a turn of its user, without a task.

That bypasses the library's queue and with it its flow control; `stop_reading` takes its place. Server frames are never
fragmented (a ping may then stand between any two), and the library's keep-alive is not used.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterable
from typing import Any, Protocol

from websockets.asyncio.server import ServerConnection
from websockets.frames import Frame, Opcode
from websockets.protocol import CLOSED, CLOSING, OPEN, Event

from messaging.frames import CloseCode
from messaging.limits.connections import MAX_HEAD, Accepted, Connections
from ws_server.session import BUFFER_BYTES, Session
from ws_server.turns import TURN, FrameReader, Turns

MAX_FRAGMENTS = 1024  # of one message
TCP_CLOSE = 7  # of tcpi_state, the first byte of struct tcp_info (linux/tcp.h)


class FrameReceiver(Protocol):
    """Who is told what the peer sends."""

    session: Session

    def frames_left(self) -> int:
        """How many frames may be handled now."""

    def took(self, frames: int) -> None:
        """So many were handled."""

    def refused(self, limit: str) -> None:
        """A limit ended the connection."""

    def text(self, data: bytes) -> None: ...

    def pong(self, payload: bytes) -> None: ...

    def gone(self) -> None: ...


class Connection(ServerConnection):
    """One WebSocket. `reader` is set before the handshake is answered, so that it misses no frame."""

    # With the library's own it would be more than 30 in one dict, whose keys CPython then does not share: 1.5 KiB each.
    __slots__ = (
        "_alive", "_connections", "_fragments", "_frames", "_handling", "_has_more", "_head", "_limit", "_parts",
        "_turns", "accepted", "address", "is_held", "reader", "unread_for",
    )  # fmt: skip

    def __init__(
        self, alive: set[Connection], connections: Connections, turns: Turns, *args: Any, **kwargs: Any
    ) -> None:
        """``alive``: where it stands while its socket is open; ``connections``: where it is counted."""
        super().__init__(*args, **kwargs)
        self._alive = alive
        self._connections = connections
        self._turns = turns
        self.accepted: Accepted | None = None  # None: it was refused, and nothing else is done for it
        self.reader: FrameReceiver | None = None
        self.address = ""  # of the peer; taken at once, for a transport that has closed tells none
        self.unread_for: set[str] = set()  # the reasons why nothing is read from the peer
        self.is_held = False  # who asks waits to be refused
        self._frames = self.protocol.reader = FrameReader()
        self.protocol.parser = self.protocol.parse()  # anew: it has begun with the reader that the library made
        next(self.protocol.parser)
        self._has_more = False  # that came, and was not handled
        self._handling = False
        self._parts = bytearray()  # of a fragmented message, whose size the library bounds
        self._fragments = 0
        self._head = 0  # bytes before the handshake was answered
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
        self._alive.add(self)
        # Above the bound of the fan-out: reached by replies alone, whose asker then is no longer read.
        transport.set_write_buffer_limits(BUFFER_BYTES, BUFFER_BYTES // 2)

    def ask(self, forwarded: Iterable[str]) -> None:
        """Its handshake is here; ``forwarded``: each X-Forwarded-For. Raises TooManyConnections."""
        assert self.accepted is not None
        self._connections.ask(self.accepted, forwarded)
        self._connections.work(self.accepted)

    async def hold_back(self, seconds: float) -> None:
        """Answer nobody known no sooner than this; meanwhile it gives way for one that comes."""
        assert self.accepted is not None
        self.is_held = True
        self._connections.wait(self.accepted)
        await asyncio.wait([self.connection_lost_waiter], timeout=seconds)

    # What comes in

    def data_received(self, data: bytes) -> None:
        if self.reader is not None:
            self._frames.feed_data(data)
            self.serve()
        elif self.response is None:  # else it was refused
            super().data_received(data)
            self._head += len(data)
            if self._head > MAX_HEAD:
                self.transport.abort()

    def serve(self) -> None:
        """Handle what came, in turns."""
        self._has_more = bool(self._frames.buffer)
        if self.reader is not None and self._has_more and not self.unread_for:
            self._turns.serve(self, self.reader.session.user.id)

    @property
    def wants_turn(self) -> bool:
        """Whether something came that can be handled."""
        return self._has_more and not self.unread_for - {TURN}

    def handle(self, frames: int) -> tuple[int, int]:
        """Handle so many of the frames that came. Returns how many it were, and their bytes."""
        assert self.reader is not None, "without one nothing has turns"
        if not self.wants_turn or self._frames.eof:
            return 0, 0
        allowed = self._frames.allowed = min(frames, self.reader.frames_left())
        size = len(self._frames.buffer)
        self._handling = True
        try:
            super().data_received(b"")
        finally:
            self._handling = False
        left, self._frames.allowed = self._frames.allowed, 0  # nothing is parsed but here
        self._has_more = not left and bool(self._frames.buffer)
        size -= len(self._frames.buffer)
        if not self.leaving:
            self.reader.took(allowed - left)
        self._check()
        return allowed - left, size

    def process_event(self, event: Event) -> None:
        if not isinstance(event, Frame):
            super().process_event(event)
            return
        assert self.reader is not None, "no frame is parsed before"
        if event.opcode is Opcode.PONG:
            self.reader.pong(bytes(event.data))
        elif event.opcode is Opcode.BINARY:
            self.refuse(CloseCode.BINARY, "text frames only")
        elif event.opcode is Opcode.TEXT or event.opcode is Opcode.CONT:
            self._text(event)

    def _text(self, frame: Frame) -> None:
        data = bytes(frame.data)
        if frame.opcode is Opcode.CONT or not frame.fin:
            self._parts += data
            self._fragments += 1
            if self._fragments > MAX_FRAGMENTS:
                self._refuse_fragments()
                return
            if not frame.fin:
                return
            data = bytes(self._parts)
            self._parts.clear()
            self._fragments = 0
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
                self.refuse(CloseCode.NOT_UTF8, "not UTF-8")
                return
        self.reader.text(data)

    # Its end

    def refuse(self, code: CloseCode, reason: str) -> None:
        """Fail the connection (RFC 6455, 7.1.7)."""
        self.protocol.fail(code, reason)
        self.send_data()

    def send_data(self) -> None:
        """Write what the protocol has to say. Whatever ends a connection comes by here."""
        super().send_data()
        if self.protocol.state in (CLOSING, CLOSED) and not self.leaving:
            self._leave()
        if self.accepted is not None and (self.leaving or self.protocol.eof_sent):  # as behind a refusal
            self._connections.wait(self.accepted)

    def _refuse_fragments(self) -> None:
        if self.reader is not None:
            self.reader.refused("fragments")
        self.refuse(CloseCode.TOO_BIG, f"a message has at most {MAX_FRAGMENTS} fragments")

    def _leave(self) -> None:
        # A paused transport would never see the peer's end, and a peer may never end, or never take the last bytes.
        self._limit = self.loop.call_later(self.close_timeout or 0, self.transport.abort)
        for reason in self.unread_for - {TURN}:
            self.resume_reading(reason)

    def eof_received(self) -> None:
        super().eof_received()
        self._check()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.accepted is None:
            return
        self._connections.end(self.accepted)
        super().connection_lost(exc)
        self.unread_for.clear()
        self._has_more = False
        self._alive.discard(self)
        if self._limit is not None:
            self._limit.cancel()
        self._check()

    def _check(self) -> None:
        # From here on a write would follow a close frame, or a half-closed socket.
        if self.reader is not None and self.protocol.state is not OPEN and self.request is not None and self.response:
            self.reader.gone()

    # Flow

    def stop_reading(self, reason: str) -> None:
        """Let the peer wait. Going is the end of all waiting but for a turn."""
        if self._frames.eof or (self.leaving and reason != TURN):
            return
        if not self.unread_for:
            self.transport.pause_reading()
        self.unread_for.add(reason)

    def resume_reading(self, reason: str) -> None:
        if reason not in self.unread_for:
            return
        self.unread_for.remove(reason)
        if not self.unread_for:
            self.transport.resume_reading()
            if self._has_more and not self._handling and not self.drop_if_reset():
                self.serve()

    def drop_if_reset(self) -> bool:
        """Whether the peer has reset the connection, of which nobody hears who does not read. What it sent is void."""
        if sys.platform != "linux" or self.transport.is_closing():
            return False
        sock = self.transport.get_extra_info("socket")
        is_reset: bool = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == TCP_CLOSE
        if is_reset:
            self.transport.abort()
        return is_reset

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.reader is not None:
            self.stop_reading("replies")

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.reader is not None:
            self.resume_reading("replies")
