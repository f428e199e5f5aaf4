"""Who owns a name, at the HTTP door: topics beside users, names for news and of bridges, topics that are left."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest

from messaging.auto_topics import aim_at_made
from messaging.errors import Conflict
from messaging.model import inbox_of
from messaging.patterns import like
from messaging.permissions import BACKEND
from support.doors import KEY, SECRET, Door

V1 = "/api/v1"
NEWS = "updates.store.3c6e0b8a-9c15-424a-8d1e-1f2a3b4c5d6e"


async def put_topic(door: Door, name: str, status: int = 201, kind: str = "private", **more: Any) -> Any:
    return await door.ask("PUT", f"{V1}/topics/{name}", status, json={"kind": kind}, **more)


async def publish(door: Door, target: str, status: int = 201, token: str = KEY) -> Any:
    path = f"{V1}/topics/{target.replace('#', '%23')}/messages"
    return await door.ask("POST", path, status, token=token, json={"content": target})


async def contents(door: Door, name: str) -> list[Any]:
    found = await door.ask("GET", f"{V1}/topics/{name}/messages", token=KEY)
    return [each["content"] for each in found["messages"]]


# --- a topic and a user of one name ---------------------------------------------------------------------


async def test_nobody_makes_a_topic_under_the_name_of_a_user(locked: Door) -> None:
    mal = await locked.token("mal")
    await locked.node.actions.know("diego")
    assert (await put_topic(locked, "diego", 409, token=mal))["code"] == "conflict"
    assert (await put_topic(locked, "%23diego", 409, token=mal))["code"] == "conflict"
    body = {"topic_name": "diego", "user": "mal"}
    assert (await locked.ask("POST", f"{V1}/topics", 409, token=KEY, json=body))["code"] == "conflict"
    await locked.ask("POST", "/send", token=KEY, json={"to": "diego", "content": "for diego"})
    assert await contents(locked, "@diego") == ["for diego"]


async def test_what_is_for_a_user_never_goes_to_a_topic_that_another_has_made(locked: Door) -> None:
    """It was made before the user was known, and the sender was put into it unasked."""
    mal, ana = await locked.token("mal"), await locked.token("ana")
    await put_topic(locked, "diego", token=mal)
    await locked.ask("PUT", f"{V1}/topics/diego/members/ana", 201, token=mal)
    await publish(locked, "diego", token=ana)  # as yet nobody else is called so
    eva = await locked.token("eva")
    await locked.token("diego")
    for token in (ana, mal, KEY):
        assert (await publish(locked, "diego", 409, token))["code"] == "conflict"
    assert (await locked.ask("POST", "/send", 409, token=KEY, json={"to": "diego", "content": 1}))["code"] == "conflict"
    [refused, sent] = await locked.ask(
        "POST", f"{V1}/messages/batch", token=ana,
        json=[{"topic_name": "diego", "content": 1}, {"topic_name": "#diego", "content": "batch"}],
    )  # fmt: skip
    assert (refused["code"], sent["result"]) == ("conflict", "ok")
    await publish(locked, "#diego", token=ana)
    await publish(locked, "@diego", token=ana)
    await publish(locked, "diego", token=eva)  # to her there is no such topic
    assert await contents(locked, "%23diego") == ["diego", "batch", "#diego"]
    assert await contents(locked, "@diego") == ["@diego", "diego"]


async def test_a_bare_name_is_the_topics_that_a_backend_made(locked: Door) -> None:
    await locked.ask("PUT", f"{V1}/topics/rosa", 201, token=KEY, json={"kind": "public", "owner": "omar"})
    await locked.token("rosa")
    for target in ("rosa", "#rosa", "@rosa"):
        await publish(locked, target)
    assert (await contents(locked, "rosa"), await contents(locked, "@rosa")) == (["rosa", "#rosa"], ["@rosa"])


async def test_a_hash_means_the_topic_wherever_one_is_named(locked: Door) -> None:
    ana, path = await locked.token("ana"), f"{V1}/topics/%23news"
    await put_topic(locked, "%23news", kind="public", token=ana)
    assert (await locked.ask("GET", path, token=ana))["topic_name"] == "news"
    await locked.ask("PUT", f"{path}/members/ana", token=ana)
    assert [each["username"] for each in (await locked.ask("GET", f"{path}/members", token=ana))["members"]] == ["ana"]
    found = await locked.ask("GET", f"{V1}/topics?topic_name=%23news", token=ana)
    assert found["topic_name"] == "news"
    await locked.ask("PUT", f"{V1}/topics", token=ana, json={"topic_name": "#news", "user": "ana"})
    await publish(locked, "#ana", 404, ana)
    await publish(locked, "%23@ana", 404, ana)
    await locked.ask("DELETE", path, 204, token=ana)
    await locked.ask("GET", f"{V1}/topics/news", 404, token=ana)


# --- names for news, and of bridges ----------------------------------------------------------------------


@pytest.mark.parametrize("name", [NEWS, "orders.rome", "shop.a"], ids=["news", "fed", "taken out"])
async def test_names_of_others_are_made_by_a_backend_or_a_claim(locked: Door, name: str) -> None:
    await locked.node.bridge_store.register_inlet("orders", "nats", like("orders.*"))
    await locked.node.bridge_store.register("shops", "nats", like("shop.*"))
    mal = await locked.token("mal")
    assert (await put_topic(locked, name, 403, token=mal))["code"] == "forbidden"
    body = {"topic_name": name, "user": "mal"}
    assert (await locked.ask("POST", f"{V1}/topics", 403, token=mal, json=body))["code"] == "forbidden"
    claim = locked.tokens.issue("mal", payload={"topics": {"write": [name]}})[0]
    await put_topic(locked, name, token=claim)
    await locked.ask("DELETE", f"{V1}/topics/{name}", 204, token=KEY)
    await locked.ask("PUT", f"{V1}/topics/{name}", 201, token=KEY, json={"owner": "mal"})


async def test_news_never_go_to_a_user_of_their_name(door: Door) -> None:
    await door.node.store.know([NEWS])  # as one of before there was a rule for its name
    body = {"to": NEWS, "content": 1}
    assert (await door.ask("POST", "/send", 409, json=body))["code"] == "conflict"
    assert await door.node.store.topic_view(NEWS) is None


async def test_what_comes_in_for_a_topic_never_goes_to_a_user_of_its_name(locked: Door) -> None:
    actions, settings = locked.node.actions, locked.settings
    await actions.know("diego")
    for topic in ("diego", "#diego"):
        with pytest.raises(Conflict):
            await aim_at_made(actions, settings, topic, "nats")
    await actions.know("till")
    assert (await aim_at_made(actions, settings, "#orders", "till")).topic.name == "orders"
    assert await actions.members(BACKEND, "orders", "", 10) == [], "a user is called like the sender"
    assert (await aim_at_made(actions, settings, "@Mario Rossi", "nats")).topic.name == "@Mario%20Rossi"


# --- leaving -------------------------------------------------------------------------------------------


async def test_a_name_that_everybody_has_left_is_free(locked: Door) -> None:
    ana, omar = await locked.token("ana"), await locked.token("omar")
    await put_topic(locked, "club", token=ana)
    await locked.ask("PUT", f"{V1}/topics/club/members/omar", 201, token=ana)
    await publish(locked, "club", token=ana)
    await locked.ask("DELETE", f"{V1}/topics/club/members/ana", token=ana)
    assert (await locked.ask("GET", f"{V1}/topics/club", token=omar))["role"] == "owner"
    await locked.ask("DELETE", f"{V1}/topics/club/members/omar", token=omar)
    assert (await put_topic(locked, "club", token=omar))["last_seq"] == 0


# --- people whom other systems call otherwise ------------------------------------------------------------


async def test_a_person_is_one_whichever_way_it_is_called(locked: Door) -> None:
    """By tokens and tickets of all kinds, and as older backends name users."""
    name, query = "Mario%20Rossi", "user=Mario%20Rossi"
    tokens = [
        (await locked.ask("POST", f"{V1}/tokens", 201, token=KEY, json={"user": "Mario Rossi"}))["token"],
        (await locked.ask("POST", f"{V1}/tokens", 201, token=KEY, json={"user": name}))["token"],
        (await locked.ask("GET", f"{V1}/gen_token?{query}", token=KEY))["token"],
        (await locked.ask("GET", f"{V1}/token?{query}", token=KEY, headers={"Action": "encode"}))["token"],
    ]
    ticket = await locked.ask("POST", f"{V1}/tickets", 201, token=KEY, json={"user": "Mario Rossi"})
    logged_in = await locked.ask("POST", f"{V1}/login", json={"ticket": ticket["ticket"]})
    assert logged_in["user"] == name
    for token in (*tokens, logged_in["token"]):
        assert (await locked.tokens.verify(token)).user == name
        await locked.ask("GET", f"{V1}/messages?{query}", token=token)
        await locked.ask("POST", f"{V1}/tickets", 201, token=token, json={"user": "Mario Rossi"})
    await locked.ask("POST", f"{V1}/users", 201, token=KEY, json={"user": "Mario Rossi"})
    assert [each["username"] for each in await locked.ask("GET", f"{V1}/users", token=KEY)] == [name]

    await locked.ask("POST", f"{V1}/topics", 201, token=tokens[0], json={"topic_name": "club", "user": "Mario Rossi"})
    members = await locked.ask("GET", f"{V1}/topics/club/members", token=KEY)
    assert [each["username"] for each in members["members"]] == [name]
    body = {"topic_name": "Anna Bianchi", "content": "ciao", "user": "Mario Rossi"}
    await locked.ask("POST", f"{V1}/messages", 201, token=KEY, json=body)
    [message] = (await locked.ask("GET", f"{V1}/messages?{query}", token=KEY))["messages"]
    assert (message["topic_name"], message["user_source"]) == (inbox_of(name), "Anna%20Bianchi")
    await locked.ask("POST", f"{V1}/tokens/revoke", token=KEY, json={"user": "Mario Rossi"})
    await locked.ask("GET", f"{V1}/messages?{query}", 401, token=tokens[0])


async def test_a_token_of_an_older_system_may_name_its_user_as_it_is(locked: Door) -> None:
    token = jwt.encode({"username": "Mario Rossi", "exp": time.time() + 60}, SECRET, "HS256")
    assert (await locked.tokens.verify(token)).user == "Mario%20Rossi"
