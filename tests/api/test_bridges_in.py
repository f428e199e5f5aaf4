"""Bridges in, by REST: they stand in the same register as bridges out, and what they gave up gets another try."""

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from messaging.errors import Conflict
from messaging.store.bridges import DeadLetter
from support.doors import Door
from support.waiting import until

LETTERS = "/api/v1/dead-letters"


async def known(door: Door) -> int:
    return await door.node.bridge_store.register_inlet("orders", "test")


def came(number: int, content: str, *, topic: str = "shop", sender: str = "nats", **more: Any) -> DeadLetter:
    fields = {"reason": "no", "came_by": "orders.new", **more}
    return DeadLetter(
        bridge="orders", topic=topic, topic_id=0, seq=number, sender=sender, content=content, sent_at=None, **fields
    )


async def buried(door: Door, *letters: DeadLetter) -> list[Any]:
    for letter in letters:
        await door.node.bridge_store.bury(letter)
    found: list[Any] = await door.ask("GET", LETTERS)
    return found


async def replayed(door: Door, bridge: str = "orders", **wish: Any) -> Any:
    return await door.ask("POST", f"{LETTERS}/replay", 202, json={"bridge": bridge, **wish})


async def contents(door: Door, topic: str) -> list[Any]:
    page = await door.ask("GET", f"/api/v1/topics/{topic}/messages")
    return [(each["user_source"], each["content"]) for each in page["messages"]]


# --- the register -----------------------------------------------------------------------------------------------------


async def test_both_directions_stand_in_one_list(door: Door) -> None:
    await known(door)
    await door.node.bridge_store.register("shops", "test", "%")
    found = await door.ask("GET", "/api/v1/bridges")
    assert [(each["name"], each["direction"], each["lag"]) for each in found] == [
        ("orders", "in", None), ("shops", "out", 0),
    ]  # fmt: skip
    assert (await door.ask("GET", "/api/v1/bridges/orders"))["state"] == "up"


async def test_an_inlet_belongs_to_no_topic(door: Door) -> None:
    await known(door)
    await door.ask("POST", "/api/v1/topics", 201, json={"topic_name": "shop", "user": "ana", "is_private": False})
    await known(door)
    members = await door.ask("GET", "/api/v1/topics/shop/members")
    assert [each["username"] for each in members["members"]] == ["ana"]


async def test_how_an_inlet_fares_and_its_pause_outlive_a_start(door: Door) -> None:
    user_id = await known(door)
    await door.node.bridge_store.report(user_id, "failing", "no route", 7)
    await known(door)
    bridge = await door.ask("GET", "/api/v1/bridges/orders")
    assert (bridge["state"], bridge["reason"], bridge["failed_attempts"]) == ("failing", "no route", 7)
    await door.node.bridge_store.report(user_id, "up", None, 0)
    await door.ask("POST", "/api/v1/bridges/orders/pause")
    await known(door)
    assert (await door.ask("GET", "/api/v1/bridges/orders"))["paused"] is True


@pytest.mark.parametrize("what", ["pause", "resume"])
async def test_whoever_waits_for_an_inlet_hears_of_a_pause_and_of_its_end(door: Door, what: str) -> None:
    with door.node.notifier.listen(await known(door)) as listener:
        await door.ask("POST", f"/api/v1/bridges/orders/{what}")
        await listener.wait_for_poke(10)
        assert listener.take_poke()


async def test_a_name_has_one_direction(door: Door) -> None:
    await known(door)
    with pytest.raises(Conflict, match="direction"):
        await door.node.bridge_store.register("orders", "test", "%")
    with pytest.raises(Conflict, match="direction"):
        await door.node.bridge_store.register_inlet("orders", "other")
    await door.node.bridge_store.register("shops", "test", "%")
    with pytest.raises(Conflict, match="direction"):
        await door.node.bridge_store.register_inlet("shops", "test")
    await door.ask("DELETE", "/api/v1/bridges/orders", 204)
    await door.node.bridge_store.register("orders", "test", "%")


# --- its dead letters -------------------------------------------------------------------------------------------------


async def test_what_came_in_goes_to_its_topic_as_it_was_read(door: Door) -> None:
    await known(door)
    letters = await buried(door, came(1, '{"n": 1}'), came(2, '"two"', sender="eva", ttl=3600, topic="@ana"))
    assert [(each["user_source"], each["came_by"], each["replayable"]) for each in letters] == [
        ("nats", "orders.new", True), ("eva", "orders.new", True),
    ]  # fmt: skip
    assert await replayed(door, dry_run=True) == {"count": 2, "refused": []}
    assert await replayed(door) == {"count": 2, "refused": []}
    assert await contents(door, "shop") == [("nats", {"n": 1})]
    assert await contents(door, "@ana") == [("eva", "two")]
    assert await door.ask("GET", LETTERS) == []


async def test_a_replay_of_what_came_in_is_harmless_to_repeat(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a crash between the topic's log and the end of the letter."""
    await known(door)
    await buried(door, came(1, "1"))
    unearth = door.node.bridge_store.unearth
    monkeypatch.setattr(door.node.bridge_store, "unearth", lambda ids: asyncio.sleep(0))
    assert (await replayed(door))["count"] == 1
    monkeypatch.setattr(door.node.bridge_store, "unearth", unearth)
    assert (await replayed(door))["count"] == 1
    assert await contents(door, "shop") == [("nats", 1)]


async def test_what_can_not_be_stored_stays_and_says_why(door: Door) -> None:
    await known(door)
    letters = await buried(
        door,
        came(1, '"shown \\\\xff"', sender="", reason="It is not JSON."),
        came(2, '"an older one"', came_by=None),
        came(3, f'"{"x" * 70_000}"'),
        came(4, '"to nowhere"', topic="a//b"),
        came(5, '"fine"'),
    )
    ids = [each["id"] for each in letters]
    assert [each["replayable"] for each in letters] == [False, False, True, True, True]
    done = await replayed(door, ids=ids)
    assert done["count"] == 1
    reasons = {each["id"]: each["reason"] for each in done["refused"]}
    for id_, words in zip(ids, ["not JSON", "an older Recado", "the most is", "'a//b'"], strict=False):
        assert words in reasons[id_]
    assert [each["id"] for each in await door.ask("GET", LETTERS)] == ids[:4]
    assert await contents(door, "shop") == [("nats", "fine")]


async def test_letters_that_can_have_no_second_try_do_not_stand_before_those_that_can(door: Door) -> None:
    await known(door)
    await buried(door, *(came(number, '"shown"', sender="") for number in range(1, 20)), came(99, '"fine"'))
    assert await replayed(door) == {"count": 1, "refused": []}


async def test_a_forgotten_inlets_letters_can_still_be_replayed(door: Door) -> None:
    await known(door)
    await buried(door, came(1, "1"))
    await door.ask("DELETE", "/api/v1/bridges/orders", 204)
    assert (await replayed(door))["count"] == 1
    assert await contents(door, "shop") == [("nats", 1)]


# --- the intake -------------------------------------------------------------------------------------------------------


async def given_up(door: Door, database: str) -> int:
    """The id of what the intake gave up, as its topic was deleted before it could be stored."""
    topic = {"topic_name": "shop", "user": "ana", "is_private": False}
    await door.ask("POST", "/api/v1/topics", 201, json=topic)
    connection = await asyncpg.connect(database)
    async with connection.transaction():
        await connection.execute("SELECT recado.publish('shop', 'bank', '{\"paid\": true}', 'k', 3600)")
        await door.ask("DELETE", "/api/v1/topics/shop", 204)
    await connection.close()
    taking = asyncio.create_task(door.node._intake.run())
    letters = await until(lambda: door.ask("GET", f"{LETTERS}?bridge=intake"))
    taking.cancel()
    assert [(each["user_source"], each["replayable"]) for each in letters] == [("bank", True)]
    return int(letters[0]["id"])


async def test_what_the_intake_gave_up_goes_to_the_topic_that_has_its_name_now(door: Door, database: str) -> None:
    await given_up(door, database)
    await door.ask("POST", "/api/v1/topics", 201, json={"topic_name": "shop", "user": "ana", "is_private": False})
    assert await replayed(door, "intake") == {"count": 1, "refused": []}
    assert await contents(door, "shop") == [("bank", {"paid": True})]
    lives = "SELECT expires_at - sent_at FROM recado.messages"
    connection = await asyncpg.connect(database)
    assert await connection.fetchval(lives) == timedelta(seconds=3600)
    await connection.close()


async def test_what_the_intake_gave_up_makes_no_topic_and_goes_to_no_inbox_instead(door: Door, database: str) -> None:
    letter = await given_up(door, database)
    await door.node.actions.know("shop")
    assert await replayed(door, "intake") == {"count": 0, "refused": [{"id": letter, "reason": "Topic not found"}]}


async def test_the_intake_is_known_before_it_gave_up_anything(door: Door) -> None:
    assert await door.ask("GET", f"{LETTERS}?bridge=intake") == []
    assert await replayed(door, "intake") == {"count": 0, "refused": []}
