"""Every POST that stores a message honours an Idempotency-Key, and says when it had stored it before."""

from __future__ import annotations

from typing import Any

import pytest

from api.routes import all_routes
from support.doors import Door
from support.log import connected

POSTS = {route.path: route for route in all_routes() if route.method == "POST"}
# What stores no message that anybody sent, and why asking again is harmless.
OTHERS = {
    "/api/v1/tokens": "a token is no message",
    "/api/v1/tokens/revoke": "revoked is revoked",
    "/api/v1/tickets": "a ticket is no message",
    "/api/v1/login": "a ticket is good once",
    "/api/v1/topics": "a name is taken once",
    "/api/v1/users": "known is known",
    "/user": "an unchanged user is told to nobody",
    "/room": "an unchanged room is told to nobody",
    "/ping": "nothing is stored",
    "/platforms": "a name is taken once",
    "/platforms/{platform}/rotate": "no message",
    "/platforms/{platform}/pause": "paused is paused",
    "/platforms/{platform}/resume": "resumed is resumed",
    "/platforms/{platform}/replay": "each dead letter has a key of its own, and goes",
    "/api/v1/bridges/{bridge}/pause": "paused is paused",
    "/api/v1/bridges/{bridge}/resume": "resumed is resumed",
    "/api/v1/dead-letters/replay": "each dead letter has a key of its own, and goes",
    "/api/v1/dead-letters/drop": "dropped is dropped",
}
STORING = {path: route for path, route in POSTS.items() if "Idempotency-Key" in route.headers}


def test_every_post_stores_with_a_key_or_stores_nothing() -> None:
    assert POSTS.keys() - STORING.keys() == OTHERS.keys()


@pytest.fixture
async def fed(door: Door) -> tuple[Door, str]:
    """A door with what the examples name; and the token of a platform."""
    await door.ask("POST", "/platforms", 201, json={"name": "Other"})
    first = await door.ask("POST", "/platforms", 201, json={"name": "First"})
    room = {"id": 5, "name": "Trip", "type": "public", "users": [{"Other": [1]}], "token": first["token"]}
    await door.ask("POST", "/room", json=room)
    return door, first["token"]


def body_of(path: str, token: str) -> Any:
    example = POSTS[path].example
    if path == "/message":
        return example | {"token": token}
    return [{"topic_name": "general", "content": n} for n in range(2)] if isinstance(example, list) else example


async def stored(door: Door) -> int:
    async with connected(door.node._dsn) as database:
        return int(await database.fetchval("SELECT count(*) FROM recado.messages"))


@pytest.mark.parametrize("path", STORING)
async def test_what_is_asked_again_is_stored_once_and_said_to_be_a_repetition(fed: tuple[Door, str], path: str) -> None:
    door, token = fed
    where = path.replace("{topic}", "general").replace("{shop_id}", "3c6e0b8a-9c15-424a-8d1e-1f2a3b4c5d6e")
    before, replayed, counts = await stored(door), [], []
    for key in ("one", "one", "x" * 128, "x" * 128):
        async with door.send("POST", where, json=body_of(path, token), headers={"Idempotency-Key": key}) as answer:
            assert answer.status in (200, 201), await answer.text()
            replayed.append(answer.headers.get("Idempotent-Replayed"))
            counts.append(await stored(door) - before)
    assert replayed == [None, "true", None, "true"]
    assert 0 < counts[0] == counts[1] < counts[2] == counts[3]


async def test_an_item_of_a_batch_keeps_its_own_id(fed: tuple[Door, str]) -> None:
    door, _ = fed
    items = [{"topic_name": "general", "content": 1, "id": "mine"}, {"topic_name": "general", "content": 2}]
    await door.ask("POST", "/api/v1/messages/batch", json=items, headers={"Idempotency-Key": "whole"})
    one = {"content": 1, "sender": "api"}
    async with door.send(
        "POST", "/api/v1/topics/general/messages", json=one, headers={"Idempotency-Key": "mine"}
    ) as answer:
        assert answer.headers["Idempotent-Replayed"] == "true"


async def test_a_batch_with_something_new_in_it_is_no_repetition(fed: tuple[Door, str]) -> None:
    door, _ = fed
    item = {"topic_name": "general", "content": 1, "id": "mine"}
    await door.ask("POST", "/api/v1/messages/batch", json=[item])
    async with door.send("POST", "/api/v1/messages/batch", json=[item, item | {"id": "other"}]) as answer:
        assert "Idempotent-Replayed" not in answer.headers
