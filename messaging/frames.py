"""What clients and server say to each other, as types: commands, replies, pushes."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Literal

import msgspec

from messaging.errors import RecadoError, TokenExpired, Unauthorized
from messaging.model import MAX_LIFETIME, MAX_NAME, MAX_SEQ, NAME_PATTERN

Name = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN, max_length=MAX_NAME)]
Target = Annotated[str, msgspec.Meta(max_length=MAX_NAME + 1)]  # a name; or "@", or "#", and a name
# A place among the names of topics, whatever it is: it need not be there, but PostgreSQL has no NUL in a text.
Behind = Annotated[str, msgspec.Meta(max_length=MAX_NAME + 1, pattern=r"^[^\x00]*$")]
Ref = Annotated[str, msgspec.Meta(max_length=MAX_NAME)]
Seq = Annotated[int, msgspec.Meta(ge=1, le=MAX_SEQ)]
Lifetime = Annotated[int, msgspec.Meta(ge=1, le=MAX_LIFETIME)]
Epoch = Annotated[str, msgspec.Meta(max_length=MAX_NAME)]


class Command(msgspec.Struct, frozen=True, tag_field="action", kw_only=True):
    """What every request may carry: its replies carry ``ref`` back."""

    ref: Ref | None = None


class Subscribe(Command, frozen=True, tag="subscribe"):
    """Become a member of a topic."""

    topic_name: Target


class Suscribe(Subscribe, frozen=True, tag="suscribe"):
    """As older clients spell it."""


class Unsubscribe(Command, frozen=True, tag="unsubscribe"):
    """Leave a topic; what is pending there is given up."""

    topic_name: Target


class Invite(Command, frozen=True, tag="invite"):
    """Make a known user a member of a topic; any member may."""

    topic_name: Target
    username: Target


class Publish(Command, frozen=True, tag="message"):
    """Send a message to a topic, or to the inbox of a user. With ``id`` it is answered, and a retry harmless."""

    topic_name: Target
    content: msgspec.Raw
    id: Name | None = None
    ttl: Lifetime | None = None


class Ack(Command, frozen=True, tag="ack"):
    """Confirm everything up to ``seq``. From the first one on, pongs confirm nothing on this connection.

    With another ``epoch`` than the topic has, it is of another log, and ignored.
    """

    topic_name: Target
    seq: Seq
    epoch: Epoch | None = None


class History(Command, frozen=True, tag="history"):
    """Ask for earlier messages: those before ``before``, or from behind ``after`` on."""

    topic_name: Target
    before: Seq | None = None
    after: Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQ)] | None = None
    limit: Seq = 50


class Topics(Command, frozen=True, tag="topics"):
    """Ask for the topics that one belongs to, by name: at most 1000 behind ``after``."""

    after: Behind | None = None
    limit: Seq = 1000


class Disconnect(Command, frozen=True, tag="disconnect"):
    """Ask for a close frame, behind what is in flight."""


AnyCommand = Subscribe | Suscribe | Unsubscribe | Invite | Publish | Ack | History | Topics | Disconnect


class Push(msgspec.Struct, frozen=True, tag_field="action", omit_defaults=True, kw_only=True):
    """What the server sends."""


class Done(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The reply to subscribe, unsubscribe and invite, and to a message with an id."""

    action: Literal["subscribe", "unsubscribe", "invite", "message"]
    topic_name: str
    result: Literal["ok", "error"]
    id: str | None = None
    seq: int | None = None
    code: str | None = None
    message: str | None = None
    ref: str | None = None


class Connected(Push, frozen=True, tag="connected"):
    """The first frame of a session."""

    username: str
    topics: int
    pending: int


class MessagePush(Push, frozen=True, tag="message"):
    """A message of a topic. Written by `entry_frames`, which keeps the content byte for byte; read by clients."""

    topic_name: str
    content: msgspec.Raw
    user_source: str
    seq: int
    sent_at: str


class GapPush(Push, frozen=True, tag="gap"):
    """Messages that were removed before this reader got them."""

    topic_name: str
    first: int = msgspec.field(name="from")
    last: int = msgspec.field(name="to")
    reason: Literal["expired", "seen"]


class TopicPush(Push, frozen=True, tag="topic"):
    """Which log the seqs of a topic belong to, before its first frame. Where the address asks for it: `epoch=1`."""

    topic_name: str
    epoch: str
    last_seq: int


class Invited(Push, frozen=True, tag="invited"):
    """Somebody made this user a member; what follows comes from here on."""

    topic_name: str
    user_source: str


class Removed(Push, frozen=True, tag="removed"):
    """This user is no longer a member, or the topic has gone."""

    topic_name: str


class Heartbeat(Push, frozen=True, tag="heartbeat"):
    """Every 30 seconds, where the address asks for it."""


class ErrorPush(Push, frozen=True, tag="error"):
    """A request was refused; the connection stays open."""

    topic: Literal["error"]
    code: str
    message: str
    topic_name: str | None = None
    id: str | None = None
    ref: str | None = None


class CloseCode(IntEnum):
    """Why a connection ends (RFC 6455, 7.4), and what its client should do then.

    Of ours, 4000 to 4499 say: come back; from 4500 on: stay away. So a client needs no table.
    """

    meaning: str

    def __new__(cls, code: int, meaning: str) -> CloseCode:
        member = int.__new__(cls, code)
        member._value_, member.meaning = code, meaning
        return member

    NORMAL = 1000, "asked for by disconnect"
    BINARY = 1003, "a binary frame"
    NOT_UTF8 = 1007, "not UTF-8"
    TOO_BIG = 1009, "over MAX_FRAME"
    INTERNAL = 1011, "a defect of the server: come back"
    TOKEN_EXPIRED = 4001, "the token expired: come back with a new one"
    NO_PROGRESS = 4008, "no progress for 30 seconds: come back"
    DRAINING = 4012, "draining, or restored: come back"
    TOO_FAST = 4029, "too fast: come back more slowly"
    REVOKED = 4501, "revoked: stay away"
    FORBIDDEN = 4503, "forbidden: stay away"
    TOO_MANY = 4529, "too many connections: stay away"

    @classmethod
    def of(cls, error: RecadoError) -> CloseCode:
        """What ends a connection that may not go on."""
        if error.retryable:
            return cls.DRAINING
        if isinstance(error, TokenExpired):
            return cls.TOKEN_EXPIRED
        return cls.REVOKED if isinstance(error, Unauthorized) else cls.FORBIDDEN

    @property
    def is_ours(self) -> bool:
        """Whether a frame `closing` comes before it."""
        return self >= 4000

    @property
    def reconnect(self) -> bool:
        return self < 4500


class Closing(Push, frozen=True, tag="closing"):
    """The close frame follows. 4000 to 4499: come back; from 4500 on: stay away."""

    code: int
    reason: str
    reconnect: bool
    retry_after: int | None = None


class TopicState(msgspec.Struct, frozen=True, kw_only=True):
    """One topic, and how far this device has confirmed it."""

    topic_name: str
    kind: str
    role: str
    last_seq: int
    cursor: int
    pending: int
    epoch: str


class TopicList(Push, frozen=True, tag="topics"):
    """What the user belongs to, by name; whether there are more."""

    topics: list[TopicState]
    more: bool
    ref: str | None = None


class HistoryMessage(msgspec.Struct, frozen=True):
    """A message of a history page."""

    content: msgspec.Raw
    user_source: str
    seq: int
    sent_at: str


class HistoryPage(Push, frozen=True, tag="history"):
    """Earlier messages, ascending."""

    topic_name: str
    messages: list[HistoryMessage]
    more: bool
    epoch: str
    ref: str | None = None
