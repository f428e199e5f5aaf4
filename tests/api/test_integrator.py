"""Chat platforms through one desk: what each is told, in which order, and what nobody is told."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from messaging.integrator.events import OWN
from messaging.integrator.importing import Diff, Listed
from messaging.integrator.incoming import IncomingMessage
from messaging.model import Message
from support.doors import Door
from support.waiting import until


async def register(door: Door, name: str, **more: Any) -> str:
    """A platform that pulls, unless told otherwise. Its token."""
    return str((await door.ask("POST", "/platforms", 201, json={"name": name, **more}))["token"])


async def legacy(door: Door, name: str) -> str:
    return await register(door, name, style="paths", url="http://127.0.0.1:9/api/")


async def inbox(door: Door, name: str) -> list[tuple[str, Any]]:
    """Everything that a platform is told: type and data."""
    platform = await door.node.registry.find(name)
    async with door.node.store.pool.connection() as connection:
        rows = await connection.fetch(
            "SELECT content FROM recado.messages WHERE topic_id = $1 ORDER BY seq", platform.inbox
        )
    news = [json.loads(row["content"]) for row in rows]
    return [(each["type"], each["data"]) for each in news]


async def last_of(door: Door, topic: str) -> tuple[int, Message]:
    """The last message of a topic, with the topic's id."""
    standing = await door.node.store.topic_view(topic)
    assert standing is not None
    topic_id = standing.topic.id
    [message] = await door.node.store.history(topic_id, 0, standing.head + 1, 1, None, newest=True)
    return topic_id, message


Json = dict[str, Any]


async def say(door: Door, path: str, status: int = 200, **body: Any) -> Any:
    return await door.ask("POST", path, status, json=body)


async def three(door: Door) -> dict[str, str]:
    return {name: await legacy(door, name) for name in ("GWT_CHAT", "net core", "BuasApp")}


# --- the surface of the first integrator -----------------------------------------------------------


@pytest.mark.parametrize("sender", ["GWT_CHAT", "net core", "BuasApp"])
async def test_a_user_is_told_to_every_other_platform_wherever_the_sender_stands(door: Door, sender: str) -> None:
    tokens = await three(door)
    assert await say(door, "/user", id=17, name="Ana", token=tokens[sender]) == "success"
    for name in tokens:
        told = [] if name == sender else [("user.created", {"id": 17, "name": "Ana", "platform": sender})]
        assert await inbox(door, name) == told


async def test_the_same_message_is_the_same_whether_its_ids_are_numbers_or_text(door: Door) -> None:
    tokens = await three(door)
    for room, sender in ((5, 1), ("5", "1"), (5, "1")):
        said: Json = {"id": "m-1", "roomId": room, "senderId": sender, "text": "Hi", "token": tokens["GWT_CHAT"]}
        assert await say(door, "/message", **said) == "success"
    assert [kind for kind, _ in await inbox(door, "BuasApp")] == ["user.created", "message.created"]


async def test_a_list_of_users_that_is_cut_off_says_where_it_goes_on(door: Door) -> None:
    tokens = await three(door)
    platform = await door.node.registry.find("BuasApp")
    async with door.node.store.pool.connection() as connection:
        await connection.execute(
            "INSERT INTO recado.platform_users (platform, key, id_json, name)"
            " SELECT $1, 'a ' || n, to_json('a ' || n)::text, 'b' FROM generate_series(10000, 20001) AS n",
            platform.id,
        )
    headers = {"Authorization": f"Bearer {tokens['BuasApp']}"}
    found = []
    for path in ("/platforms", "/users"):
        async with door.http.get(door.url + path, headers=headers) as response:
            body = await response.json()
            found.append(response.headers["Link"])
        lists = {each["name"]: each["users"] for each in body["platforms"]} if "platforms" in body else body["users"]
        assert len(lists["BuasApp"]) == 10000
    assert found == ['</users?platform=BuasApp&after=a%2019999>; rel="next"'] * 2
    async with door.http.get(door.url + found[0][1:].partition(">")[0], headers=headers) as response:
        assert [each["id"] for each in (await response.json())["users"]["BuasApp"]] == ["a 20000", "a 20001"]
        assert "Link" not in response.headers


async def test_an_unchanged_user_is_told_once_and_a_new_name_is_told(door: Door) -> None:
    tokens = await three(door)
    for name in ("Ana", "Ana", "Anna"):
        await say(door, "/user", id="17", name=name, token=tokens["GWT_CHAT"])
    assert await inbox(door, "BuasApp") == [
        ("user.created", {"id": "17", "name": "Ana", "platform": "GWT_CHAT"}),
        ("user.updated", {"id": "17", "name": "Anna", "platform": "GWT_CHAT"}),
    ]


async def test_ids_keep_their_json_type_and_are_compared_as_text(door: Door) -> None:
    tokens = await three(door)
    await say(door, "/user", id=17, name="Ana", token=tokens["BuasApp"])
    await say(door, "/user", id="17", name="Ana", token=tokens["BuasApp"])
    assert [data["id"] for _, data in await inbox(door, "GWT_CHAT")] == [17, "17"]
    listed = await door.ask("GET", "/users")
    assert listed["users"]["BuasApp"] == [{"id": "17", "name": "Ana", "platform": "BuasApp"}]


@pytest.mark.parametrize(("given", "told"), [("private", "private"), ("group", "public"), ("GLOBAL", "public")])
async def test_a_room_goes_to_the_platforms_of_its_members_in_todays_words(door: Door, given: str, told: str) -> None:
    tokens = await three(door)
    users = [{"GWT_CHAT": ["bob"]}, {"net core": []}, {"BuasApp": [1]}]
    await say(door, "/room", id=5, name="Trip", type=given, users=users, token=tokens["BuasApp"])
    rooms = [data for kind, data in await inbox(door, "GWT_CHAT") if kind == "room.created"]
    assert rooms == [{"id": 5, "name": "Trip", "platform": "BuasApp", "users": users, "type": told}]
    assert list(rooms[0]) == ["id", "name", "platform", "users", "type"]
    assert await inbox(door, "net core") == []


async def test_a_message_goes_to_the_rooms_platforms_alone_and_the_senders_news_come_first(door: Door) -> None:
    tokens = await three(door)
    users = [{"GWT_CHAT": ["bob"]}, {"BuasApp": [1]}]
    await say(door, "/room", id=5, name="Trip", type="group", users=users, token=tokens["BuasApp"])
    message: Json = {"roomOriginalPlatform": "BuasApp", "roomId": 5, "senderId": 2, "text": "ciao"}
    assert await say(door, "/message", **message, token=tokens["BuasApp"]) == "success"
    told = await inbox(door, "GWT_CHAT")
    assert [kind for kind, _ in told] == ["user.created", "room.created", "user.created", "message.created"]
    assert told[2][1] == {"id": 2, "name": "2", "platform": "BuasApp"}
    data = told[3][1]
    assert list(data)[:5] == ["roomOriginalPlatform", "roomId", "senderId", "senderPlatform", "text"]
    assert {**message, "senderPlatform": "BuasApp"}.items() <= data.items()
    assert data["recipients"] == ["bob"]
    assert await inbox(door, "net core") == [] and await inbox(door, "BuasApp") == []


async def test_the_token_decides_who_speaks_never_the_body(door: Door) -> None:
    tokens = await three(door)
    await say(
        door, "/message", roomOriginalPlatform="GWT_CHAT", roomId="x", senderId=2, text="hi",
        senderPlatform="GWT_CHAT", token=tokens["BuasApp"],
    )  # fmt: skip
    assert (await inbox(door, "net core"))[-1][1]["senderPlatform"] == "BuasApp"


async def test_a_room_that_nobody_told_of_goes_to_all_as_it_did_and_is_refused_to_new_platforms(door: Door) -> None:
    tokens = await three(door)
    new = await register(door, "Fourth")
    said: Json = {"roomOriginalPlatform": "BuasApp", "roomId": 99, "senderId": 1, "text": "?"}
    await say(door, "/message", **said, token=tokens["BuasApp"])
    assert [kind for kind, _ in await inbox(door, "Fourth")] == ["user.created", "message.created"]
    answer = await say(door, "/message", 404, roomId=98, senderId=1, text="?", token=new)
    assert answer["code"] == "not_found"


async def test_a_private_room_is_closed_to_platforms_that_are_not_in_it(door: Door) -> None:
    tokens = await three(door)
    users = [{"GWT_CHAT": ["bob"]}]
    await say(door, "/room", id=5, name="Two", type="private", users=users, token=tokens["BuasApp"])
    said: Json = {"roomOriginalPlatform": "BuasApp", "roomId": 5, "senderId": 1, "text": "?"}
    await say(door, "/message", 403, **said, token=tokens["net core"])


async def test_a_room_may_name_a_platform_that_has_gone_where_its_platform_reads_the_list_only_once(door: Door) -> None:
    tokens, new = await three(door), await register(door, "Fourth")
    room: Json = {"id": 5, "name": "T", "type": "public", "users": [{"gone": ["x"]}, {"GWT_CHAT": ["bob"]}]}
    await say(door, "/room", **room, token=tokens["BuasApp"])
    assert (await inbox(door, "GWT_CHAT"))[-1][1]["users"] == room["users"]
    answer = await say(door, "/room", 400, **room, token=new)
    assert "there is no platform 'gone'" in answer["message"]
    await say(door, "/room", **{**room, "users": [{"gone": []}]}, token=new)


NUL = "a\0"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/user", {"id": NUL, "name": "x"}),
        ("/user", {"id": 1, "name": NUL}),
        ("/room", {"id": NUL, "name": "x", "type": "public", "users": []}),
        ("/room", {"id": 1, "name": NUL, "type": "public", "users": []}),
        ("/room", {"id": 1, "name": "x", "type": "public", "users": [{"BuasApp": [NUL]}]}),
        ("/room", {"id": 1, "name": "x", "type": "public", "users": [{NUL: ["x"]}]}),
        ("/message", {"roomId": NUL, "senderId": 1, "text": "x"}),
        ("/message", {"roomId": 1, "senderId": NUL, "text": "x"}),
        ("/message", {"roomId": 1, "senderId": 1, "text": NUL}),
        ("/message", {"roomId": 1, "senderId": 1, "text": "x", "id": NUL}),
        ("/message", {"roomId": 1, "senderId": 1, "text": "x", "senderName": NUL}),
        ("/message", {"roomId": 1, "senderId": 1, "text": "x", "roomOriginalPlatform": NUL}),
        ("/platforms", {"name": NUL}),
        ("/platforms/a%00/pause", {}),
    ],
    ids=str,
)
async def test_what_the_database_has_no_room_for_is_refused(door: Door, path: str, body: dict[str, Any]) -> None:
    token = await register(door, "Fourth")
    await say(door, path, 400, **body, token=token)
    await door.ask("GET", "/messages/%00", 400, token=token)


async def test_who_is_not_known_is_told_so(door: Door) -> None:
    await three(door)
    await say(door, "/user", 401, id=1, name="x", token="9999")
    await say(door, "/user", 400, id=True, name="x", token="1")
    await say(door, "/room", 400, id=1, name="x", type="circle", users=[], token="1")


async def test_platforms_are_listed_with_their_users_while_they_are_down(door: Door) -> None:
    tokens = await three(door)
    await say(door, "/user", id=17, name="Ana", token=tokens["net core"])
    listed = (await door.ask("GET", "/platforms"))["platforms"]
    by_name = {each["name"]: each for each in listed}
    assert set(by_name) == {"GWT_CHAT", "net core", "BuasApp", OWN}
    assert by_name["net core"]["users"] == [{"id": 17, "name": "Ana", "platform": "net core"}]
    assert by_name["net core"]["supportAudio"] == "False"
    assert (by_name["BuasApp"]["state"], by_name["BuasApp"]["pending"]) == ("up", 1)


async def test_ping_answers_as_it_did_and_wakes_the_lane_of_who_calls(door: Door) -> None:
    token = await legacy(door, "BuasApp")
    platform = await door.node.registry.find("BuasApp")
    with door.node.notifier.listen(platform.id) as listener:
        for method in ("GET", "POST"):
            answer = await door.ask(method, f"/ping?token={token}")
            assert answer == {"status": "ok", "message": 'Sent "pong" to all platforms'}
        assert listener.take_poke()


# --- ids, retries, states --------------------------------------------------------------------------


async def test_the_same_id_again_is_answered_the_same_and_nothing_is_sent(door: Door) -> None:
    tokens = await three(door)
    said: Json = {"roomOriginalPlatform": "BuasApp", "roomId": 9, "senderId": 1, "text": "once", "id": "m-1"}
    asked: Json = {"json": {**said, "token": tokens["BuasApp"]}, "headers": {"Accept": "application/json"}}
    answers = [await door.ask("POST", "/message", 200, **asked) for _ in range(3)]
    assert answers == [{"id": "m-1", "status": "queued", "deliveries": 2}] * 3
    assert [kind for kind, _ in await inbox(door, "GWT_CHAT")] == ["user.created", "message.created"]
    await say(door, "/message", 409, **{**said, "text": "other", "token": tokens["BuasApp"]})


async def test_senders_at_the_same_time_leave_one_order_and_no_double(door: Door) -> None:
    tokens = await three(door)
    said: Json = {"roomOriginalPlatform": "BuasApp", "roomId": 9, "senderId": 1, "token": tokens["BuasApp"]}
    twice = [str(n) for n in range(20)] * 2
    await asyncio.gather(*(say(door, "/message", **said, text=text, id=f"m-{text}") for text in twice))
    ours, theirs = await inbox(door, "GWT_CHAT"), await inbox(door, "net core")
    texts = [data["text"] for kind, data in ours if kind == "message.created"]
    assert sorted(texts, key=int) == [str(n) for n in range(20)]
    assert texts == [data["text"] for kind, data in theirs if kind == "message.created"]
    assert [kind for kind, _ in ours].count("user.created") == 1


async def test_a_message_tells_where_it_is(door: Door) -> None:
    tokens = await three(door)
    pull = await register(door, "Fourth")
    users = [{"Fourth": ["f"]}, {"GWT_CHAT": ["bob"]}]
    await say(door, "/room", id=5, name="Trip", type="group", users=users, token=tokens["BuasApp"])
    await say(door, "/message", roomId=5, senderId=1, text="hi", id="m-1", token=tokens["BuasApp"])
    state = await door.ask("GET", "/messages/m-1", token=tokens["BuasApp"])
    assert [(each["platform"], each["state"]) for each in state["deliveries"]] == [
        ("Fourth", "queued"), ("GWT_CHAT", "queued"),
    ]  # fmt: skip
    events = await door.ask("GET", "/events", token=pull)
    await door.ask("GET", f"/events?after={events['next']}", token=pull)
    state = await door.ask("GET", "/messages/m-1", token=tokens["BuasApp"])
    assert state["deliveries"][0] == {"platform": "Fourth", "state": "delivered", "reason": None}
    await door.ask("GET", "/messages/m-1", 404, token=tokens["GWT_CHAT"])


# --- pull ------------------------------------------------------------------------------------------


async def test_events_are_confirmed_by_asking_for_what_comes_after(door: Door) -> None:
    tokens, pull = await three(door), await register(door, "Fourth")
    for n in range(3):
        await say(door, "/user", id=n, name=f"u{n}", token=tokens["BuasApp"])
    first = await door.ask("GET", "/events?limit=2", token=pull)
    assert [event["data"]["id"] for event in first["events"]] == [0, 1]
    assert await door.ask("GET", "/events?limit=2", token=pull) == first, "not confirmed: told again"
    second = await door.ask("GET", f"/events?after={first['next']}", token=pull)
    assert [event["data"]["id"] for event in second["events"]] == [2]
    last = await door.ask("GET", f"/events?after={second['next']}", token=pull)
    assert last == {"events": [], "next": second["next"]}
    assert await door.ask("GET", "/events", token=pull) == last
    await door.ask("GET", "/events?after=99", 400, token=pull)


async def test_who_waits_is_answered_when_something_comes(door: Door) -> None:
    tokens, pull = await three(door), await register(door, "Fourth")
    waiting = asyncio.ensure_future(door.ask("GET", "/events?wait=30", token=pull))
    await until(lambda: door.node.notifier._listeners)
    async with asyncio.timeout(10):
        await say(door, "/user", id=1, name="Ana", token=tokens["BuasApp"])
        answer = await waiting
    assert [event["type"] for event in answer["events"]] == ["user.created"]


async def test_who_waits_does_not_hold_up_the_end_of_the_server(door: Door) -> None:
    pull = await register(door, "Fourth")
    waiting = [asyncio.ensure_future(door.ask("GET", "/events?wait=30", token=pull)) for _ in range(2)]
    await until(lambda: len(door.node.pulling._waiting) >= 2)
    async with asyncio.timeout(10):
        door.node.pulling.close()
        assert [each["events"] for each in await asyncio.gather(*waiting)] == [[], []]
        assert (await door.ask("GET", "/events?wait=30", token=pull))["events"] == []


async def test_a_platform_that_is_told_does_not_pull(door: Door) -> None:
    await door.ask("GET", "/events", 409, token=await legacy(door, "BuasApp"))


# --- Recado's own users ----------------------------------------------------------------------------


async def test_a_room_is_a_topic_for_our_users_and_what_they_write_goes_out(door: Door) -> None:
    tokens = await three(door)
    users = [{"GWT_CHAT": ["bob"]}, {OWN: ["ana"]}]
    await say(door, "/room", id=5, name="Trip", type="private", users=users, token=tokens["BuasApp"])
    await say(door, "/message", roomId=5, senderId=1, text="ciao", token=tokens["BuasApp"])
    ana = await door.token("ana")
    topic = "BuasApp%253A5"
    history = await door.ask("GET", f"/api/v1/topics/{topic}/messages", token=ana)
    assert [(each["user_source"], each["content"]) for each in history["messages"]] == [("BuasApp%2F1", "ciao")]
    await door.ask("POST", f"/api/v1/topics/{topic}/messages", 201, token=ana, json={"content": "hola"})
    at, message = await last_of(door, "BuasApp%3A5")
    for _ in range(2):  # as a lane does that was cut off
        await door.node.integrator.take_own(at, message)
    told = await inbox(door, "BuasApp")
    assert [kind for kind, _ in told] == ["user.created", "message.created"]
    assert told[0][1] == {"id": "ana", "name": "ana", "platform": OWN}
    assert (told[1][1]["senderPlatform"], told[1][1]["text"], told[1][1]["recipients"]) == (OWN, "hola", [])
    others = [data["text"] for kind, data in await inbox(door, "GWT_CHAT") if kind == "message.created"]
    assert others == ["ciao", "hola"]


async def test_a_backend_makes_rooms_for_our_users_and_speaks_for_them_in_the_topic(door: Door) -> None:
    await three(door)
    users = [{"GWT_CHAT": ["bob"]}, {OWN: ["ana"]}]
    await say(door, "/room", id="all", name="All", type="public", users=users, token=OWN)
    assert [kind for kind, _ in await inbox(door, "GWT_CHAT")] == ["user.created", "room.created"]
    await say(door, "/message", 400, roomId="all", senderId="ana", text="who would see it here?", token=OWN)
    said: Json = {"content": "hola", "sender": "ana"}
    await door.ask("POST", "/api/v1/topics/recado%253Aall/messages", 201, json=said)
    await door.node.integrator.take_own(*await last_of(door, "recado%3Aall"))
    assert (await inbox(door, "GWT_CHAT"))[-1][1]["text"] == "hola"


async def test_what_came_from_a_platform_is_not_told_again(door: Door) -> None:
    tokens = await three(door)
    await say(door, "/room", id=5, name="T", type="group", users=[{"GWT_CHAT": ["b"]}], token=tokens["BuasApp"])
    await say(door, "/message", roomId=5, senderId=1, text="ciao", token=tokens["BuasApp"])
    before = await inbox(door, "GWT_CHAT")
    await door.node.integrator.take_own(*await last_of(door, "BuasApp%3A5"))
    assert await inbox(door, "GWT_CHAT") == before


async def test_no_user_of_ours_can_have_a_name_from_outside(door: Door) -> None:
    token = (await door.ask("POST", "/api/v1/tokens", 201, json={"user": "BuasApp%2F1"}))["token"]
    assert (await door.tokens.verify(token)).user == "BuasApp%252F1"
    await door.ask("PUT", "/api/v1/topics/general/members/BuasApp%252F1", 400)
    topic = {"topic_name": "BuasApp%3A5", "user": "ana", "is_private": False}
    await door.ask("POST", "/api/v1/topics", 400, json=topic)


async def test_a_rooms_topic_that_was_deleted_is_made_again_with_the_room(door: Door) -> None:
    tokens = await three(door)
    room: Json = {"id": 5, "name": "T", "type": "private", "users": [{OWN: ["ana"]}], "token": tokens["BuasApp"]}
    await say(door, "/room", **room)
    await door.ask("DELETE", "/api/v1/topics/BuasApp%253A5", 204)
    await say(door, "/room", **room)
    await say(door, "/message", roomId=5, senderId=1, text="ciao", token=tokens["BuasApp"])
    history = await door.ask("GET", "/api/v1/topics/BuasApp%253A5/messages", token=await door.token("ana"))
    assert [each["content"] for each in history["messages"]] == ["ciao"]


async def test_who_was_only_mentioned_by_others_is_not_missed_in_a_list(door: Door) -> None:
    """Else any platform could stop the imports of another, by naming users that it never had."""
    tokens = await three(door)
    await say(door, "/user", id=1, name="Ana", token=tokens["BuasApp"])
    users = [{"BuasApp": ["x", "y", "z"]}]
    await say(door, "/room", id="r", name="R", type="group", users=users, token=tokens["GWT_CHAT"])
    said: Json = {"roomOriginalPlatform": "GWT_CHAT", "roomId": "r", "senderId": "x", "text": "?"}
    await say(door, "/message", **said, token=tokens["BuasApp"])
    platform = await door.node.registry.find("BuasApp")
    async with door.node.platforms.acceptance() as acceptance:
        assert await acceptance.absences(platform.id) == {"1": 0}


async def test_a_room_has_so_many_members_and_no_more(door: Door) -> None:
    tokens = await three(door)
    users = [{"GWT_CHAT": list(range(2001))}]
    await say(door, "/room", 400, id=5, name="All", type="group", users=users, token=tokens["BuasApp"])


# --- operators -------------------------------------------------------------------------------------


async def test_a_secret_is_told_once_and_rotated(door: Door) -> None:
    made = await door.ask("POST", "/platforms", 201, json={"name": "Hook", "url": "https://chat.example/hook"})
    assert made["secret"].startswith("whsec_")
    await door.ask("POST", "/platforms", 409, json={"name": "Hook"})
    await door.ask("POST", "/platforms", 409, json={"name": OWN})
    rotated = await door.ask("POST", "/platforms/Hook/rotate")
    assert (await door.node.registry.find("Hook")).secrets == (rotated["secret"], made["secret"])
    changed = await door.ask("PATCH", "/platforms/Hook", json={"style": "pull"})
    assert (changed["style"], changed["url"]) == ("pull", None)
    await door.ask("DELETE", "/platforms/Hook", 204)
    await door.ask("POST", "/platforms/Hook/rotate", 404)


async def test_another_address_is_not_the_one_that_the_operators_file_vouched_for(door: Door, tmp_path: Path) -> None:
    file = tmp_path / "platforms.json"
    file.write_text('[{"name": "Buas", "token": "3333", "endpoint": "http://10.0.0.7/api/"}]')
    await door.node.registry.load(file)
    await door.ask("PATCH", "/platforms/Buas", json={"supportAudio": True})
    assert (await door.node.registry.find("Buas")).trusted
    await door.ask("PATCH", "/platforms/Buas", json={"url": "http://169.254.169.254/"})
    assert not (await door.node.registry.find("Buas")).trusted


@pytest.mark.parametrize("url", ["", "ftp://x/", "http://", "http://u:p@x/", "//x", "http://x/#a"])
async def test_an_address_that_can_not_be_one_is_refused(door: Door, url: str) -> None:
    await door.ask("POST", "/platforms", 400, json={"name": "Hook", "style": "webhook", "url": url})


async def test_imported_users_are_introduced_before_their_first_message(door: Door) -> None:
    tokens = await three(door)
    buas = await door.node.registry.find("BuasApp")
    await door.node.integrator.import_users(buas, Diff(changed=(Listed(1, "Ana"), Listed(2, "Bea"))))
    assert await inbox(door, "GWT_CHAT") == [], "the first import is told to nobody"
    said = IncomingMessage(room_platform="BuasApp", room=9, sender=1, text="hi")
    await door.node.integrator.take_message(await door.node.registry.find("BuasApp"), said)
    told = await inbox(door, "GWT_CHAT")
    assert told[0] == ("user.created", {"id": 1, "name": "Ana", "platform": "BuasApp"})
    again = await door.node.registry.find("BuasApp")
    await door.node.integrator.import_users(again, Diff(changed=(Listed(3, "Eva"),), removed=("1",)))
    assert [kind for kind, _ in await inbox(door, "GWT_CHAT")][2:] == ["user.created", "user.removed"]
    assert [each["id"] for each in (await door.ask("GET", "/users"))["users"]["BuasApp"]] == [2, 3]
    assert tokens


async def test_who_spoke_before_the_first_import_is_told_by_its_name_then(door: Door) -> None:
    tokens = await three(door)
    said: Json = {"roomOriginalPlatform": "BuasApp", "roomId": 9, "senderId": 1, "text": "hi"}
    await say(door, "/message", **said, token=tokens["BuasApp"])
    buas = await door.node.registry.find("BuasApp")
    await door.node.integrator.import_users(buas, Diff(changed=(Listed(1, "Ana"), Listed(2, "Bea"))))
    assert [(kind, data["name"]) for kind, data in await inbox(door, "GWT_CHAT") if "user" in kind] == [
        ("user.created", "1"), ("user.updated", "Ana"),
    ]  # fmt: skip
