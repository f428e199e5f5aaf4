"""A request for each route of the table: to be sent as anybody, about one's own things or another's."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from doors import Door

from api.route import Route
from api.routes import all_routes
from messaging.integrator.news import bridge_name
from messaging.model import Kind
from messaging.permissions import BACKEND

SHOP = "3c6e0b8a-9c15-424a-8d1e-1f2a3b4c5d6e"
ROUTES = {f"{route.method} {route.path}": route for route in all_routes()}
V1 = "/api/v1"


@dataclass(frozen=True)
class Ask:
    """What is sent to a route; texts in it stand for what the case has, as in `{who}`."""

    body: Any = None
    query: str = ""
    headers: dict[str, str] | None = None
    note: str = ""  # where a route stands in several rows
    user: str = "{who}"  # in the path


def asks_of(route: Route) -> list[Ask]:
    """Every route has one, so that a new one is decided. One without a body or needed parameters needs no more."""
    found = ASKS.get(f"{route.method} {route.path}")
    if found is None:
        assert route.body is None, f"{route.method} {route.path} is new: say in {__name__} what is sent to it"
        return [Ask()]
    return found


FILTER = {"bridge": "{bridge}", "ids": [1]}
SAID = {"id": 1, "name": "Ana"}
ROOM = {"id": 1, "name": "Trip", "type": "public", "users": []}
ASKS: dict[str, list[Ask]] = {
    f"POST {V1}/tokens": [Ask({"user": "{who}"})],
    f"POST {V1}/tokens/revoke": [Ask({"user": "nobody-{n}"})],
    f"GET {V1}/gen_token": [Ask(query="?user={who}")],
    f"GET {V1}/token": [Ask(query="?user={who}", headers={"Action": "encode"})],
    f"POST {V1}/tickets": [Ask({"user": "{who}"})],
    f"POST {V1}/login": [Ask({"ticket": "{ticket}"}), Ask({"ticket": "t.wrong"}, note="another's ticket")],
    f"PUT {V1}/topics/{{topic}}": [Ask({"retention": 60}), Ask({"owner": "{who}"}, note="a new one")],
    f"POST {V1}/topics/{{topic}}/messages": [Ask({"content": 1}), Ask({"content": 1, "sender": "bob"}, note="as bob")],
    f"PUT {V1}/topics/{{topic}}/members/{{user}}": [Ask(), Ask(user="nobody-{n}", note="an unknown user")],
    f"DELETE {V1}/topics/{{topic}}/members/{{user}}": [Ask(), Ask(user="nobody-{n}", note="an unknown user")],
    f"POST {V1}/messages/batch": [Ask([{"topic_name": "{topic}", "content": 1}])],
    f"GET {V1}/topics": [Ask(query="?topic_name={topic}"), Ask(query="?user={who}", note="of a user")],
    f"POST {V1}/topics": [Ask({"topic_name": "new-{n}", "user": "{who}"})],
    f"PUT {V1}/topics": [
        Ask({"topic_name": "{topic}", "user": "{who}"}),
        Ask({"topic_name": "{topic}", "user": "nobody-{n}", "user_source": "ana"}, note="an unknown user is invited"),
    ],
    f"DELETE {V1}/topics": [Ask({"topic_name": "{topic}"})],
    f"GET {V1}/messages": [Ask(query="?user={who}")],
    f"POST {V1}/messages": [Ask({"topic_name": "{who}", "content": 1, "user": "bob"})],
    f"PUT {V1}/messages": [Ask({"messages": [], "user": "{who}"})],
    f"POST {V1}/users": [Ask({"user": "{who}"})],
    "POST /messages": [Ask({"sender": "{who}", "receiver": "bob", "body": "x"})],
    "POST /publish/{shop_id}": [Ask(ROUTES["POST /publish/{shop_id}"].example)],
    "POST /send": [Ask({"to": "{topic}", "content": 1})],
    f"POST {V1}/dead-letters/replay": [Ask({**FILTER, "dry_run": True})],
    f"POST {V1}/dead-letters/drop": [Ask(FILTER)],
    "POST /user": [Ask(SAID), Ask({**SAID, "token": "{token}"}, note="its token in the body")],
    "POST /room": [Ask(ROOM), Ask({**ROOM, "token": "recado"}, note="the token `recado`")],
    "POST /message": [Ask({"roomId": 1, "senderId": 1, "text": "x"})],
    "GET /events": [Ask(query="?wait=0")],
    "GET /ping": [Ask(), Ask(query="?token=wrong", note="a wrong token")],
    "POST /platforms": [Ask({"name": "new-{n}"})],
    "PATCH /platforms/{platform}": [Ask({"supportAudio": True})],
    "POST /platforms/{platform}/replay": [Ask({"dry_run": True})],
}


@dataclass(frozen=True)
class Case:
    """What one request is about, made for it alone: who, a topic with a message in it, a platform."""

    n: int
    who: str = "ana"
    topic: str = ""
    ticket: str = ""
    token: str = ""  # of the platform that stays
    platform: str = ""
    bridge: str = ""


_numbers = itertools.count(1)


async def make_case(
    door: Door, route: Route, ask: Ask, *, token: str, who: str = "ana", kind: Kind = "private", exists: bool = True
) -> Case:
    """``kind``: of the topic, which is ``who``'s; of a public one she who asks is no member."""
    n, actions = next(_numbers), door.node.actions
    text = f"{route.path}{ask}"
    topic, platform = f"topic-{n}", f"P{n}"
    if exists and uses_topic(route, ask):
        owner = await actions.know("bob" if kind == "public" else who)
        await actions.create_topic(BACKEND, topic, owner, kind)
        await door.ask("POST", f"{V1}/topics/{topic}/messages", 201, token=door.settings.api_key, json={"content": 1})
    if "{platform}" in text or "{bridge}" in text:
        await door.node.registry.register(platform, "pull", None)
    ticket = ""
    if "{ticket}" in text:
        ticket = await door.node.tickets.issue(await door.tokens.verify(door.tokens.issue(who)[0]))
    return Case(n, who, topic, ticket, token, platform, bridge_name(platform))


def filled(value: Any, case: Case) -> Any:
    if isinstance(value, dict):
        return {key: filled(item, case) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, case) for item in value]
    return value.format(**vars(case)) if isinstance(value, str) else value


def target_of(route: Route, ask: Ask, case: Case) -> str:
    values = {**vars(case), "user": filled(ask.user, case), "shop_id": SHOP, "message": "m", "seq": 1}
    path = route.path.format(**{name: quote(str(value), safe="") for name, value in values.items()})
    return path + filled(ask.query, case)


def uses_topic(route: Route, ask: Ask) -> bool:
    return "{topic}" in f"{route.path}{ask}" and ask.note != "a new one"


def uses_user(route: Route, ask: Ask) -> bool:
    return any(each in f"{route.path}{ask}" for each in ("{who}", "{user}"))
