"""One connection of one user: what it is sent, and what it confirms."""

from __future__ import annotations

import asyncio
import fcntl
import secrets
import socket
import struct
import sys
import termios
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING

import msgspec

from messaging.auth.tokens import Claims
from messaging.delivery import CHUNK_MIN, Ledger, Place, next_chunk
from messaging.model import Topic, User, name_of_topic
from messaging.permissions import Aim, Caller, aim_of_member, is_unambiguous
from messaging.readers.cursors import Cursors
from ws_server.handshake import ConnectOptions
from ws_server.protocol import encode, ping_frame

if TYPE_CHECKING:
    from ws_server.connection import Connection

BUFFER_BYTES = 256 * 1024  # of a session, in this process; beyond it the session is served from the store
PING_BYTES = 8
BYTES_ACKED = 120  # where tcpi_bytes_acked stands in struct tcp_info (linux/tcp.h, since 4.1)


class Flow(Enum):
    """Where a session is in catching up. Of the states only WAITING ends by what the client does."""

    STEADY = auto()  # live everywhere
    QUEUED = auto()  # a chunk is being read for it, or will be
    WAITING = auto()  # a chunk was written: its pong asks for the next


class Nowhere(asyncio.Transport):
    """Where the fan-out writes for a session that is closing or has gone, until it is out of every feed."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0


class Session:
    """One connection. Writes are synchronous; nothing here awaits."""

    def __init__(
        self,
        connection: Connection,
        user: User,
        claims: Claims,
        options: ConnectOptions,
        *,
        cursors: Cursors,
        ready: Callable[[Session], None],
    ) -> None:
        """``ready`` is called when a chunk was confirmed and more is pending."""
        self.connection = connection
        self.transport: asyncio.Transport = connection.transport  # what the fan-out writes to
        self.user = user
        self.caller = Caller(user, claims.grants)
        self.claims = claims
        self.options = options
        self.device = options.device
        self.places: dict[int, Place[Session]] = {}
        self.aims: dict[str, Aim] = {}  # by name: where a publish to one of this session's topics goes
        self.behind: deque[Place[Session]] = deque()
        self.ledger: Ledger[Session] = Ledger(options.explicit)
        self.flow = Flow.STEADY
        self.chunk = CHUNK_MIN  # bytes
        self.pings = 0  # written so far
        self.pinged_at = 0.0  # the last of them, by the loop's clock
        self.opened = False  # its memberships have been read
        self.missed_change = False  # while they were being read, they changed
        self.closing = False
        self.is_void = False  # what it has asked for and what comes is not done any more
        self.mute = False  # a close frame went out, or came: nothing may follow ours (RFC 6455, 5.5.1)
        self.gone = False
        self.timers: list[asyncio.TimerHandle] = []  # when its token expires; then its next heartbeat
        self._cursors = cursors
        self._chunk_written = False
        self._chunk_pinged = False
        self._taken = 0  # by the peer, when the last ping went out: see `taken`
        self._ready = ready

    # What it is sent

    @property
    def ending(self) -> bool:
        """Whether it is sent nothing new any more."""
        return self.closing or self.gone

    def fade(self) -> None:
        """The fan-out writes to it no more, nor is it caught up with."""
        self.transport = Nowhere()
        self.behind.clear()

    def send(self, thing: msgspec.Struct) -> None:
        """Write a reply or a push."""
        self.write(encode(thing))

    def write(self, frames: bytes) -> bool:
        """Write whole frames, if the connection still takes any."""
        if self.gone or self.mute:
            return False
        self.connection.transport.write(frames)
        return True

    def takes(self, size: int) -> bool:
        """Whether ``size`` more bytes stay within the bound."""
        return self.connection.transport.get_write_buffer_size() + size <= BUFFER_BYTES

    def enter(self, place: Place[Session], topic: Topic) -> None:
        self.places[topic.id] = place
        self.take_aim(topic)
        self.behind.append(place)

    def take_aim(self, topic: Topic) -> None:
        """One of its topics, as it is now."""
        self.aims[topic.name] = aim_of_member(self.caller, topic)

    def aim(self, target: str) -> Aim | None:
        """Where a publish to ``target`` goes, if that is one of its topics and nothing else."""
        aim = self.aims.get(name_of_topic(target))
        return aim if aim is not None and is_unambiguous(aim.topic, target) else None

    def leave(self, place: Place[Session]) -> None:
        topic = place.feed.topic
        if self.places.get(topic.id) is place:
            del self.places[topic.id]
            self.aims.pop(topic.name, None)
        if place in self.behind:
            self.behind.remove(place)

    def written(self, place: Place[Session]) -> None:
        """Frames of this topic were written from a page: the chunk that waits for its pong."""
        self.ledger.sent.add(place)
        self._chunk_written = True

    def fell_behind(self, place: Place[Session]) -> None:
        """A piece did not fit: what is buffered counts as the chunk under way."""
        self.behind.append(place)
        self.ledger.sent.add(place)
        if self.flow is Flow.STEADY:
            self.await_pong()

    def await_pong(self) -> None:
        self._chunk_written = True
        self.flow = Flow.WAITING

    # What it confirms

    @property
    def due(self) -> bool:
        """Whether something was written that no ping covers yet."""
        return bool(self.ledger.sent) or self._chunk_written

    def ping(self, now: float) -> None:
        """Ping, with the record of this very moment; nothing is written between the two."""
        payload = secrets.token_bytes(PING_BYTES)
        self.ledger.ping(payload)
        self._chunk_pinged, self._chunk_written = self._chunk_written, False
        self.pings += 1
        self.pinged_at = now
        self._taken = self.taken()
        self.write(ping_frame(payload))

    def pong(self, payload: bytes, now: float) -> bool:
        """Whether this pong answered our ping. Its record is confirmed; the next chunk may come."""
        moves = self.ledger.pong(payload)
        if moves is None:
            return False
        for place, seq in moves:
            self.confirm(place, seq)
        if self._chunk_pinged:
            self._chunk_pinged = False
            self.chunk = next_chunk(self.chunk, now - self.pinged_at)
            if self.flow is Flow.WAITING:  # not where a worker is at it: two would serve one place
                self.flow = Flow.STEADY
                self._ready(self)
        return True

    def confirm(self, place: Place[Session], seq: int) -> None:
        self._cursors.move(place.feed.topic.id, place.membership_id, self.device, seq)

    # Flow and liveness

    def taken(self) -> int:
        """A number that rises as the peer takes bytes.

        Linux counts them. Elsewhere it is what waits in this process and the kernel, negated: it does not rise for a
        peer to whom as much is written as it takes.
        """
        sock = self.connection.transport.get_extra_info("socket")
        waiting = self.connection.transport.get_write_buffer_size()
        try:
            if sys.platform == "linux":
                info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
                return int(struct.unpack_from("Q", info, BYTES_ACKED)[0])
            waiting += struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0]
        except (OSError, ValueError, struct.error):
            pass
        return -waiting

    def progressed(self) -> bool:
        """Whether the peer took anything since this was last asked, or is held up by us: we do not read its pongs.

        One that is not read because it does not take its replies holds itself up.
        """
        before, self._taken = self._taken, self.taken()
        reasons = self.connection.unread_for
        return self._taken > before or (bool(reasons) and "replies" not in reasons)
