"""Whatever comes in, what goes out is a 4xx with a code; never a 500, never a dead server."""

import asyncio
import time
import zlib
from typing import Any

import pytest

from support.doors import Door
from support.waiting import until

V1 = "/api/v1"
JSON = {"Content-Type": "application/json"}

BODIES: list[tuple[bytes, int, str]] = [
    (b"", 400, "bad_json"),
    (b"{", 400, "bad_json"),
    (b"hello", 400, "bad_json"),
    (b"\xff\xfe", 400, "bad_json"),
    (b"\xef\xbb\xbf{}", 400, "bad_json"),
    (b'{"content":1}x', 400, "bad_json"),
    (b'{"content":NaN}', 400, "bad_json"),
    (b"null", 400, "bad_request"),
    (b"[]", 400, "bad_request"),
    (b"{}", 400, "bad_request"),
    (b"[" * 10_000 + b"]" * 10_000, 400, ""),
    (b'{"content":' + b"[" * 10_000 + b"]" * 10_000 + b"}", 400, "bad_json"),
    (b'{"x":' + b"[" * 10_000 + b"]" * 10_000 + b',"content":1}', 400, "bad_json"),
    (b'{"content":' + b"[" * 65 + b"]" * 65 + b"}", 400, "bad_request"),
    (b'{"content":' + b'{"a":' * 65 + b"1" + b"}" * 65 + b"}", 400, "bad_request"),
    (b'{"content":"a\\u0000b"}', 400, "bad_request"),
    (b'{"content":{"a\\u0000b":1}}', 400, "bad_request"),
    (b'{"content":"a\x00b"}', 400, ""),
    (b'{"content":"\\ud800"}', 400, ""),
    (b'{"content":"\\udc00\\ud800"}', 400, ""),
    (b'{"content":["\\ud83d"]}', 400, ""),
    (b'{"content":"\xff"}', 400, ""),
    (b'{"content":"\xed\xa0\x80"}', 400, ""),
    (b'{"content":1,"ttl":0}', 400, "bad_request"),
    (b'{"content":1,"ttl":-1}', 400, "bad_request"),
    (b'{"content":1,"ttl":31536001}', 400, "bad_request"),
    (b'{"content":1,"ttl":' + b"9" * 5000 + b"}", 400, ""),
    (b'{"content":1,"ttl":1e400}', 400, ""),
    (b'{"content":1,"ttl":1.5}', 400, "bad_request"),
    (b'{"content":1,"ttl":true}', 400, "bad_request"),
    (b'{"content":1,"ttl":"60"}', 400, "bad_request"),
    (b'{"content":1,"sender":""}', 400, "bad_request"),
    (b'{"content":1,"sender":"a b"}', 400, "bad_request"),
    (b'{"content":1,"sender":"a\\u0000"}', 400, "bad_request"),
    (b'{"content":1,"sender":"a\\n"}', 400, "bad_request"),
    (b'{"content":1,"sender":"a/../b"}', 400, "bad_request"),
    (b'{"content":1,"sender":"\xc3\xa9"}', 400, "bad_request"),
    (b'{"content":1,"sender":"' + b"x" * 129 + b'"}', 400, "bad_request"),
    (b'{"content":1,"sender":7}', 400, "bad_request"),
    (b'{"content":1,"sender":["a"]}', 400, "bad_request"),
]


async def test_bodies(door: Door) -> None:
    for body, status, code in BODIES:
        answer = await door.ask("POST", f"{V1}/topics/general/messages", status, data=body, headers=JSON)
        assert answer["code"] == (code or answer["code"]), body[:60]
        assert set(answer) == {"code", "message"}
    assert (await door.ask("GET", f"{V1}/topics/general"))["last_seq"] == 0


async def test_content_that_looks_odd_but_is_fine(door: Door) -> None:
    odd = [
        b"9" * 400,
        b"-0",
        b"1e-400",
        b'"\\u2028\\ud83d\\ude00"',
        b"[" * 64 + b"]" * 64,
        b'"' + b"[" * 500 + b'"',
        b'""',
    ]
    for content in odd:
        body = b'{"content":' + content + b"}"
        await door.ask("POST", f"{V1}/topics/general/messages", 201, data=body, headers=JSON)
    async with door.send("GET", f"{V1}/topics/general/messages") as response:
        raw = await response.read()
        assert all(content in raw for content in odd)
    await door.ask("PUT", f"{V1}/topics/general/members/ana", 201)
    for content in odd:
        body = b'{"content":' + content + b"}"
        await door.ask("POST", f"{V1}/topics/general/messages", 201, data=body, headers=JSON)
    await door.ask("GET", f"{V1}/messages?user=ana")
    named = b",".join(b'{"topic_name":"general","content":' + content + b"}" for content in odd)
    body = b'{"messages":[' + named + b'],"user":"ana"}'
    await door.ask("PUT", f"{V1}/messages", 200, data=body, headers=JSON)
    assert await door.ask("GET", f"{V1}/messages?user=ana") == {"messages": []}


TYPES = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp", "x", ""]


async def test_a_body_that_is_not_called_json(door: Door) -> None:
    for kind in TYPES:
        headers = {"Content-Type": kind}
        answer = await door.ask("POST", f"{V1}/users", 415, data=b'{"user":"ana"}', headers=headers)
        assert answer["code"] == "bad_request"
        assert await door.ask("GET", f"{V1}/users") == []


async def test_json_with_a_charset(door: Door) -> None:
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    await door.ask("POST", f"{V1}/users", 201, data=b'{"user":"ana"}', headers=headers)


NAMES = [
    "", " ", "a b", "\0", "a\0b", "a\n", "a\r\nb", ".", "..", "a/..", "/a", "a/", "a//b", "ü", "*", "a\\b",
    "x" * 130, "<script>", "'; DROP TABLE users; --", "\U0001f600", 7, None, True, [], {}, ["a"],
]  # fmt: skip
# As people may be called by other systems: there they are percent-encoded.
PEOPLE = [" ", "a b", "ü", "a%2Fb", "*", "a\\b", "<script>", "'; DROP TABLE users; --", "\U0001f600"]


async def test_names(door: Door) -> None:
    for name in NAMES:
        of_people: list[tuple[str, str, Any]] = [
            ("POST", "/users", {"user": name}),
            ("POST", "/tokens", {"user": name}),
            ("POST", "/topics", {"topic_name": "t", "user": name}),
            ("PUT", "/topics", {"topic_name": "general", "user": name}),
            ("POST", "/messages", {"topic_name": name, "content": 1, "user": "ana"}),
            ("POST", "/messages", {"topic_name": "t", "content": 1, "user": name}),
        ]
        for method, path, body in [
            *([] if name in PEOPLE else of_people),
            ("POST", "/topics", {"topic_name": name, "user": "ana"}),
            ("POST", "/messages/batch", [{"topic_name": name, "content": 1}]),
        ]:
            answer = await door.ask(method, V1 + path, 400, json=body)
            assert answer["code"] == "bad_request", (method, path, name)
    assert await door.ask("GET", f"{V1}/users") == []
    for name in PEOPLE:
        await door.ask("POST", f"{V1}/users", 201, json={"user": name})
    assert len(await door.ask("GET", f"{V1}/users")) == len(PEOPLE)


PATHS = [
    "%00", "a%00b", "%20", "a%20b", "%ff", "%ed%a0%80", "..%2F..", "a%2F%2Fb", "%C3%BC", "x" * 129, "a%0Ab", "*", "%",
    "%25", "a%252Fb", "'",
]  # fmt: skip


async def test_paths(door: Door) -> None:
    for name in PATHS:
        for path in (f"/topics/{name}", f"/topics/{name}/messages", f"/topics/general/members/{name}"):
            method = "PUT" if "members" in path else "GET"
            async with door.send(method, V1 + path) as response:
                assert response.status in (400, 404), (method, path, response.status)
                assert "code" in await response.json()


QUERIES = [
    "limit=0", "limit=-1", "limit=x", f"limit={2**53}", f"limit={'9' * 5000}", "limit=", "limit=null",
    "after=-1", "after=%00", "after=1.5", f"before={2**63}", "before=0", "before=%F0%9F%98%80",
]  # fmt: skip


async def test_queries(door: Door) -> None:
    for query in QUERIES:
        assert (await door.ask("GET", f"{V1}/topics/general/messages?{query}", 400))["code"] == "bad_request"


async def test_pages_by_name(door: Door) -> None:
    for path in ["/users", "/topics/general/members"]:
        for query in ["after=%00", "after=a%20b", "after=%ff", "limit=0", "after="]:
            await door.ask("GET", f"{V1}{path}?{query}", 400)


async def test_odd_but_harmless_queries(door: Door) -> None:
    for query in ("user=%00", "user=%ff", "user=a%20b", "user=", "user=" + "x" * 5000, "user=ana&user=%00"):
        assert await door.ask("GET", f"{V1}/messages?{query}") == {"messages": []}
        assert await door.ask("GET", f"{V1}/topics?{query}") == {"topics": []}
    await door.ask("GET", f"{V1}/token?user=ana&p=%00", 200, headers={"Action": "encode"})
    await door.ask("GET", f"{V1}/token?user=ana&p={'x' * 5000}", 400, headers={"Action": "encode"})


WRONG: list[Any] = [1, "x", [], {}, True, {"messages": {}}, {"messages": [1]}, {"messages": [{}]}]


async def test_wrong_types(door: Door) -> None:
    for body in WRONG:
        for method, path in [
            ("POST", "/topics"), ("PUT", "/topics"), ("DELETE", "/topics"), ("POST", "/messages"), ("PUT", "/messages"),
            ("POST", "/users"), ("POST", "/tokens"), ("POST", "/tokens/revoke"),
        ]:  # fmt: skip
            assert (await door.ask(method, V1 + path, 400, json=body))["code"] == "bad_request"


TOPICS: list[dict[str, Any]] = [
    {"kind": "direct"}, {"kind": "x"}, {"kind": None}, {"retention": 0}, {"retention": 10**12}, {"lifetime": -5},
    {"lifetime": 31536001}, {"lifetime": "1d"}, {"retention": 1.5}, {"owner": ""}, {"owner": "a b"},
]  # fmt: skip


async def test_topics_outside_the_rules(door: Door) -> None:
    for wish in TOPICS:
        await door.ask("PUT", f"{V1}/topics/news", 400, json={"owner": "ana", **wish})
        await door.ask("GET", f"{V1}/topics/news", 404)


async def test_a_confirmation_is_as_hostile_as_a_message(door: Door) -> None:
    await door.node.actions.know("ana")
    for content in (b"[" * 70 + b"]" * 70, b'"\\u0000"', b'"\\ud800"', b'"\xff"'):
        body = b'{"messages":[{"topic_name":"general","content":' + content + b'}],"user":"ana"}'
        await door.ask("PUT", f"{V1}/messages", 400, data=body, headers=JSON)


async def half_sent(door: Door) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.settings.api_port)
    writer.write(
        b"POST /api/v1/users HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b'Content-Length: 14\r\n\r\n{"user":'
    )
    await writer.drain()
    return reader, writer


async def test_a_token_that_is_revoked_while_a_body_comes(locked: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sends slowly is asked once more."""
    monkeypatch.setattr("api.endpoint.FRESH", 0.0)
    token = await locked.token("ana")
    await locked.ask("PUT", f"{V1}/topics/news", 201, token=token, json={})
    reader, writer = await asyncio.open_connection("127.0.0.1", locked.settings.api_port)
    writer.write(
        b"POST /api/v1/topics/news/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer " + token.encode() + b'\r\nContent-Length: 13\r\n\r\n{"content":'
    )
    await until(lambda: locked.node.under_way._counts)  # it was let in
    async with asyncio.timeout(10):
        await locked.node.actions.revoke_user("ana")
        writer.write(b"1}")
        assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")
    writer.close()


async def test_a_body_that_never_comes(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.endpoint.BODY_SECONDS", 0.1)
    reader, writer = await half_sent(door)
    async with asyncio.timeout(10):
        assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
    writer.close()


async def test_a_peer_that_goes_away_half_way(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(5):
        _, writer = await half_sent(door)
        writer.transport.abort()
    assert await door.ask("GET", f"{V1}/users") == []
    assert "Error" not in caplog.text


@pytest.mark.parametrize("path", [f"{V1}/users", "/nothing"])
@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_packed_body_is_not_unpacked(door: Door, path: str, coding: str) -> None:
    """Not even while it is read to its end, behind the answer."""
    packer = zlib.compressobj(wbits=31 if coding == "gzip" else 15)
    packed = packer.compress(b'{"user":"' + b"x" * 100_000_000 + b'"}') + packer.flush()
    status = 415 if path != "/nothing" else 404
    spent = time.process_time()
    for _ in range(10):
        await door.ask("POST", path, status, data=packed, headers={**JSON, "Content-Encoding": coding})
        await door.ask("GET", "/healthz")
    assert time.process_time() - spent < 0.5


async def test_a_body_that_says_that_it_is_not_packed(door: Door) -> None:
    await door.ask("POST", f"{V1}/users", 201, json={"user": "ana"}, headers={"Content-Encoding": "identity"})
