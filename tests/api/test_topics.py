"""Topics and members by their paths."""

from typing import Any

from doors import Door

pytest_plugins = ["doors"]

V1 = "/api/v1"
NEWS = f"{V1}/topics/news"


async def test_create_read_change_delete(door: Door) -> None:
    created = await door.ask("PUT", NEWS, 201, json={"owner": "ana", "kind": "private", "retention": 60})
    epoch = created["epoch"]
    assert created == {
        "topic_name": "news", "epoch": epoch, "kind": "private", "creator": "ana", "retention": 60, "lifetime": None,
        "last_seq": 0, "role": None,
    }  # fmt: skip
    assert await door.ask("GET", NEWS) == created
    changed = await door.ask("PUT", NEWS, json={"lifetime": 3600})
    assert changed == {**created, "lifetime": 3600}
    assert await door.ask("PUT", NEWS, json={"kind": "public", "retention": None}) == {
        **changed, "kind": "public", "retention": None,
    }  # fmt: skip
    assert await door.ask("DELETE", NEWS, 204) == ""
    assert (await door.ask("GET", NEWS, 404))["code"] == "unknown_topic"
    assert (await door.ask("DELETE", NEWS, 404))["code"] == "unknown_topic"


async def test_creating_again_changes_nothing(door: Door) -> None:
    created = await door.ask("PUT", NEWS, 201, json={"owner": "ana"})
    assert await door.ask("PUT", NEWS, json={"owner": "ana"}) == created
    assert (await door.ask("PUT", NEWS, 409, json={"owner": "eva"}))["code"] == "conflict"


async def test_a_backend_names_the_owner(door: Door) -> None:
    assert "owner" in (await door.ask("PUT", NEWS, 400, json={}))["message"]


async def test_a_user_owns_what_it_creates(door: Door) -> None:
    ana, eva = await door.token("ana"), await door.token("eva")
    await door.ask("PUT", NEWS, 403, token=ana, json={"owner": "eva"})
    assert (await door.ask("PUT", NEWS, 201, token=ana, json={}))["role"] == "owner"
    await door.ask("PUT", NEWS, 403, token=eva, json={"kind": "private"})
    await door.ask("DELETE", NEWS, 403, token=eva)
    await door.ask("PUT", f"{NEWS}/members/eva", 201, token=eva)
    assert (await door.ask("GET", NEWS, token=eva))["role"] == "member"
    assert (await door.ask("DELETE", NEWS, 403, token=eva))["code"] == "forbidden"
    await door.ask("DELETE", NEWS, 204, token=ana)


async def test_an_inbox_is_no_topic_to_make_change_join_or_delete(door: Door) -> None:
    ana, _ = await door.token("ana"), await door.token("eva")
    for token in ("", ana):
        inbox = f"{V1}/topics/%40ana"
        await door.ask("PUT", inbox, 403, token=token, json={"kind": "public"})
        await door.ask("DELETE", inbox, 403, token=token)
        await door.ask("PUT", f"{inbox}/members/eva", 403, token=token)
        await door.ask("DELETE", f"{inbox}/members/ana", 403, token=token)
    await door.ask("PUT", f"{V1}/topics/%40new", 400, json={"owner": "ana"})
    await door.ask("PUT", f"{V1}/topics/%40eva", 400, token=ana, json={})
    body = {"topic_name": "@ana", "user": "eva"}
    await door.ask("PUT", f"{V1}/topics", 403, json=body)


async def test_members_with_roles_and_cursors_in_pages(door: Door) -> None:
    await door.ask("PUT", NEWS, 201, json={"owner": "mia"})
    await door.ask("POST", f"{NEWS}/messages", 201, json={"content": 1})
    for user in ("ana", "zoe"):
        assert await door.ask("PUT", f"{NEWS}/members/{user}", 201) == {"topic_name": "news", "username": user}
        await door.ask("PUT", f"{NEWS}/members/{user}", 200)
    await door.ask("GET", f"{V1}/messages?user=ana")
    first = await door.ask("GET", f"{NEWS}/members?limit=2")
    assert first == {
        "topic_name": "news", "next": "mia", "members": [
            {"username": "ana", "role": "member", "joined_seq": 1, "cursors": {"": 1}},
            {"username": "mia", "role": "owner", "joined_seq": 0, "cursors": {}},
        ],
    }  # fmt: skip
    rest = await door.ask("GET", f"{NEWS}/members?limit=2&after={first['next']}")
    assert [each["username"] for each in rest["members"]] == ["zoe"] and rest["next"] is None


async def test_leaving_and_being_removed(door: Door) -> None:
    ana, eva = await door.token("ana"), await door.token("eva")
    await door.ask("PUT", NEWS, 201, token=ana, json={})
    await door.ask("PUT", f"{NEWS}/members/eva", 201, token=eva)
    await door.ask("DELETE", f"{NEWS}/members/ana", 403, token=eva)
    assert await door.ask("DELETE", f"{NEWS}/members/eva", token=eva) == {}
    await door.ask("DELETE", f"{NEWS}/members/eva", 403, token=eva)
    assert (await door.ask("DELETE", f"{NEWS}/members/eva", 404, token=ana))["code"] == "not_found"
    await door.ask("PUT", f"{NEWS}/members/eva", 201, token=ana)
    await door.ask("DELETE", f"{NEWS}/members/eva", token=ana)
    assert (await door.ask("DELETE", f"{NEWS}/members/nobody", 404))["code"] == "unknown_user"


async def test_a_user_invites_but_subscribes_nobody_else(door: Door) -> None:
    ana, eva = await door.token("ana"), await door.token("eva")
    await door.ask("PUT", NEWS, 201, token=ana, json={"kind": "private"})
    assert (await door.ask("PUT", f"{NEWS}/members/nobody", 404, token=ana))["code"] == "unknown_user"
    await door.ask("PUT", f"{NEWS}/members/eva", 201, token=ana)
    general = f"{V1}/topics/general/members"
    assert (await door.ask("PUT", f"{general}/eva", 403, token=ana))["code"] == "not_a_member"
    await door.ask("PUT", f"{V1}/topics", 403, token=eva, json={"topic_name": "general", "user": "ana"})
    body = {"topic_name": "news", "user": "zoe", "user_source": "ana"}
    await door.ask("PUT", f"{V1}/topics", 403, token=eva, json=body)
    await door.token("zoe")
    await door.ask("PUT", f"{V1}/topics", 200, token=ana, json=body)


SEED_BODIES: list[tuple[str, str, Any]] = [
    ("POST", "/topics", {"topic_name": "t", "user": "eva"}),
    ("PUT", "/topics", {"topic_name": "general", "user": "eva"}),
    ("GET", "/topics?user=eva", None),
    ("GET", "/messages?user=eva", None),
    ("PUT", "/messages", {"messages": [], "user": "eva"}),
    ("POST", "/messages", {"topic_name": "eva", "content": 1, "user": "ana"}),
    ("POST", "/users", {"user": "new"}),
    ("GET", "/users", None),
    ("POST", "/tokens", {"user": "ana"}),
    ("POST", "/tokens/revoke", {"user": "eva"}),
    ("GET", "/gen_token?user=ana", None),
    ("GET", "/token?user=ana", None),
]


async def test_a_users_token_acts_for_that_user_alone(door: Door) -> None:
    ana, _ = await door.token("ana"), await door.token("eva")
    headers = {"Action": "encode"}
    for method, path, body in SEED_BODIES:
        answer = await door.ask(method, V1 + path, 403, token=ana, json=body, headers=headers)
        assert answer["code"] == "forbidden"


async def test_a_user_writes_to_an_inbox_in_its_own_name(door: Door) -> None:
    ana = await door.token("ana")
    body = {"topic_name": "ana", "content": 1, "user": "eva"}
    assert (await door.ask("POST", f"{V1}/messages", 404, token=ana, json=body))["code"] == "unknown_user"
    eva = await door.token("eva")
    await door.ask("POST", f"{V1}/messages", 201, token=ana, json=body)
    [message] = (await door.ask("GET", f"{V1}/messages?user=eva", token=eva))["messages"]
    assert message["user_source"] == "ana"


async def test_members_of_a_public_topic_are_for_members(door: Door) -> None:
    ana = await door.token("ana")
    await door.ask("PUT", f"{V1}/topics/general/members/eva", 201)
    assert (await door.ask("GET", f"{V1}/topics?topic_name=general", token=ana))["members"] == []
    assert (await door.ask("GET", f"{V1}/topics/general/members", 403, token=ana))["code"] == "not_a_member"


PRIVATE: list[tuple[str, str, Any]] = [
    ("GET", "/topics/{}", None),
    ("DELETE", "/topics/{}", None),
    ("GET", "/topics/{}/members", None),
    ("PUT", "/topics/{}/members/ana", None),
    ("PUT", "/topics/{}/members/eva", None),
    ("PUT", "/topics/{}/members/nobody", None),
    ("DELETE", "/topics/{}/members/ana", None),
    ("DELETE", "/topics/{}/members/eva", None),
    ("DELETE", "/topics/{}/members/nobody", None),
    ("GET", "/topics/{}/messages", None),
    ("POST", "/topics/{}/messages", {"content": 1}),
    ("GET", "/topics/{}/receipts/1", None),
    ("GET", "/topics?topic_name={}", None),
    ("PUT", "/topics", {"topic_name": "{}", "user": "ana"}),
    ("PUT", "/topics", {"topic_name": "{}", "user": "eva", "user_source": "ana"}),
    ("DELETE", "/topics", {"topic_name": "{}"}),
    ("POST", "/messages/batch", [{"topic_name": "{}", "content": 1}]),
]


def named(value: Any, name: str) -> Any:
    """A request with a topic's name where the braces are."""
    if isinstance(value, dict):
        return {key: named(item, name) for key, item in value.items()}
    if isinstance(value, list):
        return [named(item, name) for item in value]
    return value.replace("{}", name) if isinstance(value, str) else value


async def test_a_private_topic_of_others_does_not_exist(door: Door) -> None:
    ana, eva = await door.token("ana"), await door.token("eva")
    await door.ask("PUT", f"{V1}/topics/secret", 201, token=eva, json={"kind": "private"})
    await door.ask("POST", f"{V1}/topics/secret/messages", 201, token=eva, json={"content": 1})
    for method, path, body in PRIVATE:
        answers = []
        for name in ("secret", "absent"):
            url = V1 + named(path, name)
            async with door.send(method, url, token=ana, json=named(body, name)) as response:
                answers.append((response.status, await response.text()))
        assert answers[0] == answers[1]
        assert "unknown_topic" in answers[0][1]
        if answers[0][0] != 200:
            assert answers[0][0] in (400, 404)
