"""EzOut's surface: what its backends send, and get back, byte for byte."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.routes.legacy.ezout import content_of, read_news
from api.routes.legacy.pydantic_compat import Invalid
from support.doors import KEY, Door

_LONG = "9" * 5000  # digits; Python makes no int of so many
SHOP = "3c6e0b8a-9c15-424a-8d1e-1f2a3b4c5d6e"
TOPIC = f"updates.store.{SHOP}"
EVENT: dict[str, Any] = {
    "session_id": "8F14E45F-CEEA-467F-A8E0-9A1B2C3D4E5F",
    "shop_id": "{" + SHOP + "}",
    "shopper_id": "0cc175b9c0f146b6831c399e26977266",
    "action_id": 1,
    "create_time": "2023-12-18T10:30:00Z",
    "action": "add",
    "product_name": "Caffè",
    "product_id": 2,
    "product_price": 3,
    "UPC": "012",
    "category_id": "c",
    "basket_total": 12.5,
}
# What a subscriber of the first EzOut got for EVENT, as it was run.
GOLDEN = (
    '{"session_id": "8f14e45f-ceea-467f-a8e0-9a1b2c3d4e5f", "shop_id": "3c6e0b8a-9c15-424a-8d1e-1f2a3b4c5d6e", '
    '"shopper_id": "0cc175b9-c0f1-46b6-831c-399e26977266", "action_id": 1, "create_time": "2023-12-18 10:30:00+00:00", '
    '"action": "add", "product_name": "Caff\\u00e8", "product_id": 2, "product_price": 3.0, "UPC": "012", '
    '"category_id": "c", "basket_total": 12.5}'
)


async def post(door: Door, event: Any, status: int = 200, shop: str = SHOP, **options: Any) -> Any:
    return await door.ask("POST", f"/publish/{shop}", status, json=event, **options)


async def stored(door: Door, topic: str = TOPIC) -> list[str]:
    """The contents of a topic, byte for byte."""
    found = await door.node.store.topic_view(topic)
    if found is None:
        return []
    messages = await door.node.store.history(found.topic.id, 0, 1000, 100, None, newest=False)
    return [message.content for message in messages]


def content(**values: Any) -> str:
    """What is stored of an event with these values. Raises Invalid."""
    return content_of(read_news(SHOP, json.dumps(EVENT | values).encode())[1]).decode()


async def test_what_is_stored_is_what_subscribers_always_got(door: Door) -> None:
    async with door.send("POST", f"/publish/{SHOP.upper()}", json={"extra": [1], **EVENT}) as response:
        assert response.status == 200
        assert await response.text() == f'{{"status":"Message sent to shop ID {SHOP}"}}'
    assert await stored(door) == [GOLDEN]
    found = await door.node.store.topic_view(TOPIC)
    assert found is not None and found.topic.kind == "public"
    [message] = (await door.ask("GET", f"/api/v1/topics/{TOPIC}/messages"))["messages"]
    assert message["user_source"] == "publish"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("2023-12-18 10:30:00.123456789+05:30", "2023-12-18 10:30:00.123456+05:30"),
        ("2023-12-18T10:30", "2023-12-18 10:30:00"),
        ("2023-12-18", "2023-12-18 00:00:00"),
        ("2023-12-18t10:30:00,5-0000", "2023-12-18 10:30:00.500000+00:00"),
        (1702895400, "2023-12-18 10:30:00+00:00"),
        (1702895400.25, "2023-12-18 10:30:00.250000+00:00"),
        (1702895400123, "2023-12-18 10:30:00.123000+00:00"),
        ("1702895400", "2023-12-18 10:30:00+00:00"),
        (-1, "1969-12-31 23:59:59+00:00"),
    ],
)
def test_times_are_taken_as_they_were(given: Any, said: str) -> None:
    assert json.loads(content(create_time=given))["create_time"] == said


@pytest.mark.parametrize(
    ("field", "given", "said"),
    [
        ("action_id", " 7.0 ", "7"),
        ("action_id", True, "1"),
        ("product_id", 10**30, str(10**30)),
        ("product_id", 2.0, "2"),
        ("product_price", "1e3", "1000.0"),
        ("product_price", True, "1.0"),
        ("basket_total", 0.1, "0.1"),
        ("basket_total", "1_000.5", "1000.5"),
    ],
)
def test_numbers_are_taken_as_they_were(field: str, given: Any, said: str) -> None:
    assert f'"{field}": {said}' in content(**{field: given})


@pytest.mark.parametrize(
    ("field", "given", "kind", "text"),
    [
        ("UPC", 12, "string_type", "Input should be a valid string"),
        ("UPC", "a\0", "string_nul", "Input should be a string without the character NUL"),
        ("action", None, "string_type", "Input should be a valid string"),
        ("action_id", 1.5, "int_from_float", "Input should be a valid integer, got a number with a fractional part"),
        ("action_id", 1e19, "int_parsing_size", "Unable to parse input string as an integer, exceeded maximum size"),
        ("action_id", _LONG, "int_parsing_size", "Unable to parse input string as an integer, exceeded maximum size"),
        ("create_time", _LONG, "datetime_parsing",
         "Input should be a valid datetime, dates after 9999 are not supported as unix timestamps"),
        ("action_id", "x", "int_parsing", "Input should be a valid integer, unable to parse string as an integer"),
        ("product_id", [], "int_type", "Input should be a valid integer"),
        ("product_price", "x", "float_parsing", "Input should be a valid number, unable to parse string as a number"),
        ("product_price", None, "float_type", "Input should be a valid number"),
        ("product_price", "nan", "float_parsing", "Input should be a valid number, unable to parse string as a number"),
        ("basket_total", "1e999", "finite_number", "Input should be a finite number"),
        ("basket_total", 10**309, "float_type", "Input should be a valid number"),
        ("create_time", None, "datetime_type", "Input should be a valid datetime"),
        ("create_time", True, "datetime_type", "Input should be a valid datetime"),
        ("create_time", "x", "datetime_from_date_parsing",
         "Input should be a valid datetime or date, input is too short"),
        ("create_time", "2023-02-30", "datetime_from_date_parsing",
         "Input should be a valid datetime or date, day value is outside expected range"),
        ("create_time", "2023-12-18T25:00", "datetime_from_date_parsing",
         "Input should be a valid datetime or date, unexpected extra characters at the end of the input"),
        ("create_time", 1e20, "datetime_parsing",
         "Input should be a valid datetime, dates after 9999 are not supported as unix timestamps"),
        ("session_id", 5, "uuid_type", "UUID input should be a string, bytes or UUID object"),
        ("session_id", "x", "uuid_parsing", "Input should be a valid UUID, invalid character: found `x` at 0"),
        ("shopper_id", EVENT["session_id"][:-1], "uuid_parsing",
         "Input should be a valid UUID, invalid group length in group 4: expected 12, found 11"),
        ("shop_id", "8f14e45f-ceea-167f-a8e0-9a1b2c3d4e5f", "uuid_version", "UUID version 4 expected"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_as_it_was(field: str, given: Any, kind: str, text: str) -> None:
    with pytest.raises(Invalid) as refused:
        content(**{field: given})
    [found] = json.loads(refused.value.body())["detail"]
    assert (found["type"], found["loc"], found["msg"], found["input"]) == (kind, ["body", field], text, given)


async def test_all_that_is_wrong_is_said_at_once_the_path_first(door: Door) -> None:
    answer = await post(door, {"action": 1}, 422, shop="x")
    assert answer["detail"][0] == {
        "type": "uuid_parsing", "loc": ["path", "shop_id"], "input": "x",
        "msg": "Input should be a valid UUID, invalid character: found `x` at 0",
        "ctx": {"error": "invalid character: found `x` at 0"},
    }  # fmt: skip
    assert answer["detail"][1] == {
        "type": "missing", "loc": ["body", "session_id"], "msg": "Field required", "input": {"action": 1},
    }  # fmt: skip
    assert len(answer["detail"]) == 13


NO_OBJECTS = [
    (b"", "missing", ["body"]),
    (b"{", "json_invalid", ["body", 1]),
    (b'{"a":1,}', "json_invalid", ["body", 7]),
    (b"\xff", "json_invalid", ["body", 0]),
    (b'{"a":' + b"9" * 5000 + b"}", "json_invalid", ["body", 0]),
    (b"[" * 3000, "json_invalid", ["body", 0]),
    (b"null", "model_attributes_type", ["body"]),
    (b"[1]", "model_attributes_type", ["body"]),
]


@pytest.mark.parametrize("path", [f"/publish/{SHOP}", "/send"], ids=["publish", "send"])
async def test_what_is_no_object_is_refused_in_that_shape_too(door: Door, path: str) -> None:
    for body, kind, loc in NO_OBJECTS:
        answer = await door.ask("POST", path, 422, data=body, headers={"Content-Type": "application/json"})
        [found] = answer["detail"]
        assert (found["type"], found["loc"]) == (kind, loc)


async def test_a_value_without_json_does_not_break_the_answer(door: Door) -> None:
    body = json.dumps(EVENT | {"UPC": "\ud800", "action_id": float("nan")}).encode()
    answer = await door.ask("POST", f"/publish/{SHOP}", 422, data=body, headers={"Content-Type": "application/json"})
    assert [each["type"] for each in answer["detail"]] == ["finite_number", "string_unicode"]


async def test_a_retry_with_its_key_is_harmless(door: Door) -> None:
    for _ in range(2):
        await post(door, EVENT, headers={"Idempotency-Key": "k1"})
    await post(door, EVENT | {"UPC": "other"}, 409, headers={"Idempotency-Key": "k1"})
    assert await stored(door) == [GOLDEN]


async def test_who_subscribes_first_makes_the_topic(door: Door) -> None:
    token = await door.token("ana")
    await door.ask("PUT", f"/api/v1/topics/{TOPIC}/members/ana", 201, token=token)
    await post(door, EVENT)
    [members] = [(await door.ask("GET", f"/api/v1/topics/{TOPIC}/members"))["members"]]
    assert [(member["username"], member["role"]) for member in members] == [("ana", "member")]
    other = TOPIC.replace("3c6e", "3c6X")
    await door.ask("PUT", f"/api/v1/topics/{other}/members/ana", 404, token=token)
    await door.ask("PUT", "/api/v1/topics/updates.store.x/members/ana", 404)


async def test_send_goes_to_any_topic_or_user(door: Door) -> None:
    await door.ask("PUT", "/api/v1/topics/news", 201, json={"owner": "ana"})
    answer = await door.ask("POST", "/send", json={"to": "news", "content": {"a": 1}})
    assert answer == {"status": "Message sent to news"}
    await door.ask("POST", "/send", json={"to": TOPIC, "content": "x"})
    await door.ask("POST", "/send", json={"to": "ana", "content": "y"})
    await door.ask("POST", "/send", 404, json={"to": "nothing", "content": 1})
    raw = b'{"content": {"b":  1.50}, "to": "news"}'
    await door.ask("POST", "/send", data=raw, headers={"Content-Type": "application/json"})
    assert await stored(door, "news") == ['{"a": 1}', '{"b":  1.50}']
    assert await stored(door) == ['"x"'] and await stored(door, "@ana") == ['"y"']
    answer = await door.ask("POST", "/send", 422, json={"to": 1})
    assert [(each["type"], each["loc"]) for each in answer["detail"]] == [
        ("string_type", ["body", "to"]), ("missing", ["body", "content"]),
    ]  # fmt: skip


async def test_in_key_mode_a_backend_or_a_token_for_it_makes_a_private_topic(locked: Door) -> None:
    await locked.node.actions.know("till")
    till = locked.tokens.issue("till", payload={"topics": {"write": ["updates.store.*"]}})[0]
    await post(locked, EVENT, token=till)
    await post(locked, EVENT, token=KEY)
    found = await locked.node.store.topic_view(TOPIC)
    assert found is not None and found.topic.kind == "private"
    messages = await locked.node.store.history(found.topic.id, 0, 10, 10, None, newest=False)
    assert [message.sender for message in messages] == ["till", "publish"]
    reader = locked.tokens.issue("ana", payload={"topics": {"read": ["updates.store.*"]}})[0]
    await locked.node.actions.know("ana")
    other = TOPIC.replace("3c6e", "4c6e")
    await locked.ask("PUT", f"/api/v1/topics/{other}/members/ana", 201, token=reader)


async def test_in_open_mode_a_token_names_the_sender_and_narrows(door: Door) -> None:
    token = await door.token("till")
    await post(door, EVENT, token=token)
    narrow = door.tokens.issue("till", payload={"topics": {"write": ["other"]}})[0]
    await post(door, EVENT, 403, token=narrow)
    [message] = (await door.ask("GET", f"/api/v1/topics/{TOPIC}/messages"))["messages"]
    assert message["user_source"] == "till"
