"""Topics as older backends know them: by query and body, with texts that they compare."""

from __future__ import annotations

import msgspec

from api.route import Answer, Request, Route
from api.shapes import Limit, PersonName, Problem, StatusMessage, Target
from messaging.actions import MAX_TOPICS
from messaging.errors import Conflict, LimitReached, NotAMember, UnknownTopic, UnknownUser
from messaging.model import Kind, Topic, person_name

MAX_MEMBERS = 1000
MAX_NAMES = 10_000  # of members in one answer


class TopicQuery(msgspec.Struct, frozen=True):
    """One topic by its name, or those of a user by name: at most 1000 behind `after`."""

    topic_name: str | None = None
    user: str | None = None
    after: Target | None = None
    limit: Limit = MAX_TOPICS


class NewTopic(msgspec.Struct, frozen=True):
    """`user` creates it: its owner and first member."""

    topic_name: Target
    user: PersonName
    is_private: bool = False


class Subscription(msgspec.Struct, frozen=True):
    """`user_source`: who invites."""

    topic_name: Target
    user: PersonName
    user_source: PersonName | None = None


class NamedTopic(msgspec.Struct, frozen=True):
    topic_name: Target


class SeedTopic(msgspec.Struct, frozen=True):
    """A topic. `members` are the first by name, at most 1000; all of them: /api/v1/topics/{topic}/members."""

    topic_name: str
    creator: str
    is_user: bool
    members: list[str]
    is_private: bool


class SeedTopics(msgspec.Struct, frozen=True, omit_defaults=True):
    """`more`, where it is true: there are others behind the last one's name."""

    topics: list[SeedTopic]
    more: bool = False


def routes() -> list[Route]:
    group, path = "Topics, first surface", "/api/v1/topics"
    return [
        Route(method="GET", path=path, handler=get, group=group, query=TopicQuery,
              summary="One topic (topic_name), or those that a user belongs to (user), in pages by name.",
              answers={200: (SeedTopic, SeedTopics), 404: Problem}),
        Route(method="POST", path=path, handler=post, group=group, body=NewTopic, answers={201: StatusMessage},
              summary="Create a topic.", errors=(Conflict, LimitReached),
              example={"topic_name": "news", "user": "ana", "is_private": False}),
        Route(method="PUT", path=path, handler=put, group=group, body=Subscription,
              summary="Make a user a member, on its own or by invitation.", answers={200: StatusMessage, 400: Problem},
              errors=(UnknownUser, NotAMember, LimitReached), example={"topic_name": "general", "user": "ana"}),
        Route(method="DELETE", path=path, handler=delete, group=group, body=NamedTopic,
              summary="Delete a topic.", answers={200: StatusMessage, 400: Problem}, errors=(NotAMember,),
              example={"topic_name": "news"}),
    ]  # fmt: skip


async def get(request: Request[TopicQuery, None]) -> Answer:
    query = request.query
    if query.topic_name is None and query.user is not None:
        return Answer(200, await topics_of(request, query.user))
    try:
        view = await request.actions.topic(request.caller, query.topic_name or "")
    except UnknownTopic as exc:
        return Answer(404, Problem(exc.code, "No topics found"))
    return Answer(200, seed_topic(view.topic, await member_names(request, view.topic.name)))


async def post(request: Request[None, NewTopic]) -> Answer:
    body = request.body
    request.caller.require_self(body.user)
    owner = await request.actions.know(body.user)
    kind: Kind = "private" if body.is_private else "public"
    await request.actions.create_topic(request.caller, body.topic_name, owner, kind)
    return Answer(201, StatusMessage("Topic created"))


async def put(request: Request[None, Subscription]) -> Answer:
    try:
        await subscribe(request)
    except UnknownTopic as exc:
        return Answer(400, Problem(exc.code, "User not subscribed"))
    return Answer(200, StatusMessage("User subscribed"))


async def delete(request: Request[None, NamedTopic]) -> Answer:
    try:
        await request.actions.delete_topic(request.caller, request.body.topic_name)
    except UnknownTopic as exc:
        return Answer(400, Problem(exc.code, "Topic not deleted"))
    return Answer(200, StatusMessage("Topic deleted"))


async def subscribe(request: Request[None, Subscription]) -> None:
    body = request.body
    request.caller.require_self(body.user_source or body.user)
    await request.actions.topic(request.caller, body.topic_name)
    if body.user_source is not None and not request.caller.is_backend:
        await request.actions.invite(request.caller, body.topic_name, body.user)
        return
    user = await request.actions.know(body.user)
    inviter = None if body.user_source is None else person_name(body.user_source)
    await request.actions.subscribe(request.caller, user, body.topic_name, inviter)


async def member_names(request: Request[TopicQuery, None], name: str) -> list[str]:
    """The first members of a topic; none for a user who is none of them."""
    try:
        members = await request.actions.members(request.caller, name, "", MAX_MEMBERS)
    except NotAMember:
        return []
    return [member.name for member in members]


async def topics_of(request: Request[TopicQuery, None], username: str) -> SeedTopics:
    """A page of a user's topics, without its inbox."""
    request.caller.require_self(username)
    try:
        user = await request.actions.user(username)
    except UnknownUser:
        return SeedTopics([])
    after, limit = request.query.after or "", min(request.query.limit, MAX_TOPICS)
    # One may be the inbox.
    found, more = await request.actions.topics(request.caller, user, after=after, limit=limit + 1)
    topics = [membership.topic for membership, _, _ in found if membership.topic.kind != "direct"]
    topics, more = topics[:limit], more or len(topics) > limit
    most = min(MAX_MEMBERS, MAX_NAMES // max(1, len(topics)))
    names = await request.domain.node.store.member_names([topic.id for topic in topics], most)
    return SeedTopics([seed_topic(topic, names[topic.id]) for topic in topics], more)


def seed_topic(topic: Topic, members: list[str]) -> SeedTopic:
    return SeedTopic(topic.name, topic.creator, topic.kind == "direct", members, topic.kind != "public")
