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


async def put(request: Request[None, TopicRequest]) -> Answer:
    name = request.path.topic
    try:
        view = await request.actions.topic(request.caller, name)
    except UnknownTopic:
        await create(request)
        return Answer(201, state_of(request, await request.actions.topic(request.caller, name)))
    await change(request, view.topic)
    return Answer(200, state_of(request, await request.actions.topic(request.caller, name)))


async def get(request: Request[None, None]) -> Answer:
    return Answer(200, state_of(request, await request.actions.topic(request.caller, request.path.topic)))


async def delete(request: Request[None, None]) -> Answer:
    await request.actions.delete_topic(request.caller, request.path.topic)
    return Answer(204)


async def create(request: Request[None, TopicRequest]) -> None:
    body = request.body
    owner = await owner_of(request)
    await request.actions.create_topic(
        request.caller, request.path.topic, owner, body.kind or "public", body.retention or None, body.lifetime or None
    )


async def change(request: Request[None, TopicRequest], topic: Topic) -> None:
    body = request.body
    if body.owner is not None and body.owner != topic.creator:
        raise Conflict("The owner of a topic does not change.")
    await request.actions.change_topic(
        request.caller, topic.name, topic.kind if body.kind is UNSET else body.kind,
        topic.retention if body.retention is UNSET else body.retention,
        topic.lifetime if body.lifetime is UNSET else body.lifetime,
    )  # fmt: skip


async def owner_of(request: Request[None, TopicRequest]) -> User:
    """Who is to own a new topic: the user who asks, or whom a backend names; known from then on."""
    owner = request.body.owner
    if request.caller.user is None:
        if owner is None:
            raise BadRequest("owner is missing: who is to own the topic?")
        return await request.actions.know(owner)
    request.caller.require_self(owner or request.caller.user.name)
    return request.caller.user


def state_of(request: Request[Any, Any], view: TopicView) -> TopicState:
    topic, membership = view.topic, view.membership
    role = None if membership is None else membership.role
    epoch = request.actions.epochs.of(topic)
    return TopicState(topic.name, topic.kind, topic.creator, topic.retention, topic.lifetime, view.head, epoch, role)
