"""Known users."""

from __future__ import annotations

import msgspec

from api.route import Answer, Request, Route
from api.shapes import Limit, PersonName, StatusMessage, UserName

MAX_USERS = 1000


class UsersQuery(msgspec.Struct, frozen=True):
    """What comes after a name, at most 1000."""

    after: UserName | None = None
    limit: Limit = MAX_USERS


class KnownUser(msgspec.Struct, frozen=True):
    id: int
    username: str


class NewUser(msgspec.Struct, frozen=True):
    user: PersonName


def routes() -> list[Route]:
    group, path = "Users", "/api/v1/users"
    return [
        Route(method="GET", path=path, handler=get, group=group, access="backend", query=UsersQuery,
              summary="Known users by name, in pages.", answers={200: list[KnownUser]}),
        Route(method="POST", path=path, handler=post, group=group, access="backend", body=NewUser,
              summary="Make a user known, with an inbox; harmless for one who is.", answers={201: StatusMessage},
              example={"user": "ana"}),
    ]  # fmt: skip


async def get(request: Request[UsersQuery, None]) -> Answer:
    found = await request.domain.node.store.users_page(request.query.after or "", min(request.query.limit, MAX_USERS))
    return Answer(200, [KnownUser(user_id, name) for user_id, name in found])


async def post(request: Request[None, NewUser]) -> Answer:
    await request.actions.know(request.body.user)
    return Answer(201, StatusMessage("User created"))
