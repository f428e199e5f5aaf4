"""Topics by their name in the path: create or change, read, delete."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from api.route import Answer, Request, Route
from api.shapes import Lifetime, UserName
from messaging.errors import BadRequest, Conflict, LimitReached, NotAMember, UnknownTopic, UnknownUser
from messaging.model import Topic, TopicView, User


class TopicRequest(msgspec.Struct, frozen=True):
    """What a topic is to be; what is left out stays as it is, or begins as public and without limits of its own."""

    kind: Literal["public", "private"] | UnsetType = UNSET
    retention: Lifetime | UnsetType | None = UNSET
    lifetime: Lifetime | UnsetType | None = UNSET
    owner: UserName | None = None


class TopicState(msgspec.Struct, frozen=True):
    """A topic. `retention`: seconds that a message is kept, null: as the server says. `lifetime`: seconds it lives.

    `epoch`: which log its seqs are of.
    """

    topic_name: str
    kind: Literal["public", "private", "direct"]
    creator: str
    retention: int | None
    lifetime: int | None
    last_seq: int
    epoch: str
    role: str | None  # of the user who asks


def routes() -> list[Route]:
    group, path = "Topics", "/api/v1/topics/{topic}"
    return [
        Route(method="PUT", path=path, handler=put, group=group, body=TopicRequest,
              summary="Create a topic (201) or change it (200). A backend names the owner; a user's token owns what it"
                      " creates.",
              answers={200: TopicState, 201: TopicState},
              errors=(Conflict, LimitReached, NotAMember, UnknownTopic, UnknownUser),
              example={"kind": "private", "owner": "ana"}),
        Route(method="GET", path=path, handler=get, group=group, summary="What a topic is, and how far its log goes.",
              answers={200: TopicState}, errors=(UnknownTopic,)),
        Route(method="DELETE", path=path, handler=delete, group=group,
              summary="Delete a topic with all that is in it; its members are told.", answers={204: None},
              errors=(UnknownTopic, NotAMember)),
    ]  # fmt: skip


async def put(asked: Request[None, TopicRequest]) -> Answer:
    name = asked.path.topic
    try:
        standing = await asked.actions.topic(asked.caller, name)
    except UnknownTopic:
        await create(asked)
        return Answer(201, state_of(asked, await asked.actions.topic(asked.caller, name)))
    await change(asked, standing.topic)
    return Answer(200, state_of(asked, await asked.actions.topic(asked.caller, name)))


async def get(asked: Request[None, None]) -> Answer:
    return Answer(200, state_of(asked, await asked.actions.topic(asked.caller, asked.path.topic)))


async def delete(asked: Request[None, None]) -> Answer:
    await asked.actions.delete_topic(asked.caller, asked.path.topic)
    return Answer(204)


async def create(asked: Request[None, TopicRequest]) -> None:
    wish = asked.body
    owner = await owner_of(asked)
    await asked.actions.create_topic(
        asked.caller, asked.path.topic, owner, wish.kind or "public", wish.retention or None, wish.lifetime or None
    )


async def change(asked: Request[None, TopicRequest], topic: Topic) -> None:
    wish = asked.body
    if wish.owner is not None and wish.owner != topic.creator:
        raise Conflict("The owner of a topic does not change.")
    await asked.actions.change_topic(
        asked.caller, topic.name, topic.kind if wish.kind is UNSET else wish.kind,
        topic.retention if wish.retention is UNSET else wish.retention,
        topic.lifetime if wish.lifetime is UNSET else wish.lifetime,
    )  # fmt: skip


async def owner_of(asked: Request[None, TopicRequest]) -> User:
    """Who is to own a new topic: the user who asks, or whom a backend names; known from then on."""
    owner = asked.body.owner
    if asked.caller.user is None:
        if owner is None:
            raise BadRequest("owner is missing: who is to own the topic?")
        return await asked.actions.know(owner)
    asked.caller.require_self(owner or asked.caller.user.name)
    return asked.caller.user


def state_of(asked: Request[Any, Any], standing: TopicView) -> TopicState:
    topic, membership = standing.topic, standing.membership
    role = None if membership is None else membership.role
    epoch = asked.actions.epochs.of(topic)
    return TopicState(
        topic.name, topic.kind, topic.creator, topic.retention, topic.lifetime, standing.head, epoch, role
    )
