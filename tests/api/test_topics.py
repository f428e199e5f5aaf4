"""Topics and members by their paths."""

from support.doors import Door

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
    ana = await door.token("ana")
    assert (await door.ask("PUT", NEWS, 201, token=ana, json={}))["role"] == "owner"


async def test_creating_again_changes_nothing(door: Door) -> None:
    created = await door.ask("PUT", NEWS, 201, json={"owner": "ana"})
    assert await door.ask("PUT", NEWS, json={"owner": "ana"}) == created
    assert (await door.ask("PUT", NEWS, 409, json={"owner": "eva"}))["code"] == "conflict"


async def test_a_backend_names_the_owner(door: Door) -> None:
    assert "owner" in (await door.ask("PUT", NEWS, 400, json={}))["message"]


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
