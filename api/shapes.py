"""What requests and answers are made of, wherever several routes share it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from messaging.model import ENCODED_PATTERN, MAX_LIFETIME, MAX_NAME, MAX_SEQ, NAME_PATTERN, USER_PATTERN, Message

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME, pattern=NAME_PATTERN)]
UserName = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME, pattern=USER_PATTERN)]
# What another system calls a person; see `person_name`.
PersonName = Annotated[
    str, msgspec.Meta(min_length=1, max_length=MAX_NAME, description="What no name has is percent-encoded.")
]
# A topic, a user's inbox (@NAME), or a topic whoever is called so too (#NAME).
Target = Annotated[
    str, msgspec.Meta(min_length=1, max_length=MAX_NAME + 1, pattern=ENCODED_PATTERN.replace("^", "^#?", 1))
]
BridgeName = Annotated[str, msgspec.Meta(min_length=1, max_length=256, pattern=r"^[^\x00]*$")]
# Of a user, or of a bridge, as which other systems belong to topics.
MemberName = Annotated[
    str, msgspec.Meta(min_length=1, max_length=256, pattern=rf"^%bridge/[A-Za-z0-9._~%-]+\Z|{USER_PATTERN}")
]
Seq = Annotated[int, msgspec.Meta(ge=1, le=MAX_SEQ)]
Position = Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQ)]  # 0: before the first message
Epoch = Annotated[str, msgspec.Meta(max_length=MAX_NAME)]  # which log a seq is of; another than the topic's: 409
Moment = Annotated[datetime, msgspec.Meta(tz=True)]  # of no zone, it would be of the server's
Lifetime = Annotated[int, msgspec.Meta(ge=1, le=MAX_LIFETIME, description="Seconds.")]
Limit = Annotated[int, msgspec.Meta(ge=1, le=MAX_SEQ)]


class Problem(msgspec.Struct, frozen=True):
    """Why not. `code` is for programs, `message` for people."""

    code: str
    message: str


class StatusMessage(msgspec.Struct, frozen=True):
    """What was done, in words that older clients compare."""

    message: str


class Empty(msgspec.Struct, frozen=True):
    """Done; there is nothing to say."""


class Path(msgspec.Struct, frozen=True):
    """What stands in the braces of a route's path."""

    topic: Target = ""
    user: UserName = ""
    bridge: BridgeName = ""
    shop_id: str = ""
    platform: BridgeName = ""
    message: BridgeName = ""
    seq: Seq = 1


class NameQuery(msgspec.Struct, frozen=True):
    """A page of a list by name: what comes after a name, which may be a bridge's."""

    after: MemberName | None = None
    limit: Limit = 100


class SentMessage(msgspec.Struct, frozen=True):
    """One entry of a topic's log."""

    seq: int
    content: msgspec.Raw
    user_source: str
    sent_at: datetime


def sent_message(message: Message) -> SentMessage:
    return SentMessage(message.seq, raw_content(message), message.sender, message.sent_at)


def raw_content(message: Message) -> msgspec.Raw:
    """The content as it came, byte for byte."""
    return msgspec.Raw(message.content.encode())
