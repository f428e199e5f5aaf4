"""Fair queueing: of each user, whatever its sessions sent, a bounded part is handled in a turn of the loop."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from websockets.streams import StreamReader

from messaging.limits.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Generator

    from ws_server.connection import Connection

MAX_FRAMES = 128  # frames of a user in one turn
FRAME_BYTES = 1024  # that cost as much as a frame
TURN = "turn"  # why a connection is not read


class FrameReader(StreamReader):
    """What the library parses frames from; it stops in front of one that is not to be read yet."""

    __slots__ = ("allowed",)

    def __init__(self) -> None:
        super().__init__()
        self.allowed = 0  # frames: what comes behind the handshake waits until that is answered

    def at_eof(self) -> Generator[None, None, bool]:
        """Asked before each frame."""
        while not (self.buffer and self.allowed > 0):
            if self.eof:
                return True
            yield
        self.allowed -= 1
        return False

    def discard(self) -> None:
        super().discard()
        self.allowed += 1  # it was no frame

    def feed_eof(self) -> None:
        """What was not read by then is dropped: nobody would hear of it."""
        super().feed_eof()
        self.discard()


class Share:
    """What may still be handled of a user in this turn, and whose connections wait for the next ones."""

    __slots__ = ("is_held", "left", "waiting")

    def __init__(self) -> None:
        self.left = MAX_FRAMES
        self.waiting: deque[Connection] = deque()
        self.is_held = False  # the user has sent too many bytes


class Turns:
    """Gives the connections of one process their turns."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._shares: dict[int, Share] = {}  # by user id: of whom something was handled in this turn, or waits
        self._is_scheduled = False

    def serve(self, connection: Connection, user_id: int) -> None:
        """Handle what came, as far as the share of its user goes; the rest in later turns."""
        share = self._shares.get(user_id)
        if share is None:
            share = self._shares[user_id] = Share()
            self._schedule()
        if share.waiting or share.left <= 0:
            self._wait(share, connection)
        else:
            self._handle(share, connection, user_id)

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._next)

    def _next(self) -> None:
        self._is_scheduled = False
        for user_id, share in list(self._shares.items()):
            if share.is_held:
                continue
            if not share.waiting:
                del self._shares[user_id]
                continue
            self._schedule()
            share.left = MAX_FRAMES
            for _ in range(len(share.waiting)):
                if share.left > 0:
                    self._handle(share, share.waiting.popleft(), user_id)

    def _handle(self, share: Share, connection: Connection, user_id: int) -> None:
        frames, size = connection.handle(share.left)
        share.left -= frames + size // FRAME_BYTES
        now = self._loop.time()
        sent = self._limits.bytes_of(user_id, now)
        sent.take(size, now)
        if wait := sent.wait(now):
            self._hold(share, wait)
        if connection.wants_turn or share.left <= 0:
            self._wait(share, connection)
        else:
            connection.resume_reading(TURN)

    def _wait(self, share: Share, connection: Connection) -> None:
        connection.stop_reading(TURN)
        share.waiting.append(connection)

    def _hold(self, share: Share, seconds: float) -> None:
        self._limits.reached("rate_bytes")
        share.left = 0
        share.is_held = True
        self._loop.call_later(seconds, self._release, share)

    def _release(self, share: Share) -> None:
        share.is_held = False
        share.waiting = deque(connection for connection in share.waiting if not connection.drop_if_reset())
        self._schedule()
