"""A shop's news to everyone who watches it, as EzOut's backends publish it: no prefix, errors in FastAPI's shape."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from api.outcomes import publish, told
from api.route import Answer, Request, Route
from api.routes.legacy.pydantic_compat import (
    Complaint,
    Invalid,
    Wrong,
    complaint_of,
    not_json,
    read_fields,
    read_moment,
    read_number,
    read_object,
    read_text,
    read_uuid,
    read_uuid4,
    read_whole,
)
from messaging.errors import Conflict, NotAMember, UnknownTopic, UnknownUser
from messaging.log.content import check_content
from messaging.model import NEWS
from messaging.news import MAKER
from messaging.permissions import Caller
from messaging.store.append import Verdict

# In the order in which the content has them.
FIELDS = {
    "session_id": read_uuid4,
    "shop_id": read_uuid4,
    "shopper_id": read_uuid4,
    "action_id": read_whole,
    "create_time": read_moment,
    "action": read_text,
    "product_name": read_text,
    "product_id": read_whole,
    "product_price": read_number,
    "UPC": read_text,
    "category_id": read_text,
    "basket_total": read_number,
}


EXAMPLE = {
    "session_id": "8f14e45f-ceea-467f-a8e0-9a1b2c3d4e5f", "shop_id": "3c6e0b8a-9c15-424a-8d1e-1f2a3b4c5d6e",
    "shopper_id": "0cc175b9-c0f1-46b6-831c-399e26977266", "action_id": 1, "create_time": "2023-12-18T10:30:00Z",
    "action": "add", "product_name": "coffee", "product_id": 7, "product_price": 3.5, "UPC": "036000291452",
    "category_id": "drinks", "basket_total": 12.25,
}  # fmt: skip


class Checkout(msgspec.Struct, frozen=True):
    """What happened at a checkout. The first three ids are UUIDs of version 4; other fields are dropped."""

    session_id: UUID
    shop_id: UUID
    shopper_id: UUID
    action_id: int
    create_time: datetime
    action: str
    product_name: str
    product_id: int
    product_price: float
    UPC: str
    category_id: str
    basket_total: float


class Letter(msgspec.Struct, frozen=True):
    """Any JSON as `content`. `to`: a topic, or a user; `updates.store.` and a UUID need not be made before."""

    to: str
    content: msgspec.Raw


class Status(msgspec.Struct, frozen=True):
    status: str


class Refused(msgspec.Struct, frozen=True):
    """One thing that is wrong, and where."""

    type: str
    loc: list[str | int]
    msg: str
    input: Any
    ctx: dict[str, Any] | None = None


class Unprocessable(msgspec.Struct, frozen=True):
    detail: list[Refused]


def routes() -> list[Route]:
    group, answers = "EzOut", {200: Status, 422: Unprocessable}
    refusals = (UnknownTopic, NotAMember, UnknownUser, Conflict)
    return [
        Route(method="POST", path="/publish/{shop_id}", handler=post_news, group=group, body=Checkout, undecoded=True,
              legacy=True, summary="News of a shop, for all who watch it now or later. Answered once it is stored.",
              answers=answers, headers=("Idempotency-Key",), errors=refusals, example=EXAMPLE),
        Route(method="POST", path="/send", handler=post_letter, group=group, body=Letter, undecoded=True,
              summary="The general form: any JSON, to a topic or a user. Answered once it is stored.",
              answers=answers, headers=("Idempotency-Key",), errors=refusals,
              example={"to": "general", "content": {"text": "hello"}}),
    ]  # fmt: skip


async def post_news(request: Request[None, bytes]) -> Answer:
    try:
        shop, news = read_news(request.path.shop_id, request.body)
    except Invalid as exc:
        return Answer(422, exc.body())
    verdict = await deliver(request, NEWS + shop, content_of(news))
    return Answer(200, Status(f"Message sent to shop ID {shop}"), told(verdict))


async def post_letter(request: Request[None, bytes]) -> Answer:
    try:
        letter = read_letter(request.body)
    except Invalid as exc:
        return Answer(422, exc.body())
    verdict = await deliver(request, letter.to, bytes(letter.content))
    return Answer(200, Status(f"Message sent to {letter.to}"), told(verdict))


async def deliver(request: Request[None, bytes], target: str, content: bytes) -> Verdict:
    """Store it. In open mode a token narrows what it may and names the sender, but nobody needs one."""
    text, key, caller = check_content(content, request.domain.settings), request.key, request.caller
    sender = MAKER if caller.user is None else caller.user.name
    if request.domain.settings.auth_mode == "open":
        caller = Caller(None, caller.grants)
    aim = await request.actions.aim(caller, target)
    return await publish(request.actions, aim, sender, text, key=key)


def read_news(shop_id: str, body: bytes) -> tuple[str, dict[str, Any]]:
    """The shop, and the event with its fields in order. Raises Invalid."""
    given = read_object(body)
    shop, complaints = _shop(shop_id)
    news, more = read_fields(given, FIELDS)
    if complaints + more:
        raise Invalid(complaints + more)
    return shop, news


def _shop(shop_id: str) -> tuple[str, list[Complaint]]:
    try:
        return read_uuid(shop_id), []
    except Wrong as wrong:
        return "", [complaint_of(wrong, ("path", "shop_id"), shop_id)]


def content_of(news: dict[str, Any]) -> bytes:
    """The bytes that subscribers have always got: Python's own style of JSON, the time as Python prints it."""
    return json.dumps(news | {"create_time": str(news["create_time"])}).encode()


def read_letter(body: bytes) -> Letter:
    """Raises Invalid."""
    _, complaints = read_fields(read_object(body), {"to": read_text, "content": lambda value: value})
    if complaints:
        raise Invalid(complaints)
    try:
        return msgspec.json.decode(body, type=Letter)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:  # NaN and the like
        raise not_json(str(exc), 0) from None
