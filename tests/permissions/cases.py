"""A request for each route of the table: to be sent as anybody, about one's own things or another's."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from urllib.parse import quote
from uuid import UUID

from api.route import Route
from api.routes import all_routes
from messaging.integrator.events import bridge_name
from messaging.model import inbox_of
from messaging.permissions import BACKEND
from support.doors import Door
from support.members import Publisher

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


def asks_of(name: str) -> list[Ask]:
    """Every route has one, so that a new one is decided. One without a body or needed parameters needs no more."""
    assert name in ASKS or ROUTES[name].body is None, f"{name} is new: say in {__name__} what is sent to it"
    return ASKS.get(name, [Ask()])


EACH = [Ask(), Ask(user="nobody-{n}", note="an unknown user"), Ask(user="eve", note="another user")]
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
    f"PUT {V1}/topics/{{topic}}/members/{{user}}": EACH,
    f"DELETE {V1}/topics/{{topic}}/members/{{user}}": [*EACH, Ask(user="bob", note="a member, or the owner")],
    f"POST {V1}/messages/batch": [
        Ask([{"topic_name": "{topic}", "content": 1}]),
        Ask([{"topic_name": "{topic}", "content": 1, "sender": "bob"}], note="as bob"),
    ],
    f"GET {V1}/topics": [Ask(query="?topic_name={topic}"), Ask(query="?user={who}", note="of a user")],
    f"POST {V1}/topics": [Ask({"topic_name": "new-{n}", "user": "{who}"}, note="a new one")],
    f"PUT {V1}/topics": [
        Ask({"topic_name": "{topic}", "user": "{who}"}),
        Ask({"topic_name": "{topic}", "user": "nobody-{n}", "user_source": "ana"}, note="an unknown user is invited"),
        Ask({"topic_name": "{topic}", "user": "eve", "user_source": "{who}"}, note="another user is invited"),
        Ask({"topic_name": "{topic}", "user": "eve", "user_source": "bob"}, note="as bob"),
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


class Standing(NamedTuple):
    """How ana, who asks, stands to a topic that is made for one request."""

    kind: str  # news: that nobody has made yet
    members: tuple[str, ...] = ()  # the owner first
    claim: dict[str, list[str]] | None = None  # of her token

    def is_sent(self) -> bool:
        return "ana" in self.members and (self.claim or {}).get("read") != []

    async def make(self, door: Any) -> str:
        """Its name. There is a message in it."""
        n = next(numbers)
        if self.kind == "news":
            return f"updates.store.{UUID(int=n)}"
        name, actions = f"topic-{n}", door.node.actions
        if self.kind == "direct":
            name = inbox_of(self.members[0])
        else:
            await actions.create_topic(BACKEND, name, await actions.know(self.members[0]), self.kind)
        for member in self.members[1:]:
            await actions.invite(BACKEND, name, member)
        await Publisher(door).publish(name, [1])
        return name


OWN, MEMBER, ANOTHERS = (Standing("private", each) for each in (("ana", "bob"), ("bob", "ana"), ("bob",)))
numbers = itertools.count(1)
STANDINGS = {
    "its own": OWN,
    "as a member": MEMBER,
    "another's": ANOTHERS,
    "a public one": Standing("public", ("bob",)),
    "its inbox": Standing("direct", ("ana",)),
    "another's inbox": Standing("direct", ("bob",)),
    "news": Standing("news"),
    '`"read": []`, as a member': MEMBER._replace(claim={"read": []}),
    '`"write": []`, as a member': MEMBER._replace(claim={"write": []}),
    '`"write": []`, its own': OWN._replace(claim={"write": []}),
    '`"read": ["*"]`, another\'s': ANOTHERS._replace(claim={"read": ["*"]}),
    '`"write": ["*"]`, another\'s': ANOTHERS._replace(claim={"write": ["*"]}),
}
_STATE = "SELECT " + ", ".join(
    f"(SELECT (count(*), sum(hashtext(t::text)))::text FROM recado.{table} AS t)"
    for table in ("topics", "memberships", "users", "heads")
)


async def state(door: Any) -> Any:
    """To see that a refusal changes nothing."""
    async with door.node.store.pool.connection() as connection:
        return await connection.fetchrow(_STATE)


async def make_case(
    door: Door, route: Route, ask: Ask, *, token: str, who: str = "ana", standing: Standing = OWN, exists: bool = True
) -> tuple[str, str, dict[str, Any]]:
    """The topic, the target and the body of one request, and all that it is about, made for it alone.

    ``token``: of the platform that stays.
    """
    n, text = next(numbers), f"{route.path}{ask}"
    there = exists and uses_topic(route, ask)
    topic = await standing.make(door) if there else "@" * (standing.kind == "direct") + f"topic-{n}"
    case = {"n": n, "who": who, "topic": topic, "token": token, "platform": f"P{n}", "bridge": bridge_name(f"P{n}")}
    if "{platform}" in text or "{bridge}" in text:
        await door.node.registry.register(f"P{n}", "pull", None)
    if "{ticket}" in text:
        case["ticket"] = await door.node.tickets.issue(await door.tokens.verify(door.tokens.issue(who)[0]))
    values = {**case, "user": _filled(ask.user, case), "shop_id": SHOP, "message": "m", "seq": 1}
    path = route.path.format(**{name: quote(str(value), safe="") for name, value in values.items()})
    body = {} if ask.body is None else {"json": _filled(ask.body, case)}
    return topic, path + _filled(ask.query, case), body


def _filled(value: Any, case: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, case) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, case) for item in value]
    return value.format(**case) if isinstance(value, str) else value


def uses_topic(route: Route, ask: Ask) -> bool:
    return "{topic}" in f"{route.path}{ask}" and ask.note != "a new one"


def uses_user(route: Route, ask: Ask) -> bool:
    return any(each in f"{route.path}{ask}" for each in ("{who}", "{user}"))


ROWS = [
    (f"`{name}`" + (f" ({ask.note})" if ask.note else ""), route, ask)
    for name, route in ROUTES.items() if route.group
    for ask in asks_of(name)
]  # fmt: skip
FILES = [("the pages' files", route, Ask()) for route in ROUTES.values() if not route.group]
FILES.append(("a path that is not there", replace(FILES[0][1], path="/nothing/here"), Ask()))
