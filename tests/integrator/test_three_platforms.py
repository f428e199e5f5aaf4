"""Three platforms of the first integrator's kind and Recado's own users, as processes: everybody hears everybody."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from platforms_support import Fake, fakes, get

from support.programs import Recado, Wscat, recado, wscat
from support.waiting import until

SPEAKERS: dict[str, str | int] = {"GWT_CHAT": "bob", "net core": "7", "BuasApp": 1}
ROOM = [{"GWT_CHAT": ["bob"]}, {"net core": ["7"]}, {"BuasApp": [1]}, {"recado": ["omar"]}]


@dataclass
class Everybody:
    """A server that was started with three platforms in its file."""

    server: Recado
    three: dict[str, Fake]
    file: Path
    rooms: itertools.count[int]

    async def room(self, kind: str = "group") -> int:
        """A new room of BuasApp, with somebody of each platform and of Recado in it."""
        number = next(self.rooms)
        body = {"id": number, "name": "Trip", "type": kind, "users": ROOM}
        assert await self.three["BuasApp"].say(self.server, "room", **body) == "success"
        return number

    async def say(self, name: str, room: int, text: str, **more: Any) -> dict[str, Any]:
        """What the others are to hear of a message of this platform's user."""
        said = {"roomOriginalPlatform": "BuasApp", "roomId": room, "senderId": SPEAKERS[name], "text": text}
        assert await self.three[name].say(self.server, "message", **said, **more) == "success"
        return {**said, "senderPlatform": name}


@pytest.fixture(scope="module")
async def everybody(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Everybody]:
    async with fakes(tmp_path_factory.mktemp("fakes")) as (three, file), recado(PLATFORMS_FILE=str(file)) as server:
        await imported(server, three)
        yield Everybody(server, three, file, itertools.count(5))


async def imported(server: Recado, three: dict[str, Fake]) -> None:
    async def all_there() -> bool:
        users = (await get(server, "/users"))["users"]
        return all(len(users[name]) >= len(fake.users) for name, fake in three.items())

    await until(all_there)


async def test_users_are_imported_at_once(everybody: Everybody) -> None:
    listed = {each["name"]: each for each in (await get(everybody.server, "/platforms"))["platforms"]}
    assert [each["id"] for each in listed["BuasApp"]["users"]] == [1, 2]
    assert [each["id"] for each in listed["GWT_CHAT"]["users"]] == ["bob", "eve"]
    assert (listed["net core"]["supportAudio"], listed["net core"]["supportImage"]) == ("False", "True")
    assert {"omar", "diego"} <= {each["id"] for each in listed["recado"]["users"]}


async def test_everybody_hears_everybody_whoever_speaks(everybody: Everybody) -> None:
    three, server = everybody.three, everybody.server
    async with wscat(server.url_of("omar")) as omar:
        room = await everybody.room()
        topic = f"BuasApp%3A{room}"
        await omar.frame(action="invited", topic_name=topic, user_source="BuasApp")
        for name in SPEAKERS:
            said = await everybody.say(name, room, f"{room} from {name}")
            await heard(three, said)
            await heard_by(omar, topic, said)
        await omar.say(action="message", topic_name=topic, content=f"{room} from recado", id="o-1")
        await omar.frame(action="message", result="ok", id="o-1")
        said = {"roomOriginalPlatform": "BuasApp", "roomId": room, "senderId": "omar", "senderPlatform": "recado"}
        await heard(three, {**said, "text": f"{room} from recado"})
    for name, fake in three.items():
        assert all(told.taken for told in fake.told), f"{name} was told of something that it does not know"
        ours = [text for text in fake.texts() if text.startswith(f"{room} ")]
        assert ours == [f"{room} from {other}" for other in (*SPEAKERS, "recado") if other != name]
        mine = [body for path in ("user", "room") for body in fake.of(path) if body["platform"] == name]
        assert mine == [], "nothing comes back to where it came from"


async def heard(three: dict[str, Fake], said: dict[str, Any]) -> None:
    """Everybody but who spoke has the message: the old fields first, as they always were."""
    for name, fake in three.items():
        if name != said["senderPlatform"]:
            body = await fake.message(said["text"])
            assert list(body)[:5] == ["roomOriginalPlatform", "roomId", "senderId", "senderPlatform", "text"]
            assert said.items() <= body.items()
            assert type(body["senderId"]) is type(said["senderId"]), "an id keeps its JSON type"
            assert body["recipients"] == [SPEAKERS[name]]


async def heard_by(omar: Wscat, topic: str, said: dict[str, Any]) -> None:
    frame = await omar.frame(action="message", topic_name=topic)
    sender = f"{said['senderPlatform'].replace(' ', '%20')}%2F{said['senderId']}"
    assert (frame["content"], frame["user_source"]) == (said["text"], sender)


async def test_what_is_told_is_byte_for_byte_what_it_was(everybody: Everybody) -> None:
    gwt, buas = everybody.three["GWT_CHAT"], everybody.three["BuasApp"]
    await buas.say(everybody.server, "user", id=17, name="Ana «ñ»")
    room = await everybody.room()
    await buas.say(everybody.server, "message", roomId=room, senderId=17, text='"hi" 😀')
    await gwt.message('"hi" 😀')
    users, rooms, messages = ([t for t in gwt.told if t.path == path] for path in ("user", "room", "message"))
    assert '{"id":17,"name":"Ana «ñ»","platform":"BuasApp"}' in [told.text for told in users]
    members = json.dumps(ROOM, separators=(",", ":"))
    assert rooms[-1].text == f'{{"id":{room},"name":"Trip","platform":"BuasApp","users":{members},"type":"public"}}'
    old = f'{{"roomOriginalPlatform":"BuasApp","roomId":{room},"senderId":17,"senderPlatform":"BuasApp",'
    assert messages[-1].text.startswith(old + '"text":"\\"hi\\" 😀",')
    assert messages[-1].headers["content-type"] == "application/json"
    assert {"webhook-id", "webhook-timestamp", "webhook-signature"} <= messages[-1].headers.keys()


@pytest.mark.parametrize("kind", ["private", "group"])
async def test_a_user_is_told_before_anything_of_it_comes(everybody: Everybody, kind: str) -> None:
    """Of users that were imported, too: their import is told to nobody."""
    room = await everybody.room(kind)
    said = [await everybody.say(name, room, f"{room} {kind} {name}") for name in SPEAKERS]
    for name, fake in everybody.three.items():
        await asyncio.gather(*(fake.message(each["text"]) for each in said if each["senderPlatform"] != name))
        known = {(name, user) for user in fake.users}
        for told in fake.told:
            if told.path == "user":
                known.add((told.body["platform"], told.body["id"]))
            elif told.path == "room":
                assert {(of, one) for each in told.body["users"] for of, ids in each.items() for one in ids} <= known
            else:
                assert (told.body["senderPlatform"], told.body["senderId"]) in known


async def test_another_platforms_users_in_a_list_are_not_taken_for_its_own(everybody: Everybody) -> None:
    """BuasApp lists everybody that it knows; a server which knows nobody yet imports that."""
    buas = everybody.three["BuasApp"]
    await everybody.three["GWT_CHAT"].say(everybody.server, "user", id="new", name="New")
    await buas.until(lambda: any(body["id"] == "new" for body in buas.of("user")))
    async with recado(PLATFORMS_FILE=str(everybody.file)) as another:
        await imported(another, everybody.three)
        users = (await get(another, "/users"))["users"]
    assert [each["id"] for each in users["BuasApp"]] == [1, 2]


async def test_ping_is_answered_as_it_was(everybody: Everybody) -> None:
    answer = await get(everybody.server, "/ping")
    assert answer == {"status": "ok", "message": 'Sent "pong" to all platforms'}
