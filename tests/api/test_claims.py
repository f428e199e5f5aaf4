"""The claim `topics` at the HTTP door: what it narrows and what it grants."""

from typing import Any

import pytest

from messaging.permissions import BACKEND
from support.doors import KEY, Door

V1 = "/api/v1"


@pytest.fixture
async def house(locked: Door) -> Door:
    """`shop.1` (private, eva's), `news` (public; ana is a member) and `lounge` (private, ana's): a message in each."""
    actions = locked.node.actions
    ana, eva = await actions.know("ana"), await actions.know("eva")
    await actions.create_topic(BACKEND, "shop.1", eva, "private")
    await actions.create_topic(BACKEND, "news", eva, "public")
    await actions.create_topic(BACKEND, "lounge", ana, "private")
    await actions.subscribe(BACKEND, ana, "news")
    eva_token = await locked.token("eva")
    for name in ("shop.1", "news"):
        await locked.ask("POST", f"{V1}/topics/{name}/messages", 201, token=eva_token, json={"content": name})
    await locked.ask("POST", f"{V1}/topics/lounge/messages", 201, token=await locked.token("ana"), json={"content": 1})
    return locked


def claiming(door: Door, user: str = "ana", **topics: list[str]) -> str:
    return door.tokens.issue(user, payload={"topics": topics})[0]


async def topics_of(door: Door, token: str) -> set[str]:
    found = await door.ask("GET", f"{V1}/topics?user=ana", token=token)
    return {topic["topic_name"] for topic in found["topics"]}


async def contents(door: Door, name: str, token: str, status: int = 200) -> Any:
    found = await door.ask("GET", f"{V1}/topics/{name}/messages", status, token=token)
    return [message["content"] for message in found["messages"]] if status == 200 else found["code"]


async def test_read_grants_a_private_topic(house: Door) -> None:
    token = claiming(house, read=["shop.*"])
    assert "private" == (await house.ask("GET", f"{V1}/topics/shop.1", token=token))["kind"]
    assert ["shop.1"] == await contents(house, "shop.1", token)
    await house.ask("PUT", f"{V1}/topics/shop.1/members/ana", 201, token=token)
    assert ["shop.1"] == await contents(house, "shop.1", token)
    assert {"shop.1"} == await topics_of(house, token)
    # The membership is made as usual: it outlives the token, with what membership gives.
    plain = await house.token("ana")
    assert [] == await contents(house, "shop.1", plain)
    assert {"shop.1", "news", "lounge"} == await topics_of(house, plain)


async def test_read_narrows_what_is_pending(house: Door) -> None:
    async def pending(token: str) -> set[str]:
        found = await house.ask("GET", f"{V1}/messages?user=ana", token=token)
        return {message["topic_name"] for message in found["messages"]}

    eva = await house.token("eva")
    await house.ask("POST", f"{V1}/topics/@ana/messages", 201, token=eva, json={"content": "hello"})
    assert {"news", "eva", "lounge"} == await pending(await house.token("ana"))
    assert {"eva"} == await pending(claiming(house, read=[]))
    assert {"eva", "news"} == await pending(claiming(house, read=["n*"]))

    named = {"user": "ana", "messages": [{"topic_name": "news", "content": "news"}]}
    await house.ask("PUT", f"{V1}/messages", token=claiming(house, read=[]), json=named)
    assert {"eva", "news"} == await pending(claiming(house, read=["n*"]))
    await house.ask("PUT", f"{V1}/messages", token=claiming(house, read=["news"]), json=named)
    assert {"eva"} == await pending(claiming(house, read=["n*"]))


async def test_a_ticket_carries_the_claim(house: Door) -> None:
    ticket = (await house.ask("POST", f"{V1}/tickets", 201, token=claiming(house, read=[]), json={}))["ticket"]
    login = await house.ask("POST", f"{V1}/login", json={"ticket": ticket})
    assert set() == await topics_of(house, login["token"])


@pytest.mark.parametrize("claim", ["all", {"reads": []}, {"read": ["a b"]}])
async def test_a_claim_that_would_not_be_understood_is_not_issued(locked: Door, claim: Any) -> None:
    body = {"user": "ana", "payload": {"topics": claim}}
    said = await locked.ask("POST", f"{V1}/tokens", 400, token=KEY, json=body)
    assert "topics" in said["message"]


async def test_a_claim_that_stands_where_it_is_not_read_makes_no_token_for_everything(door: Door) -> None:
    wish = {"user": "ana", "topics": {"read": ["a"]}}
    answer = await door.ask("POST", "/api/v1/tokens", 400, json=wish)
    assert "topics" in answer["message"]
