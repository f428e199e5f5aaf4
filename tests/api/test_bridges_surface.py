"""Bridges by REST: what an operator sees, stops, resumes, replays and forgets."""

from typing import Any
from urllib.parse import quote

import pytest

from messaging.store.bridges import DeadLetter
from support.doors import Door


async def known(door: Door) -> None:
    await door.node.bridge_store.register("shops", "test", "updates.%")


async def test_a_bridge_is_seen_with_what_lies_before_it(door: Door) -> None:
    await known(door)
    await door.ask("POST", "/api/v1/topics", 201, json={"topic_name": "updates.a", "user": "ana", "is_private": False})
    await door.ask("POST", "/api/v1/topics/updates.a/messages", 201, json={"content": 1})
    [bridge] = await door.ask("GET", "/api/v1/bridges")
    assert (bridge["name"], bridge["state"], bridge["lag"], bridge["dead_letters"]) == ("shops", "up", 1, 0)
    assert bridge["oldest"] is not None
    assert await door.ask("GET", "/api/v1/bridges/shops") == bridge


async def test_paused_and_resumed(door: Door) -> None:
    await known(door)
    paused = await door.ask("POST", "/api/v1/bridges/shops/pause")
    assert paused["paused"] is True and paused["reason"] == "paused by the operator"
    resumed = await door.ask("POST", "/api/v1/bridges/shops/resume")
    assert resumed["paused"] is False and resumed["reason"] is None


async def test_what_is_not_there_says_so(door: Door) -> None:
    for method, path in [("GET", ""), ("POST", "/pause"), ("POST", "/resume"), ("DELETE", "")]:
        answer = await door.ask(method, f"/api/v1/bridges/nobody{path}", 404)
        assert answer["code"] == "unknown_bridge"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "?bridge=nobody", None),
        ("POST", "/replay", {"bridge": "nobody"}),
        ("POST", "/replay", {"bridge": "nobody", "ids": [1], "dry_run": True}),
        ("POST", "/drop", {"bridge": "nobody", "ids": [1]}),
    ],
)
async def test_the_dead_letters_of_nobody_are_an_error(door: Door, method: str, path: str, body: Any) -> None:
    await known(door)
    answer = await door.ask(method, f"/api/v1/dead-letters{path}", 404, json=body)
    assert answer["code"] == "unknown_bridge"
    empty = path.replace("nobody", "shops")
    await door.ask(method, f"/api/v1/dead-letters{empty}", 202 if "replay" in path else 200,
                   json=body and {**body, "bridge": "shops"})  # fmt: skip


async def test_dead_letters_of_a_forgotten_bridge_are_still_there_to_be_dropped(door: Door) -> None:
    await known(door)
    await door.node.bridge_store.bury(
        DeadLetter(
            bridge="shops", topic="updates.a", topic_id=7, seq=1, sender="ana", content="1", sent_at=None, reason="422"
        )
    )
    await door.ask("DELETE", "/api/v1/bridges/shops", 204)
    [letter] = await door.ask("GET", "/api/v1/dead-letters?bridge=shops")
    wish = {"bridge": "shops", "ids": [letter["id"]]}
    assert await door.ask("POST", "/api/v1/dead-letters/drop", json=wish) == {"count": 1}
    await door.ask("GET", "/api/v1/dead-letters?bridge=shops", 404)


async def test_dead_letters_are_listed_counted_and_sent_again(door: Door) -> None:
    await known(door)
    for seq in (1, 2, 3):
        content = None if seq == 3 else f'{{"n":{seq}}}'
        sent_at = await door.node.store.pool.value("clock")
        await door.node.bridge_store.bury(
            DeadLetter(
                bridge="shops",
                topic="updates.a",
                topic_id=7,
                seq=seq,
                sender="ana",
                content=content,
                sent_at=sent_at,
                reason="422",
            )
        )
    letters = await door.ask("GET", "/api/v1/dead-letters?bridge=shops")
    assert [(each["seq"], each["content"], each["reason"]) for each in letters] == [
        (1, {"n": 1}, "422"), (2, {"n": 2}, "422"), (3, None, "422"),
    ]  # fmt: skip
    wish = {"bridge": "shops", "dry_run": True}
    assert await door.ask("POST", "/api/v1/dead-letters/replay", 202, json=wish) == {"count": 2, "refused": []}
    one = {"bridge": "shops", "ids": [letters[0]["id"], letters[2]["id"], 999]}
    assert await door.ask("POST", "/api/v1/dead-letters/replay", 202, json=one) == {
        "count": 1, "refused": [
            {"id": 999, "reason": "There is no dead letter of this id."},
            {"id": letters[2]["id"], "reason": "It had expired before it could be sent."},
        ],
    }  # fmt: skip
    assert [each["seq"] for each in await door.ask("GET", "/api/v1/dead-letters")] == [2, 3]
    [bridge] = await door.ask("GET", "/api/v1/bridges")
    assert (bridge["lag"], bridge["dead_letters"]) == (1, 2)


async def test_dead_letters_that_nobody_wants_are_dropped(door: Door) -> None:
    await known(door)
    await door.node.bridge_store.bury(
        DeadLetter(
            bridge="shops", topic="updates.a", topic_id=7, seq=1, sender="ana", content="1", sent_at=None, reason="422"
        )
    )
    [letter] = await door.ask("GET", "/api/v1/dead-letters")
    await door.node.bridge_store.register("other", "test", None)
    wish = {"bridge": "other", "ids": [letter["id"]]}
    assert await door.ask("POST", "/api/v1/dead-letters/drop", json=wish) == {"count": 0}
    assert await door.ask("POST", "/api/v1/dead-letters/drop", json={**wish, "bridge": "shops"}) == {"count": 1}
    assert await door.ask("GET", "/api/v1/dead-letters") == []


async def test_forgotten_it_holds_nothing_back(door: Door) -> None:
    await known(door)
    await door.ask("DELETE", "/api/v1/bridges/shops", 204)
    assert await door.ask("GET", "/api/v1/bridges") == []


async def test_a_platforms_bridge_is_forgotten_with_the_platform_alone(door: Door) -> None:
    await door.ask("POST", "/platforms", 201, json={"name": "Fourth"})
    for name in ("Fourth", "recado"):
        answer = await door.ask("DELETE", f"/api/v1/bridges/{name}", 409)
        assert "/platforms" in answer["message"]
    assert [bridge["name"] for bridge in await door.ask("GET", "/api/v1/bridges")] == ["Fourth", "recado"]


async def test_what_nobody_would_read_is_not_replayed(door: Door) -> None:
    """Neither to a bridge that is no more, nor what once came in by a bridge of the same name."""
    await known(door)
    sent_at = await door.node.store.pool.value("clock")
    await door.node.bridge_store.bury(
        DeadLetter(
            bridge="shops",
            topic="updates.a",
            topic_id=0,
            seq=1,
            sender="nats",
            content='"in"',
            sent_at=None,
            reason="no JSON",
        )
    )
    wish = {"bridge": "shops"}
    assert (await door.ask("POST", "/api/v1/dead-letters/replay", 202, json=wish))["count"] == 0
    await door.node.bridge_store.bury(
        DeadLetter(
            bridge="shops",
            topic="updates.a",
            topic_id=7,
            seq=1,
            sender="ana",
            content='"out"',
            sent_at=sent_at,
            reason="422",
        )
    )
    await door.ask("DELETE", "/api/v1/bridges/shops", 204)
    await door.ask("POST", "/api/v1/dead-letters/replay", 404, json=wish)
    await door.node.bridge_store.register_inlet("shops", "test")  # has an inbox, too
    for dry_run in (True, False):
        done = await door.ask("POST", "/api/v1/dead-letters/replay", 202, json={**wish, "dry_run": dry_run})
        assert done["count"] == 0 and "no bridge out" in done["refused"][0]["reason"]
    assert len(await door.ask("GET", "/api/v1/dead-letters")) == 2


@pytest.mark.parametrize("since", ["2026-01-01T00:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
async def test_a_time_of_no_zone_or_that_is_none_in_utc_is_refused(door: Door, since: str) -> None:
    await known(door)
    await door.ask("POST", "/api/v1/dead-letters/replay", 400, json={"bridge": "shops", "since": since})


@pytest.mark.parametrize("path", ["members", "receipts/1"])
async def test_a_page_of_members_may_end_with_a_bridge(door: Door, path: str) -> None:
    await known(door)
    await door.ask("POST", "/api/v1/topics", 201, json={"topic_name": "updates.a", "user": "ana", "is_private": False})
    await door.ask("POST", "/api/v1/topics/updates.a/messages", 201, json={"content": 1})
    first = await door.ask("GET", f"/api/v1/topics/updates.a/{path}?limit=1")
    assert first["next"] == "%bridge/shops"
    rest = await door.ask("GET", f"/api/v1/topics/updates.a/{path}?limit=1&after={quote(first['next'], safe='')}")
    assert [each["username"] for each in rest["members"]] == ["ana"]
