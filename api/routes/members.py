"""Who belongs to a topic, and who has which message."""

from __future__ import annotations

import msgspec

from api.route import Answer, Request, Route
from api.shapes import Empty, Epoch, NameQuery
from messaging.errors import Conflict, LimitReached, NotAMember, NotFound, UnknownTopic, UnknownUser
from messaging.model import Member, User

MAX_MEMBERS = 1000  # on one page


class MemberState(msgspec.Struct, frozen=True):
    """A member; `cursors`: by device, the last seq that it has confirmed."""

    username: str
    role: str
    joined_seq: int
    cursors: dict[str, int]


class MembersPage(msgspec.Struct, frozen=True):
    """Members by name; `next`: the `after` of the next page, null where there is none."""

    topic_name: str
    members: list[MemberState]
    next: str | None


class Belonging(msgspec.Struct, frozen=True):
    topic_name: str
    username: str


class Receipt(msgspec.Struct, frozen=True):
    username: str
    received: bool


class ReceiptsQuery(NameQuery, frozen=True):
    """`epoch`: which log the seq is of; another than the topic's is refused."""

    epoch: Epoch | None = None


class ReceiptsPage(msgspec.Struct, frozen=True):
    """By member that a message was for, whether it has it; `next`: the `after` of the next page, null: no more."""

    topic_name: str
    seq: int
    members: list[Receipt]
    next: str | None


def routes() -> list[Route]:
    group, path = "Members", "/api/v1/topics/{topic}/members"
    unseen = (UnknownTopic, NotAMember)
    return [
        Route(method="GET", path=path, handler=get, group=group, query=NameQuery, errors=unseen,
              summary="Who belongs to a topic, with role and cursors, in pages.", answers={200: MembersPage}),
        Route(method="PUT", path=path + "/{user}", handler=put, group=group,
              summary="Make a user a member: oneself, or another as an invitation. A backend makes it known first.",
              answers={200: Belonging, 201: Belonging}, errors=(*unseen, UnknownUser, LimitReached)),
        Route(method="DELETE", path=path + "/{user}", handler=delete, group=group,
              summary="Leave a topic, or as its owner or a backend remove a member.", answers={200: Empty},
              errors=(*unseen, NotFound, UnknownUser)),
        Route(method="GET", path="/api/v1/topics/{topic}/receipts/{seq}", handler=receipts, group=group,
              query=ReceiptsQuery, summary="Who has a message on any device, and who has not. May lag half a second.",
              answers={200: ReceiptsPage}, errors=(*unseen, Conflict)),
    ]  # fmt: skip


async def get(request: Request[NameQuery, None]) -> Answer:
    name, limit = request.path.topic, min(request.query.limit, MAX_MEMBERS)
    members = await request.actions.members(request.caller, name, request.query.after or "", limit + 1)
    states = [state_of(member) for member in members[:limit]]
    return Answer(200, MembersPage(name, states, states[-1].username if len(members) > limit else None))


async def put(request: Request[None, None]) -> Answer:
    joined = await join(request)
    return Answer(201 if joined else 200, Belonging(request.path.topic, request.path.user))


async def delete(request: Request[None, None]) -> Answer:
    topic, username = request.path.topic, request.path.user
    await request.actions.topic(request.caller, topic)  # what may not be seen says nothing of users either
    if not await request.actions.unsubscribe(request.caller, await request.actions.user(username), topic):
        raise NotFound(f"{username} is not a member of this topic.")
    return Answer(200, Empty())


async def receipts(request: Request[ReceiptsQuery, None]) -> Answer:
    query = request.query
    name, seq, limit = request.path.topic, request.path.seq, min(query.limit, MAX_MEMBERS)
    found = await request.actions.receipts(request.caller, name, seq, query.after or "", limit + 1, query.epoch)
    page = [Receipt(username, received) for username, received in found[:limit]]
    return Answer(200, ReceiptsPage(name, seq, page, page[-1].username if len(found) > limit else None))


async def join(request: Request[None, None]) -> bool:
    topic, username = request.path.topic, request.path.user
    if request.caller.user is not None and request.caller.user.name != username:
        return await request.actions.invite(request.caller, topic, username)
    await request.actions.topic_to_join(request.caller, topic)
    return await request.actions.subscribe(request.caller, await member_of(request, username), topic)


async def member_of(request: Request[None, None], username: str) -> User:
    """Who joins: the user who asks, or whom a backend names; known from then on."""
    return request.caller.user or await request.actions.know(username)


def state_of(member: Member) -> MemberState:
    return MemberState(member.name, member.role, member.joined_seq, member.cursors)
