"""Pending messages as older backends know them: read, post to one user, confirm by content."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from api.outcomes import publish, told
from api.route import Answer, Request, Route
from api.shapes import PersonName, StatusMessage, raw_content
from messaging.errors import Conflict, UnknownUser
from messaging.log.content import check_content, check_json
from messaging.model import Message, inbox_of, person_name
from messaging.readers.pending import MAX_PENDING, Named

MAX_NAMED = 10 * MAX_PENDING  # messages in one confirmation: ten answers
CONFIRM_BODY = 4 * 1024 * 1024  # bytes: all of one answer, though a client escapes every letter (RFC 8259, 7)


class UserQuery(msgspec.Struct, frozen=True):
    user: str | None = None


class SeedMessage(msgspec.Struct, frozen=True):
    """A pending message. `topic_name` is the sender's name for what came to the inbox: as it was posted."""

    action: str
    topic_name: str
    content: msgspec.Raw
    not_delivered_to_user_id_topic: list[str]
    user_source: str
    seq: int
    sent_at: datetime


class SeedMessages(msgspec.Struct, frozen=True):
    messages: list[SeedMessage]


class DirectMessage(msgspec.Struct, frozen=True):
    """`user` receives it, in its inbox; `topic_name` is its sender."""

    topic_name: PersonName
    content: msgspec.Raw
    user: PersonName


class NamedMessage(msgspec.Struct, frozen=True):
    """A message as it was given; what else it has is of no matter."""

    topic_name: str
    content: msgspec.Raw


class Confirmation(msgspec.Struct, frozen=True):
    """`messages` that `user` has received."""

    messages: Annotated[list[NamedMessage], msgspec.Meta(max_length=MAX_NAMED)]
    user: PersonName


def routes() -> list[Route]:
    group, path = "Messages, first surface", "/api/v1/messages"
    return [
        Route(method="GET", path=path, handler=get, group=group, query=UserQuery, answers={200: SeedMessages},
              summary="What is pending for a user in all topics, oldest first in each; at most 1000, about 512 KiB."),
        Route(method="POST", path=path, handler=post, group=group, body=DirectMessage, answers={201: StatusMessage},
              headers=("Idempotency-Key",), summary="Send a message to one user's inbox.",
              errors=(Conflict, UnknownUser),
              example={"topic_name": "news", "content": "hello", "user": "ana"}),
        Route(method="PUT", path=path, handler=put, group=group, body=Confirmation, body_limit=CONFIRM_BODY,
              answers={200: StatusMessage},
              summary="Confirm messages: in each topic, from the oldest pending one on as far as all are named.",
              example={"messages": [{"action": "message", "topic_name": "general", "content": "hello"}],
                       "user": "ana"}),
    ]  # fmt: skip


async def get(request: Request[UserQuery, None]) -> Answer:
    username = request.query.user
    if username is None:
        return Answer(200, SeedMessages([]))
    request.caller.require_self(username)
    try:
        user = await request.actions.user(username)
    except UnknownUser:
        return Answer(200, SeedMessages([]))
    found = await request.domain.node.pending.read(request.caller, user)
    return Answer(200, SeedMessages([seed_message(username, name, message) for name, message in found]))


async def post(request: Request[None, DirectMessage]) -> Answer:
    body = request.body
    sender = person_name(body.topic_name)
    request.caller.require_self(sender)  # a user is the sender of what it sends
    content = check_content(body.content, request.domain.settings)
    if request.caller.is_backend:
        await request.actions.know(body.user)
    aim = await request.actions.aim(request.caller, inbox_of(body.user))
    verdict = await publish(request.actions, aim, sender, content, key=request.key)
    return Answer(201, StatusMessage("Message created"), told(verdict))


async def put(request: Request[None, Confirmation]) -> Answer:
    body = request.body
    request.caller.require_self(body.user)
    named = [Named(each.topic_name, check_json(each.content, CONFIRM_BODY)) for each in body.messages]
    try:
        user = await request.actions.user(body.user)
    except UnknownUser:  # then nothing is pending, and nothing is left to confirm
        return Answer(200, StatusMessage("Message deleted"))
    await request.domain.node.pending.confirm(request.caller, user, named)
    return Answer(200, StatusMessage("Message deleted"))


def seed_message(username: str, topic_name: str, message: Message) -> SeedMessage:
    known_as = message.sender if topic_name == inbox_of(username) else topic_name
    return SeedMessage(
        "message", known_as, raw_content(message), [username], message.sender, message.seq, message.sent_at
    )
