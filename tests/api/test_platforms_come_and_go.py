"""Platforms that are registered, forgotten and registered again: the next of a name is another one."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from messaging.settings.settings import SettingsError
from support.doors import Door

TRIP = {"id": 5, "name": "Trip", "users": [{"Old": [1]}, {"New": [2]}, {"recado": ["eve"]}]}


async def register(door: Door, name: str) -> str:
    """A platform that pulls. Its token."""
    return str((await door.ask("POST", "/platforms", 201, json={"name": name}))["token"])


async def say(door: Door, path: str, **body: Any) -> None:
    await door.ask("POST", path, json=body)


async def events(door: Door, token: str) -> list[tuple[str, Any]]:
    """What a platform is told beyond what it has confirmed."""
    news = (await door.ask("GET", "/events", token=token))["events"]
    return [(each["type"], each["data"]) for each in news]


async def a_room(door: Door, kind: str = "private") -> tuple[str, str]:
    """A room of Old in which New and eve are, with one message. The tokens of both platforms."""
    old, new = await register(door, "Old"), await register(door, "New")
    await say(door, "/user", id=1, name="Ana", token=old)
    await say(door, "/room", **TRIP, type=kind, token=old)
    await say(door, "/message", roomId=5, senderId=1, text="for those who are here", token=old)
    return old, new


async def test_what_was_pending_is_not_told_to_the_next_of_this_name(door: Door) -> None:
    old, new = await a_room(door)
    assert "for those who are here" in str(await events(door, new))
    await door.ask("DELETE", "/platforms/New", 204)
    assert await events(door, await register(door, "New")) == []
    await say(door, "/message", roomId=5, senderId=1, text="it is not in the room yet", token=old)


async def test_who_is_registered_again_hears_of_users_before_their_messages(door: Door) -> None:
    old, _ = await a_room(door)
    await door.ask("DELETE", "/platforms/New", 204)
    again = await register(door, "New")
    await say(door, "/room", **TRIP, type="private", token=old)
    await say(door, "/message", roomId=5, senderId=1, text="ciao", token=old)
    news = await events(door, again)
    assert news[0] == ("user.created", {"id": 1, "name": "Ana", "platform": "Old"})
    assert [kind for kind, _ in news[-2:]] == ["room.created", "message.created"]


async def test_a_private_room_is_private_though_its_topic_is_left_over(door: Door) -> None:
    await a_room(door, "public")
    await door.ask("DELETE", "/platforms/Old", 204)
    again = await register(door, "Old")
    await say(door, "/room", **TRIP | {"users": [{"recado": ["bob"]}]}, type="private", token=again)
    standing = await door.node.store.topic_view("Old%3A5")
    assert standing is not None and standing.topic.kind == "private"
    members = await door.node.store.members_page(standing.topic.id, "", 10)
    assert [member.name for member in members] == ["%bridge/recado", "bob"]


async def test_of_those_who_ask_for_a_name_at_once_one_gets_it(door: Door) -> None:
    answers = await asyncio.gather(*(door.http.post(door.url + "/platforms", json={"name": "One"}) for _ in range(4)))
    assert sorted(answer.status for answer in answers) == [201, 409, 409, 409]
    [made] = [await answer.json() for answer in answers if answer.status == 201]
    platform = await door.node.registry.identify(made["token"])
    assert platform.secrets == (made["secret"],)


@pytest.mark.parametrize("url", ["http://[foo", "http://x:99999/", "http://x:port/", "http://\u2100/"])
async def test_an_address_that_can_not_be_read_is_refused(door: Door, url: str) -> None:
    await door.ask("POST", "/platforms", 400, json={"name": "Hook", "url": url})


@pytest.mark.parametrize("name", ["a:b", "a/b", "intake"])
async def test_a_name_leaves_no_doubt_whose_users_rooms_and_dead_letters_there_are(door: Door, name: str) -> None:
    await door.ask("POST", "/platforms", 400, json={"name": name})


async def test_the_file_has_no_platform_of_our_own_style(door: Door, tmp_path: Path) -> None:
    file = tmp_path / "platforms.json"
    file.write_text(json.dumps([{"name": "Mine", "token": "1", "style": "own", "endpoint": "http://127.0.0.1:9/"}]))
    with pytest.raises(SettingsError, match="style"):
        await door.node.registry.load(file)


async def test_a_token_of_any_bytes_is_nobodys(door: Door) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.settings.api_port)
    head = b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nAuthorization: Bearer \xff\xfe\r\n\r\n"
    writer.write(head)
    assert b" 401 " in await reader.readline()
    writer.close()
    await writer.wait_closed()
