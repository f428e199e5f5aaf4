"""Publishing by REST, reading back, receipts."""

import asyncio
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from support.doors import Door
from support.log import connected
from support.waiting import until

V1 = "/api/v1"
POST = f"{V1}/topics/general/messages"


async def history(door: Door, query: str = "", topic: str = "general") -> Any:
    return await door.ask("GET", f"{V1}/topics/{topic}/messages{query}")


async def until_stored(door: Door, count: int) -> None:
    """Wait until the history has so many messages."""
    await until(lambda: history(door), lambda found: len(found["messages"]) == count)


async def test_a_message_is_stored_and_read_back(door: Door) -> None:
    content = {"text": "hola ☕", "n": 1.0, "nested": [None, True, {"a": "\\u0041"}]}
    answer = await door.ask("POST", POST, 201, json={"content": content})
    assert answer == {"topic_name": "general", "seq": 1}
    found = await history(door)
    [message] = found["messages"]
    sent_at = datetime.fromisoformat(message.pop("sent_at"))
    assert timedelta(0) <= datetime.now(UTC) - sent_at < timedelta(minutes=1)
    assert message == {"seq": 1, "content": content, "user_source": "api"}
    assert found["topic_name"] == "general" and found["more"] is False


async def test_content_is_kept_byte_for_byte(door: Door) -> None:
    raw = b'{"b" : 1.50,\t"a":[1e2, "\\u00e9\\/"],"b":2}'
    await door.ask("POST", POST, 201, data=b'{"content":' + raw + b"}", headers={"Content-Type": "application/json"})
    async with door.send("GET", f"{V1}/topics/general/messages") as response:
        assert raw in await response.read()


async def test_sent_at_is_utc_with_a_z(door: Door) -> None:
    await door.ask("POST", POST, 201, json={"content": 1})
    assert (await history(door))["messages"][0]["sent_at"].endswith("Z")


async def test_a_backend_speaks_for_whom_it_names(door: Door) -> None:
    await door.ask("POST", POST, 201, json={"content": 1, "sender": "shop/7"})
    assert (await history(door))["messages"][0]["user_source"] == "shop/7"


async def test_a_user_is_its_own_sender(door: Door) -> None:
    token = await door.token("ana")
    await door.ask("PUT", f"{V1}/topics/general/members/ana", 201, token=token)
    await door.ask("POST", POST, 201, token=token, json={"content": 1})
    await door.ask("POST", POST, 201, token=token, json={"content": 2, "sender": "ana"})
    assert [each["user_source"] for each in (await history(door))["messages"]] == ["ana", "ana"]


async def test_a_users_name_is_its_inbox(door: Door) -> None:
    await door.node.actions.know("eva")
    for target in ("eva", "%40eva"):
        answer = await door.ask("POST", f"{V1}/topics/{target}/messages", 201, json={"content": 1})
        assert answer["topic_name"] == "@eva"
    assert (await door.ask("GET", f"{V1}/topics/%40eva"))["last_seq"] == 2


async def test_names_with_slash_and_plus(door: Door) -> None:
    path = f"{V1}/topics/a%2Fb%2Bc"
    await door.ask("PUT", path, 201, json={"owner": "u/v+w"})
    assert (await door.ask("GET", path))["topic_name"] == "a/b+c"
    assert (await door.ask("POST", f"{path}/messages", 201, json={"content": 1}))["topic_name"] == "a/b+c"
    assert (await door.ask("GET", f"{path}/messages"))["messages"][0]["seq"] == 1
    await door.ask("PUT", f"{path}/members/u%2fx", 201)
    members = (await door.ask("GET", f"{path}/members"))["members"]
    assert [member["username"] for member in members] == ["u/v+w", "u/x"]
    assert (await door.ask("GET", f"{path}/receipts/1"))["members"][0]["username"] == "u/v+w"


# --- idempotency ---------------------------------------------------------------------------------


async def test_a_retry_with_its_key_is_harmless(door: Door) -> None:
    headers = {"Idempotency-Key": "order/17"}
    replayed = []
    for _ in range(3):
        async with door.send("POST", POST, json={"content": {"a": 1}}, headers=headers) as response:
            assert (response.status, (await response.json())["seq"]) == (201, 1)
            replayed.append(response.headers.get("Idempotent-Replayed"))
    assert replayed == [None, "true", "true"]
    assert (await door.ask("POST", POST, 409, json={"content": {"a": 2}}, headers=headers))["code"] == "conflict"
    await door.ask("POST", POST, 201, json={"content": {"a": 2}, "sender": "other"}, headers=headers)
    assert [each["seq"] for each in (await history(door))["messages"]] == [1, 2]


async def test_a_key_is_a_name(door: Door) -> None:
    for key in ["", "a b", "x" * 129, "..", "\xff", '"a"']:
        await door.ask("POST", POST, 400, json={"content": 1}, headers={"Idempotency-Key": key})


async def test_a_message_to_one_user_with_a_key(door: Door) -> None:
    body = {"topic_name": "news", "content": 1, "user": "eva"}
    for _ in range(2):
        await door.ask("POST", f"{V1}/messages", 201, json=body, headers={"Idempotency-Key": "k"})
    assert (await door.ask("GET", f"{V1}/topics/%40eva"))["last_seq"] == 1


async def test_concurrent_retries_store_one(door: Door) -> None:
    headers = {"Idempotency-Key": "k"}
    tries = [door.ask("POST", POST, 201, json={"content": 1}, headers=headers) for _ in range(20)]
    assert {answer["seq"] for answer in await asyncio.gather(*tries)} == {1}


async def test_a_publish_that_takes_too_long_is_unavailable_and_may_be_asked_again(door: Door) -> None:
    door.node.appender._patience = 0.2
    headers = {"Idempotency-Key": "k"}
    async with connected(door.node._dsn) as holder, holder.transaction():
        await holder.execute("SELECT FROM recado.heads FOR UPDATE")
        async with door.send("POST", POST, json={"content": 1}, headers=headers) as response:
            assert response.status == 503 and response.headers["Retry-After"] == "1"
            assert (await response.json())["code"] == "unavailable"
    door.node.appender._patience = 10.0
    assert (await door.ask("POST", POST, 201, json={"content": 1}, headers=headers))["seq"] == 1


async def test_a_peer_that_goes_away_cancels_nothing(door: Door) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", door.settings.api_port)
    body = b'{"content":"still here"}'
    writer.write(
        f"POST {POST} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    await writer.drain()
    writer.close()
    await until_stored(door, 1)


# --- batch ---------------------------------------------------------------------------------------


async def test_a_batch_has_a_result_for_each(door: Door) -> None:
    await door.node.actions.know("eva")
    items = [
        {"topic_name": "general", "content": 1, "id": "a"},
        {"topic_name": "absent", "content": 2},
        {"topic_name": "general", "content": "\0"},
        {"topic_name": "@eva", "content": 4, "sender": "ana"},
        {"topic_name": "general", "content": 1, "id": "a"},
        {"topic_name": "general", "content": 5, "id": "a"},
        {"topic_name": "general", "content": 6},
    ]
    results = await door.ask("POST", f"{V1}/messages/batch", json=items)
    ok = {"result": "ok", "topic_name": "general"}
    assert [result.get("code", result.get("seq")) for result in results] == [
        1, "unknown_topic", "bad_request", 1, 1, "conflict", 2,
    ]  # fmt: skip
    assert results[0] == {**ok, "seq": 1} and results[6] == {**ok, "seq": 2}
    assert results[1] == {"result": "error", "code": "unknown_topic", "message": "Topic not found"}
    assert results[3]["topic_name"] == "@eva"


async def test_a_batch_keeps_its_order(door: Door) -> None:
    items = [{"topic_name": "general", "content": n} for n in range(1000)]
    results = await door.ask("POST", f"{V1}/messages/batch", json=items)
    assert [result["seq"] for result in results] == list(range(1, 1001))


async def test_a_batch_of_nothing_or_of_too_much(door: Door) -> None:
    assert await door.ask("POST", f"{V1}/messages/batch", json=[]) == []
    assert await door.ask("POST", f"{V1}/messages/batch", json=[{"topic_name": "absent", "content": 1}]) == [
        {"result": "error", "code": "unknown_topic", "message": "Topic not found"}
    ]
    items = [{"topic_name": "general", "content": n} for n in range(1001)]
    await door.ask("POST", f"{V1}/messages/batch", 400, json=items)
    large = [{"topic_name": "general", "content": "x" * 60_000}] * 20
    headers = {"Content-Type": "application/json"}
    body = io.BytesIO(json.dumps(large).encode())
    answer = await door.ask("POST", f"{V1}/messages/batch", 413, data=body, headers=headers)
    assert answer["code"] == "too_large"
    fits = await door.ask("POST", f"{V1}/messages/batch", json=large[:16])
    assert {result["result"] for result in fits} == {"ok"}


# --- history and receipts ------------------------------------------------------------------------


async def test_receipts_tell_who_has_a_message(door: Door) -> None:
    for user in ("ana", "eva", "zoe"):
        await door.ask("PUT", f"{V1}/topics/general/members/{user}", 201)
    await door.ask("POST", POST, 201, json={"content": "a"})
    await door.ask("PUT", f"{V1}/topics/general/members/late", 201)
    await door.ask("GET", f"{V1}/messages?user=eva")
    confirmation = {"messages": [{"topic_name": "general", "content": "a"}], "user": "eva"}
    await door.ask("PUT", f"{V1}/messages", json=confirmation)
    path = f"{V1}/topics/general/receipts/1"
    assert await door.ask("GET", path) == {
        "topic_name": "general", "seq": 1, "next": None, "members": [
            {"username": "ana", "received": False},
            {"username": "eva", "received": True},
            {"username": "zoe", "received": False},
        ],
    }  # fmt: skip
    first = await door.ask("GET", f"{path}?limit=2")
    assert first["next"] == "eva"
    rest = await door.ask("GET", f"{path}?limit=2&after={first['next']}")
    assert rest["next"] is None and [each["username"] for each in rest["members"]] == ["zoe"]
    await door.ask("GET", f"{V1}/topics/general/receipts/2", 400)


async def test_a_seq_is_a_seq(door: Door) -> None:
    for seq in ["0", "-1", "x", "1.5", str(2**53), "9" * 400, "%00"]:
        await door.ask("GET", f"{V1}/topics/general/receipts/{seq}", 400)


async def test_large_content_up_to_the_limit(door: Door) -> None:
    limit = door.settings.max_frame
    await door.ask("POST", POST, 201, json={"content": "x" * (limit - 2)})
    assert (await door.ask("POST", POST, 400, json={"content": "x" * (limit - 1)}))["code"] == "bad_request"
    assert (await door.ask("POST", POST, 413, json={"content": "x" * (2 * limit)}))["code"] == "too_large"

    async def pieces() -> Any:
        yield b'{"content":"'
        for _ in range(100):
            yield b"x" * 1024
        yield json.dumps("y").encode()

    headers = {"Content-Type": "application/json"}
    assert (await door.ask("POST", POST, 413, data=pieces(), headers=headers))["code"] == "too_large"


async def test_a_node_that_is_full_says_so_for_each(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("messaging.log.appender.WAITING_BYTES", 0)
    items = [{"topic_name": "general", "content": n} for n in range(2)]
    results = await door.ask("POST", f"{V1}/messages/batch", json=items)
    assert [result["code"] for result in results] == ["unavailable"] * 2
    assert (await door.ask("POST", POST, 503, json={"content": 1}))["code"] == "unavailable"
