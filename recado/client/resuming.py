"""What a client needs to come back well: whether, when, and what it has had already. Pure.

ClientError
├── Refused           the server said no to one request; `code` says why
└── Ended             there will be no connection any more
    ├── TokenRefused  the token is wrong, expired or revoked, and there is no other
    ├── SentAway      the server does not want this client: `close_code`
    └── Closed        the application closed the client
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import Enum, auto

from recado.client.received import Entry, Gap, Invited, Message, Removed, Thing

BASE = 0.5  # seconds
CAP = 30.0  # seconds
RETRYABLE = frozenset({"unavailable", "rate_limited"})
_COME_BACK = frozenset({1000, 1001, 1005, 1006, 1011, 1012, 1013, 1014, 1015})
_TOKEN_EXPIRED, _TOKEN_REVOKED, _TOO_LARGE = 4001, 4501, 1009


class ClientError(Exception):
    """Something that the client can't mend by itself; the text says what happened and what to do."""


class Refused(ClientError):
    """The server said no to one request. ``code`` is one of the protocol's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Ended(ClientError):
    """There will be no connection any more."""


class TokenRefused(Ended):
    """The token is wrong, expired or revoked, and there is no other."""


class SentAway(Ended):
    """The server does not want this client; ``close_code`` is that of the connection, or an HTTP status."""

    def __init__(self, close_code: int, message: str) -> None:
        super().__init__(message)
        self.close_code = close_code


class Closed(Ended):
    """The client was closed."""


class Next(Enum):
    """What to do when a connection has ended, or was not let in."""

    RETURN = auto()  # come back after a pause
    RENEW = auto()  # come back with a new token
    SHRINK = auto()  # come back without the frame that was too large
    STOP = auto()  # stay away


def delay(attempt: int, chance: float) -> float:
    """Seconds before attempt 0, 1, 2 …: full jitter.

    Args:
        chance: from [0, 1): which part of the bound to wait. The bound is 0.5 s, doubles, and ends at 30 s.
    """
    return chance * min(CAP, BASE * 2.0 ** min(attempt, 16))


def after_close(code: int) -> Next:
    """After a connection that ended with this close code (RFC 6455, 7.4; 4000 … 4499: come back, 4500 on: do not)."""
    if code in (_TOKEN_EXPIRED, _TOKEN_REVOKED):
        return Next.RENEW if code == _TOKEN_EXPIRED else Next.STOP
    if code == _TOO_LARGE:
        return Next.SHRINK
    return Next.RETURN if code in _COME_BACK or 4000 <= code < 4500 else Next.STOP


def after_refusal(status: int) -> Next:
    """After a handshake that was answered with this HTTP status."""
    if status == 401:
        return Next.RENEW
    if status in (408, 425, 429) or status >= 500 or status < 400:
        return Next.RETURN
    return Next.STOP


def error_of(code: int, reason: str) -> Ended:
    """Why a client stays away, by the close code or HTTP status."""
    told = f" ({reason})" if reason else ""
    if code == _TOKEN_REVOKED:
        return TokenRefused(f"The token was revoked{told}. Ask for a new one.")
    if code in (_TOKEN_EXPIRED, 401):
        return TokenRefused(f"The token is not accepted{told}. Ask for a new one.")
    return SentAway(code, f"The server does not let this client in: {code}{told}.")


class Positions:
    """How far each topic has been received and acknowledged, across connections.

    Within a log seq only rises, so one number tells what is new, as long as the epoch of its topic is the same.
    """

    def __init__(self) -> None:
        self._received: dict[str, tuple[str, int]] = {}  # by topic: epoch, seq
        self._acked: dict[str, tuple[str, int]] = {}
        self._sent: dict[str, tuple[str, int]] = {}  # on this connection

    def reconnected(self) -> None:
        """Another connection was sent nothing yet."""
        self._sent.clear()

    def arrive(self, entry: Entry) -> None:
        """The server has sent it on this connection, new or not."""
        self._sent[entry.topic] = entry.epoch, last_of(entry)

    def fresh(self, thing: Thing) -> Thing | None:
        """What of it was not received before: all, the rest of a gap, or nothing. Changes nothing."""
        if isinstance(thing, Invited | Removed):
            return thing
        seq = reached(self._received, thing)
        if last_of(thing) <= seq:
            return None
        return thing if isinstance(thing, Message) else replace(thing, first=max(thing.first, seq + 1))

    def receive(self, thing: Thing) -> None:
        """Note what `fresh` gave."""
        if isinstance(thing, Removed):
            self._received.pop(thing.topic, None)
            self._acked.pop(thing.topic, None)
            self._sent.pop(thing.topic, None)
        elif isinstance(thing, Message | Gap):
            self._received[thing.topic] = thing.epoch, last_of(thing)

    def ack(self, entry: Entry) -> bool:
        """Note that the application has taken it, and all before it in its topic. Whether the server is to be told now:
        not of another log, nor of what this connection has not been sent (again), which it refuses.
        """
        if entry.epoch != self._received.get(entry.topic, (entry.epoch,))[0]:
            return False
        self._acked[entry.topic] = entry.epoch, max(last_of(entry), reached(self._acked, entry))
        return last_of(entry) <= reached(self._sent, entry)

    def is_acked(self, entry: Entry) -> bool:
        """Whether the application took it: when it comes again, the server has not heard of that."""
        return last_of(entry) <= reached(self._acked, entry)


def reached(seqs: Mapping[str, tuple[str, int]], entry: Entry) -> int:
    """How far a topic has come by these; 0 where they are of another log than the entry."""
    epoch, seq = seqs.get(entry.topic, ("", 0))
    return seq if epoch == entry.epoch else 0


def last_of(entry: Entry) -> int:
    """The seq that a reader of it has reached."""
    return entry.seq if isinstance(entry, Message) else entry.last
