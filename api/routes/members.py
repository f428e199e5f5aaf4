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


async def get(asked: Request[NameQuery, None]) -> Answer:
    name, limit = asked.path.topic, min(asked.query.limit, MAX_MEMBERS)
    members = await asked.actions.members(asked.caller, name, asked.query.after or "", limit + 1)
    states = [state_of(member) for member in members[:limit]]
    return Answer(200, MembersPage(name, states, states[-1].username if len(members) > limit else None))


async def put(asked: Request[None, None]) -> Answer:
    joined = await join(asked)
    return Answer(201 if joined else 200, Belonging(asked.path.topic, asked.path.user))


async def delete(asked: Request[None, None]) -> Answer:
    topic, username = asked.path.topic, asked.path.user
    await asked.actions.topic(asked.caller, topic)  # what may not be seen says nothing of users either
    if not await asked.actions.unsubscribe(asked.caller, await asked.actions.user(username), topic):
        raise NotFound(f"{username} is not a member of this topic.")
    return Answer(200, Empty())


async def receipts(asked: Request[ReceiptsQuery, None]) -> Answer:
    query = asked.query
    name, seq, limit = asked.path.topic, asked.path.seq, min(query.limit, MAX_MEMBERS)
    found = await asked.actions.receipts(asked.caller, name, seq, query.after or "", limit + 1, query.epoch)
    page = [Receipt(username, received) for username, received in found[:limit]]
    return Answer(200, ReceiptsPage(name, seq, page, page[-1].username if len(found) > limit else None))


async def join(asked: Request[None, None]) -> bool:
    topic, username = asked.path.topic, asked.path.user
    if asked.caller.user is not None and asked.caller.user.name != username:
        return await asked.actions.invite(asked.caller, topic, username)
    await asked.actions.topic_to_join(asked.caller, topic)
    return await asked.actions.subscribe(asked.caller, await member_of(asked, username), topic)


async def member_of(asked: Request[None, None], username: str) -> User:
    """Who joins: the user who asks, or whom a backend names; known from then on."""
    return asked.caller.user or await asked.actions.know(username)


def state_of(member: Member) -> MemberState:
    return MemberState(member.name, member.role, member.joined_seq, member.cursors)
