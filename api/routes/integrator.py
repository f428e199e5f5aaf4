"""The integrator as chat platforms know it: who there is, what they say, and what a platform that pulls gets to hear.

Paths, fields and answers are those of the first integrator, whose platforms work against this one unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote, urlencode

import msgspec

from api.outcomes import REPLAYED
from api.route import Answer, Domain, Request, Route
from api.routes.chat_shapes import (
    Delivery,
    Event,
    Events,
    EventsQuery,
    ListedPlatform,
    MessageSaid,
    MessageState,
    PingQuery,
    Platforms,
    PlatformUser,
    Pong,
    Queued,
    RoomSaid,
    UserSaid,
    UsersByPlatform,
    UsersQuery,
)
from messaging.errors import BadRequest, Conflict, Forbidden, NotFound, Unauthorized, Unavailable
from messaging.integrator.events import OWN, Person, Platform, PlatformEvent, json_of, key_of, room_type
from messaging.integrator.incoming import IncomingMessage, UnknownPlatform, UnknownRoom
from messaging.integrator.pulling import news_of
from messaging.integrator.store import Whereabouts
from messaging.model import Entry, Message
from messaging.store.bridges import Report

MAX_LISTED_USERS = 10_000  # users of one platform
SUCCESS = b"success"  # what the first integrator answers


def routes() -> list[Route]:
    group = "Integrator"
    says = (Unauthorized, Unavailable)
    return [
        Route(method="GET", path="/platforms", handler=get_platforms, group=group, access="platform", legacy=True,
              summary="Every platform with its users as last known, also while it is down. A Link header (rel=next) for"
              " each that has more than 10,000.",
              answers={200: Platforms}, errors=says),
        Route(method="GET", path="/users", handler=get_users, group=group, access="platform", legacy=True,
              query=UsersQuery,
              summary="The users of every platform, 10,000 of each at most; a Link header (rel=next) tells the rest.",
              answers={200: UsersByPlatform}, errors=says),
        Route(method="POST", path="/user", handler=post_user, group=group, access="platform", body=UserSaid,
              summary="A platform has a user, new or renamed; the others are told.",
              answers={200: str}, media="text/html", errors=says, example={"id": 17, "name": "Ana", "token": "1111"}),
        Route(method="POST", path="/room", handler=post_room, group=group, access="platform", body=RoomSaid,
              summary="A platform has a room, new or changed; the platforms of its members are told.",
              answers={200: str}, media="text/html", errors=says,
              example={"id": 5, "name": "Trip", "type": "private", "users": [{"GWT_CHAT": ["bob"]}], "token": "1111"}),
        Route(method="POST", path="/message", handler=post_message, group=group, access="platform", body=MessageSaid,
              headers=("Idempotency-Key",),
              summary="A message for a room: stored for every platform of it. With Accept: application/json its id.",
              answers={200: str}, media="text/html", errors=(*says, Conflict, Forbidden, UnknownPlatform, UnknownRoom),
              example={"roomId": 5, "senderId": 17, "text": "Hi", "token": "1111"}),
        Route(method="GET", path="/messages/{message}", handler=get_message, group=group, access="platform",
              summary="Where a message of this platform is, by destination.",
              answers={200: MessageState}, errors=(*says, NotFound)),
        Route(method="GET", path="/events", handler=get_events, group=group, access="platform", query=EventsQuery,
              summary="News for a platform that asks for them; waits for the next where there are none.",
              answers={200: Events}, errors=(*says, Conflict)),
        Route(method="GET", path="/ping", handler=ping, group=group, access="platform", legacy=True, query=PingQuery,
              summary="I am there: what waits for me may come.", answers={200: Pong}, errors=says),
        Route(method="POST", path="/ping", handler=ping, group=group, access="platform", legacy=True, query=PingQuery,
              summary="I am there: what waits for me may come.", answers={200: Pong}, errors=says),
    ]  # fmt: skip


async def get_platforms(request: Request[None, None]) -> Answer:
    await require_known(request)
    reports = {report.name: report for report in await request.domain.node.bridge_store.reports()}
    found, lists = [], {}
    for platform in await request.domain.node.platforms.platforms():
        report = reports.get(platform.bridge)
        users = lists[platform.name] = await users_of(request.domain, platform, "")
        found.append(ListedPlatform(
            platform.name, users, as_text(platform.audio), as_text(platform.image), state_of(report),
            platform.users_as_of, (report.lag or 0) if report and platform.style != "own" else 0,
        ))  # fmt: skip
    return Answer(200, Platforms(found), links(lists))


async def get_users(request: Request[UsersQuery, None]) -> Answer:
    await require_known(request)
    platforms = await request.domain.node.platforms.platforms(request.query.platform)
    lists = {each.name: await users_of(request.domain, each, request.query.after) for each in platforms}
    return Answer(200, UsersByPlatform(lists), links(lists))


async def post_user(request: Request[None, UserSaid]) -> Answer:
    body = request.body
    await request.domain.node.integrator.take_user(await speaker(request, body.token), body.id, body.name)
    return Answer(200, SUCCESS)


async def post_room(request: Request[None, RoomSaid]) -> Answer:
    body, kind = request.body, room_type(request.body.type)
    platform = await speaker(request, body.token)
    await request.domain.node.integrator.take_room(platform, body.id, body.name, kind, body.users)
    return Answer(200, SUCCESS)


async def post_message(request: Request[None, MessageSaid]) -> Answer:
    body = request.body
    platform = await speaker(request, body.token)
    if platform.style == "own":
        raise BadRequest("Users of Recado write into the topic that the room is: POST /api/v1/topics/{topic}/messages.")
    if len(body.text.encode()) > request.domain.settings.max_frame:
        raise BadRequest(f"text: it may have {request.domain.settings.max_frame} bytes.")
    incoming = IncomingMessage(
        room_platform=body.room_platform, room=body.room, sender=body.sender, text=body.text,
        id=body.id or request.key, sender_name=body.sender_name,
    )  # fmt: skip
    accepted = await request.domain.node.integrator.take_message(platform, incoming)
    headers = REPLAYED if accepted.repeated else {}
    if "application/json" not in request.headers.get("Accept", ""):
        return Answer(200, SUCCESS, headers)
    queued = msgspec.json.encode(Queued(accepted.id, "queued", accepted.deliveries))
    return Answer(200, queued, {"Content-Type": "application/json", **headers})


async def get_message(request: Request[None, None]) -> Answer:
    platform = await speaker(request, "")
    found = await request.domain.node.platforms.whereabouts(platform.id, request.path.message)
    if not found:
        raise NotFound("This platform has sent no message of this id in the last seven days, or to nobody.")
    return Answer(200, MessageState(request.path.message, [delivery_of(each) for each in found]))


async def get_events(request: Request[EventsQuery, None]) -> Answer:
    platform, query = await speaker(request, ""), request.query
    pulled = await request.domain.node.pulling.news(platform, query.after, query.limit, query.wait)
    return Answer(200, Events([event_of(entry) for entry in pulled.entries], pulled.next))


async def ping(request: Request[PingQuery, None]) -> Answer:
    if request.query.token:
        await request.domain.node.registry.identify(request.query.token)
    else:
        await require_known(request)
    return Answer(200, Pong("ok", 'Sent "pong" to all platforms'))


async def speaker(request: Request[Any, Any], token: str) -> Platform:
    """Who speaks: whose token it is. Recado itself, for a backend alone that says so. Raises Unauthorized."""
    token = token or request.token
    if token == OWN and request.caller.is_backend:
        return await request.domain.node.registry.own()
    return await request.domain.node.registry.identify(token)


async def require_known(request: Request[Any, Any]) -> None:
    """Raises Unauthorized for who is no platform, no backend, and no program of an older system."""
    if not request.caller.is_backend and not request.is_legacy:
        await speaker(request, "")


def links(lists: Mapping[str, Sequence[PlatformUser]]) -> dict[str, str]:
    """Where the rest of each list is that has been cut off (RFC 8288)."""
    more = []
    for name, users in lists.items():
        if len(users) == MAX_LISTED_USERS:
            after = key_of(msgspec.json.decode(users[-1].id))
            more.append(f'</users?{urlencode({"platform": name, "after": after}, quote_via=quote)}>; rel="next"')
    return {"Link": ", ".join(more)} if more else {}


async def users_of(domain: Domain, platform: Platform, after: str) -> list[PlatformUser]:
    node = domain.node
    if platform.style == "own":
        names = await node.store.users_page(after, MAX_LISTED_USERS)
        return [PlatformUser(msgspec.Raw(json_of(name).encode()), name, OWN) for _, name in names]
    people: Sequence[Person] = await node.platforms.people(platform.id, after, MAX_LISTED_USERS)
    return [PlatformUser(msgspec.Raw(each.id_json.encode()), each.name, platform.name) for each in people]


def as_text(value: bool) -> Literal["True", "False"]:
    """Older platforms compare with 'True'."""
    return "True" if value else "False"


def state_of(report: Report | None) -> str:
    return "up" if report is None else "paused" if report.paused else report.state


def delivery_of(at: Whereabouts) -> Delivery:
    """Derived from the cursor of the destination; a dead letter alone has a row of its own."""
    if at.dead is not None:
        return Delivery(at.name, "dead", at.dead)
    if at.cursor >= at.seq:
        return Delivery(at.name, "delivered", None)
    if at.paused:
        return Delivery(at.name, "paused", at.reason)
    return Delivery(at.name, "queued" if at.state == "up" else "will_retry", at.reason)


def event_of(entry: Entry) -> Event:
    if isinstance(entry, Message):
        news = msgspec.json.decode(news_of(entry), type=PlatformEvent)
        return Event(news.id, entry.seq, news.type, news.timestamp, news.data)
    span = json_of({"from": entry.first, "to": entry.last}).encode()
    return Event(f"gap-{entry.first}-{entry.last}", entry.last, "gap", None, msgspec.Raw(span))
