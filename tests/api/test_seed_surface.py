"""The older surface: every status, body and text that its clients and backends compare."""

import math
from typing import Any

import jwt

from messaging.permissions import BACKEND
from support.doors import SECRET, Door

V1 = "/api/v1"


async def topic(door: Door, name: str = "news", user: str = "ana", private: bool = False) -> None:
    body = {"topic_name": name, "user": user, "is_private": private}
    assert await door.ask("POST", f"{V1}/topics", 201, json=body) == {"message": "Topic created"}


async def pending(door: Door, user: str) -> list[tuple[str, Any]]:
    found = await door.ask("GET", f"{V1}/messages?user={user}")
    return [(message["topic_name"], message["content"]) for message in found["messages"]]


async def post(door: Door, topic_name: str, content: Any) -> int:
    answer = await door.ask("POST", f"{V1}/topics/{topic_name}/messages", 201, json={"content": content})
    return int(answer["seq"])


async def confirm(door: Door, user: str, *named: tuple[str, Any]) -> None:
    messages = [{"action": "message", "content": content, "topic_name": name} for name, content in named]
    answer = await door.ask("PUT", f"{V1}/messages", json={"messages": messages, "user": user})
    assert answer == {"message": "Message deleted"}


# --- tokens --------------------------------------------------------------------------------------------------------


async def test_a_token_by_query(door: Door) -> None:
    answer = await door.ask("GET", f"{V1}/gen_token?user=ana")
    assert list(answer) == ["token"]
    assert jwt.decode(answer["token"], SECRET, ["HS256"])["sub"] == "ana"


async def test_a_token_with_other_parameters_as_payload(door: Door) -> None:
    answer = await door.ask("GET", f"{V1}/token?user=ana&role=cook&n=1", headers={"Action": "encode"})
    assert list(answer) == ["token"]
    claims = jwt.decode(answer["token"], SECRET, ["HS256"])
    assert claims["payload"] == {"role": "cook", "n": "1"}
    assert claims["exp"] == math.ceil(claims["iat"] + 86400)


async def test_the_claims_of_a_token(door: Door) -> None:
    token = (await door.ask("GET", f"{V1}/gen_token?user=ana"))["token"]
    claims = await door.ask("GET", f"{V1}/token?token={token}", headers={"Action": "decode"})
    assert claims["sub"] == "ana"
    assert claims["exp"] > claims["iat"]
    assert claims["iat_readable"].endswith("Z") and claims["exp_readable"] > claims["iat_readable"]


async def test_a_bad_token_is_not_decoded(door: Door) -> None:
    for token in ["", "x", "a.b.c", "%00", "%ff"]:
        answer = await door.ask("GET", f"{V1}/token?token={token}", 400, headers={"Action": "decode"})
        assert answer["message"] == "Token not decoded"


async def test_a_token_needs_the_header_action(door: Door) -> None:
    for headers in [{}, {"Action": "sing"}]:
        answer = await door.ask("GET", f"{V1}/token?user=ana", 400, headers=headers)
        assert answer["message"] == "Action header not found"


async def test_encode_needs_a_user(door: Door) -> None:
    await door.ask("GET", f"{V1}/token", 400, headers={"Action": "encode"})
    await door.ask("GET", f"{V1}/gen_token", 400)


# --- topics --------------------------------------------------------------------------------------------------------


async def test_a_topic_and_its_object(door: Door) -> None:
    await topic(door)
    assert await door.ask("GET", f"{V1}/topics?topic_name=news") == {
        "topic_name": "news", "creator": "ana", "is_user": False, "members": ["ana"], "is_private": False,
    }  # fmt: skip


async def test_the_topics_of_a_user(door: Door) -> None:
    await topic(door)
    await topic(door, "plans", private=True)
    await topic(door, "other", user="eva")
    found = await door.ask("GET", f"{V1}/topics?user=ana")
    assert list(found) == ["topics"]
    assert [(each["topic_name"], each["is_private"], each["members"]) for each in found["topics"]] == [
        ("news", False, ["ana"]), ("plans", True, ["ana"]),
    ]  # fmt: skip
    assert await door.ask("GET", f"{V1}/topics?user=nobody") == {"topics": []}


async def test_the_topics_of_a_user_come_by_name_a_page_at_a_time(door: Door) -> None:
    for name in ("c", "a", "b"):
        await topic(door, name)
    after: str | None = ""
    names: list[str] = []
    while after is not None:
        found = await door.ask("GET", f"{V1}/topics?user=ana&limit=1" + (f"&after={after}" if after else ""))
        names += [each["topic_name"] for each in found["topics"]]
        after = names[-1] if found.get("more") else None
    assert names == ["a", "b", "c"]


async def test_an_inbox_is_a_topic_of_a_user(door: Door) -> None:
    await door.ask("POST", f"{V1}/users", 201, json={"user": "ana"})
    found = await door.ask("GET", f"{V1}/topics?topic_name=%40ana")
    assert found["is_user"] is True and found["members"] == ["ana"]


async def test_no_topics_found(door: Door) -> None:
    for query in ["", "?topic_name=absent", "?topic_name=", "?topic_name=%00", "?topic_name=a%20b"]:
        assert await door.ask("GET", f"{V1}/topics{query}", 404) == {
            "code": "unknown_topic", "message": "No topics found",
        }  # fmt: skip


async def test_a_second_topic_of_a_name_is_refused(door: Door) -> None:
    await topic(door)
    body = {"topic_name": "news", "user": "eva"}
    assert (await door.ask("POST", f"{V1}/topics", 409, json=body))["code"] == "conflict"


async def test_subscribing_a_user_and_again(door: Door) -> None:
    await topic(door)
    for _ in range(2):
        answer = await door.ask("PUT", f"{V1}/topics", json={"topic_name": "news", "user": "eva"})
        assert answer == {"message": "User subscribed"}
    assert (await door.ask("GET", f"{V1}/topics?topic_name=news"))["members"] == ["ana", "eva"]


async def test_subscribing_by_invitation(door: Door) -> None:
    await topic(door, private=True)
    body = {"topic_name": "news", "user": "eva", "user_source": "ana"}
    assert await door.ask("PUT", f"{V1}/topics", json=body) == {"message": "User subscribed"}
    user = await door.node.actions.user("eva")
    found, _ = await door.node.actions.topics(BACKEND, user)
    [membership] = [m for m, _, _ in found if m.topic.kind == "private"]
    assert membership.invited_by == "ana"


async def test_subscribing_to_an_absent_topic(door: Door) -> None:
    answer = await door.ask("PUT", f"{V1}/topics", 400, json={"topic_name": "absent", "user": "ana"})
    assert answer["message"] == "User not subscribed"


async def test_deleting_a_topic(door: Door) -> None:
    await topic(door)
    assert await door.ask("DELETE", f"{V1}/topics", json={"topic_name": "news"}) == {"message": "Topic deleted"}
    answer = await door.ask("DELETE", f"{V1}/topics", 400, json={"topic_name": "news"})
    assert answer["message"] == "Topic not deleted"


async def test_the_topic_of_an_empty_database(door: Door) -> None:
    assert (await door.ask("GET", f"{V1}/topics?topic_name=general"))["is_private"] is False


# --- users ---------------------------------------------------------------------------------------------------------


async def test_users_are_a_bare_list(door: Door) -> None:
    assert await door.ask("GET", f"{V1}/users") == []
    for _ in range(2):
        answer = await door.ask("POST", f"{V1}/users", 201, json={"user": "ana"})
        assert answer == {"message": "User created"}
    [user] = await door.ask("GET", f"{V1}/users")
    assert user["username"] == "ana" and isinstance(user["id"], int)


async def test_users_in_pages(door: Door) -> None:
    await door.node.store.know(["eva", "ana", "zoe"])
    first = await door.ask("GET", f"{V1}/users?limit=2")
    rest = await door.ask("GET", f"{V1}/users?limit=2&after={first[-1]['username']}")
    assert [user["username"] for user in first + rest] == ["ana", "eva", "zoe"]


# --- messages ------------------------------------------------------------------------------------------------------


async def test_pending_of_nobody(door: Door) -> None:
    assert await door.ask("GET", f"{V1}/messages") == {"messages": []}
    assert await door.ask("GET", f"{V1}/messages?user=nobody") == {"messages": []}


async def test_a_message_to_one_user_goes_to_its_inbox_alone(door: Door) -> None:
    await topic(door)
    body = {"topic_name": "news", "content": {"n": 1}, "user": "eva"}
    assert await door.ask("POST", f"{V1}/messages", 201, json=body) == {"message": "Message created"}
    [message] = (await door.ask("GET", f"{V1}/messages?user=eva"))["messages"]
    assert message.pop("sent_at").endswith("Z")
    assert message == {
        "action": "message", "topic_name": "news", "content": {"n": 1}, "not_delivered_to_user_id_topic": ["eva"],
        "user_source": "news", "seq": 1,
    }  # fmt: skip
    assert await pending(door, "ana") == []


async def test_pending_of_all_topics_and_confirming_it(door: Door) -> None:
    await topic(door)
    await topic(door, "plans")
    for number in range(3):
        await post(door, "news", {"n": number})
        await post(door, "plans", number)
    found = await pending(door, "ana")
    assert found == [("news", {"n": n}) for n in range(3)] + [("plans", n) for n in range(3)]
    await confirm(door, "ana", *found)
    assert await pending(door, "ana") == []
    await post(door, "news", "more")
    assert await pending(door, "ana") == [("news", "more")]


async def test_only_the_run_from_the_oldest_on_is_confirmed(door: Door) -> None:
    await topic(door)
    for content in ("a", "b", "c"):
        await post(door, "news", content)
    await confirm(door, "ana", ("news", "b"), ("news", "c"))
    assert [content for _, content in await pending(door, "ana")] == ["a", "b", "c"]
    await confirm(door, "ana", ("news", "c"), ("news", "a"))
    assert [content for _, content in await pending(door, "ana")] == ["b", "c"]
    await confirm(door, "ana", ("other", "b"))
    await confirm(door, "nobody", ("news", "b"))
    assert [content for _, content in await pending(door, "ana")] == ["b", "c"]


async def test_an_inbox_is_confirmed_by_its_name_or_its_senders(door: Door) -> None:
    for content in ("a", "b"):
        await door.ask("POST", f"{V1}/messages", 201, json={"topic_name": "news", "content": content, "user": "eva"})
    await confirm(door, "eva", ("@eva", "a"))
    assert await pending(door, "eva") == [("news", "b")]
    await confirm(door, "eva", ("news", "b"))
    assert await pending(door, "eva") == []


async def test_confirming_survives_the_process(door: Door) -> None:
    await topic(door)
    await post(door, "news", "a")
    await confirm(door, "ana", ("news", "a"))
    user = await door.node.actions.user("ana")
    topics, _ = await door.node.actions.topics(BACKEND, user)
    [(_, head, cursor)] = [each for each in topics if each[0].topic.name == "news"]
    assert head == cursor == 1


async def test_pending_is_bounded(door: Door) -> None:
    await topic(door)
    items = [{"topic_name": "news", "content": n} for n in range(700)]
    for _ in range(2):
        await door.ask("POST", f"{V1}/messages/batch", json=items)
    found = await pending(door, "ana")
    assert len(found) == 1000
    await confirm(door, "ana", *found)
    assert len(await pending(door, "ana")) == 400
    for _ in range(10):
        await post(door, "news", "ü" * 10_000)
    large = await pending(door, "ana")
    assert 400 < len(large) < 410
    await confirm(door, "ana", *large)
    assert len(await pending(door, "ana")) == 410 - len(large)
