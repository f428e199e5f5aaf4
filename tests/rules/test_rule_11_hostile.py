"""Rule 11: input is hostile. Each piece of it has its error; after it, the same connection works as before."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import time
import warnings
from ipaddress import ip_network
from typing import Any

import jwt
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode

from messaging.permissions import BACKEND
from support.log import connected
from support.raw_members import RawClient
from support.ws import SECRET, Running, receive, running, send

BIG = "9" * 5000
DEEP = "[" * 10_000 + "]" * 10_000


def message(content: str, more: str = "") -> str:
    return f'{{"action":"message","topic_name":"noticias","content":{content}{more}}}'


# (what it is, the frame, the code of its error). Every one is answered with that error, and nothing is stored.
REFUSED = [
    ("empty", "", "bad_json"),
    ("not json", "hello", "bad_json"),
    ("half a json", '{"action":"topics"', "bad_json"),
    ("two of them", '{"action":"topics"}{"action":"topics"}', "bad_json"),
    ("a byte order mark", '\ufeff{"action":"topics"}', "bad_json"),
    ("NaN", message("NaN"), "bad_json"),
    ("single quotes", "{'action':'topics'}", "bad_json"),
    ("a number", "1", "bad_request"),
    ("null", "null", "bad_request"),
    ("an array", '["topics"]', "bad_request"),
    ("depth 10,000", DEEP, "bad_request"),
    ("depth 10,000, not closed", "[" * 10_000, "bad_request"),
    ("depth 10,000 in the content", message(DEEP), "bad_request"),
    ("depth 10,000 of objects", message('{"a":' * 10_000 + "1" + "}" * 10_000), "bad_request"),
    ("depth 10,000 in a field unknown", message("1", f',"x":{DEEP}'), "bad_request"),
    ("depth 65", message("[" * 65 + "]" * 65), "bad_request"),
    ("NUL in the content", message('"a\\u0000b"'), "bad_request"),
    ("NUL in a key of the content", message('{"a\\u0000":1}'), "bad_request"),
    ("NUL in the content, raw", message('"a\x00b"'), "bad_json"),
    ("NUL in an id", message("1", ',"id":"a\\u0000"'), "bad_request"),
    ("NUL in a topic", '{"action":"subscribe","topic_name":"a\\u0000"}', "unknown_topic"),
    ("a high surrogate alone", message('"\\ud800 and then some"'), "bad_json"),
    ("a low surrogate alone", message('"\\udc00 and then some"'), "bad_json"),
    ("two high surrogates", message('"\\ud800\\ud800 and then some"'), "bad_json"),
    ("a surrogate at the end", message('"\\ud800"'), "bad_json"),
    ("a surrogate in a key", message('{"\\udfff and then some":1}'), "bad_json"),
    ("no action", "{}", "unknown_action"),
    ("an unknown action", '{"action":"dance"}', "unknown_action"),
    ("an action of another type", '{"action":7}', "unknown_action"),
    ("an action in capitals", '{"action":"TOPICS"}', "unknown_action"),
    ("a push of the server", '{"action":"connected"}', "unknown_action"),
    ("no topic", '{"action":"message","content":1}', "bad_request"),
    ("no content", '{"action":"message","topic_name":"noticias"}', "bad_request"),
    ("a topic that is a number", '{"action":"subscribe","topic_name":1}', "bad_request"),
    ("a topic that is null", '{"action":"history","topic_name":null}', "bad_request"),
    ("a topic that is too long", json.dumps({"action": "subscribe", "topic_name": "t" * 200}), "bad_request"),
    ("an id that is no name", message("1", ',"id":"a b"'), "bad_request"),
    ("an empty id", message("1", ',"id":""'), "bad_request"),
    ("an id of dots", message("1", ',"id":"a/../b"'), "bad_request"),
    ("an id that ends in a line break", message("1", ',"id":"a\\n"'), "bad_request"),
    ("an id that is a number", message("1", ',"id":7'), "bad_request"),
    ("a ref that is a number", '{"action":"topics","ref":7}', "bad_request"),
    ("a ref that is too long", json.dumps({"action": "topics", "ref": "r" * 200}), "bad_request"),
    ("a lifetime of 0", message("1", ',"ttl":0'), "bad_request"),
    ("a lifetime below 0", message("1", ',"ttl":-1'), "bad_request"),
    ("a lifetime of more than a year", message("1", ',"ttl":31536001'), "bad_request"),
    ("a huge lifetime", message("1", f',"ttl":{BIG}'), "bad_request"),
    ("a lifetime with a fraction", message("1", ',"ttl":1.5'), "bad_request"),
    ("a lifetime as text", message("1", ',"ttl":"60"'), "bad_request"),
    ("a huge integer", message(BIG), "bad_request"),
    ("a huge exponent", message("1e99999"), "bad_request"),
    ("an id of 5,000 digits", message("1", f',"id":{BIG}'), "bad_request"),
    ("an ack of 0", '{"action":"ack","topic_name":"noticias","seq":0}', "bad_request"),
    ("an ack of 2^53", '{"action":"ack","topic_name":"noticias","seq":9007199254740992}', "bad_request"),
    ("an ack of 5,000 digits", f'{{"action":"ack","topic_name":"noticias","seq":{BIG}}}', "bad_request"),
    ("an ack above what it was sent", '{"action":"ack","topic_name":"noticias","seq":9007199254740991}', "bad_request"),
    ("an ack of a topic of others", '{"action":"ack","topic_name":"absent","seq":1}', "unknown_topic"),
    ("a limit of 0", '{"action":"history","topic_name":"noticias","limit":0}', "bad_request"),
    ("a huge before", f'{{"action":"history","topic_name":"noticias","before":{BIG}}}', "bad_request"),
    ("NUL in an after", '{"action":"topics","after":"\\u0000"}', "bad_request"),
    ("an after below 0", '{"action":"history","topic_name":"noticias","after":-1}', "bad_request"),
    ("an invitation of a number", '{"action":"invite","topic_name":"noticias","username":1}', "bad_request"),
    ("an invitation of no name", '{"action":"invite","topic_name":"noticias","username":"a b"}', "unknown_user"),
    ("a message to @", '{"action":"message","topic_name":"@","content":1}', "unknown_user"),
    ("a message to @@", '{"action":"message","topic_name":"@@omar","content":1}', "unknown_user"),
    ("a topic like a statement", '{"action":"subscribe","topic_name":"\' OR 1=1; --"}', "unknown_topic"),
    ("a topic of another script", '{"action":"subscribe","topic_name":"n\u043eticias"}', "unknown_topic"),
]

# These look strange and are fine: their bytes are stored as they came.
TAKEN = [
    "null",
    " 1 ",
    "-0",
    "1.0",
    '"\\ud83d\\ude00 \\u00e9 é 😀"',
    '"\\\\u0000"',
    "[" * 64 + "]" * 64,
    '"' + "[" * 1000 + '"',
    '{"a":1,"a":2}',
    '"\x7f\u2028\ufeff"',
    '{"":{"action":"ack"}}',
    '"' + "y" * 60_000 + '"',
]


@pytest.fixture
async def omar(database: str) -> Any:
    async with running(database) as recado:
        await recado.topic("noticias", "omar")
        async with await RawClient.connect(f"{recado.url}/{recado.token('omar')}") as link:
            assert (await link.next())["action"] == "connected"
            yield link


async def works(link: RawClient, key: str = "still-here") -> None:
    """A valid message on this connection is stored and delivered; nothing came before it."""
    await link.send(message('"still here"', f',"id":"{key}"'))
    receipt = await link.next()
    assert (receipt["action"], receipt.get("result"), receipt.get("id")) == ("message", "ok", key), receipt
    delivered = await link.next()
    assert (delivered["content"], delivered["seq"]) == ("still here", receipt["seq"])


async def test_a_hostile_frame_has_its_error_and_the_connection_goes_on(database: str) -> None:
    """Each on a connection of its own."""
    async with running(database) as recado:
        await recado.topic("noticias", "omar")
        for number, (what, frame, code) in enumerate(REFUSED):
            user = f"user-{number}"
            await recado.node.actions.know(user)
            await recado.node.actions.invite(BACKEND, "noticias", user)
            async with await RawClient.connect(f"{recado.url}/{recado.token(user)}") as link:
                await link.next("connected")
                await link.send(frame)
                error = await link.next()
                assert error["code"] == code, (what, error)
                assert error["action"] == "error" or error["result"] == "error", what
                assert error["action"] != "error" or error["topic"] == "error", what
                assert isinstance(error["message"], str) and len(error["message"]) < 500, what
                await works(link, f"after-{number}")


async def test_strange_content_is_kept_byte_for_byte(omar: RawClient, database: str) -> None:
    for number, content in enumerate(TAKEN, 1):
        await omar.send(message(content))
        delivered = await omar.next()
        assert delivered["action"] == "message" and delivered["seq"] == number, (content[:50], delivered)
    async with connected(database) as db:
        kept = [row[0] for row in await db.fetch("SELECT content FROM recado.messages ORDER BY seq")]
    # JSON allows white space around a value; it is no part of it.
    assert [text.strip() for text in kept] == [text.strip() for text in TAKEN]


async def test_everything_hostile_on_one_connection(omar: RawClient) -> None:
    for what, frame, code in REFUSED:
        await omar.send(frame)
        assert (await omar.next())["code"] == code, what
    await works(omar)


async def test_a_fragmented_text_is_one_text(omar: RawClient) -> None:
    """Cut inside a character, with an empty fragment and a ping in between (RFC 6455, 5.4)."""
    data = message('"é😀"', ',"id":"f"').encode()
    cut = data.index("😀".encode()) + 2
    await omar.send(data[:cut], fin=False)
    await omar.send(b"between", Opcode.PING)
    await omar.send(b"", Opcode.CONT, fin=False)
    await omar.send(data[cut:], Opcode.CONT)
    assert (await omar.next())["result"] == "ok"
    assert (await omar.next())["content"] == "é😀"
    assert omar.pongs == 1


async def test_a_flood_of_pings_and_foreign_pongs(omar: RawClient) -> None:
    """Answered or ignored; never an error, and they confirm nothing."""
    for number in range(20):
        flood = [
            Frame(Opcode.PING, b"%d" % number).serialize(mask=True),
            Frame(Opcode.PONG, b"").serialize(mask=True),
            Frame(Opcode.PONG, b"x" * 125).serialize(mask=True),
        ]
        await omar.send_bytes(b"".join(flood) * 250)
    while omar.pongs < 5000:
        await omar.read()
    assert not omar.frames
    await works(omar)


async def test_a_flood_of_pings_of_one_that_reads_nothing(database: str) -> None:
    """Its pongs fill a buffer and no more: then it is not read any further."""
    async with (
        running(database) as recado,
        await RawClient.connect(f"{recado.url}/{recado.token('omar')}", 8192) as omar,
        recado.client("ana") as ana,
    ):
        await omar.next("connected")
        session = next(session for session in recado.door.hub.sessions() if session.user.name == "omar")
        flood = Frame(Opcode.PING, b"x" * 125).serialize(mask=True) * 2000
        sending = asyncio.create_task(omar.send_bytes(flood * 4))  # 1 MB
        for number in range(50):  # the server does as much for others meanwhile
            await send(ana, action="topics", ref=str(number))
            assert (await receive(ana, "topics"))["ref"] == str(number)
        assert session.transport.get_write_buffer_size() < 600_000
        async with asyncio.timeout(30):
            while omar.pongs < 8000:
                await omar.read()
        await sending


# --- tokens ----------------------------------------------------------------------------------------


def token(secret: str = SECRET, algorithm: str = "HS256", headers: Any = None, **claims: Any) -> str:
    claims = {"sub": "omar", "iat": time.time() - 5, "exp": time.time() + 60, "jti": "j"} | claims
    present = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(present, secret, algorithm, headers=headers)


def unsigned(signature: str = "") -> str:
    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part({'sub': 'omar', 'exp': time.time() + 60})}.{signature}"


def bad_tokens() -> dict[str, str]:
    good = token()
    return {
        "nothing": "",
        "no token": "hello",
        "dots": "..",
        "alg none": unsigned(),
        "alg none, with a signature": unsigned(good.rsplit(".", 1)[1]),
        "wrong key": token("another-secret-that-is-long-enough-too"),
        "another algorithm of the same key": other_algorithm(),
        "expired": token(exp=time.time() - 1),
        "expired within the leeway": token(exp=time.time() - 0.5),
        "not yet": token(nbf=time.time() + 3600),
        "no expiry": token(exp=None),
        "an expiry that is text": token(exp="never"),
        "a sub that is a number": raw_claims('{"sub":7,"exp":99999999999}'),
        "a sub that is null": raw_claims('{"sub":null,"exp":99999999999}'),
        "a sub that is a list": raw_claims('{"sub":["omar"],"exp":99999999999}'),
        "no sub": token(sub=None),
        "an empty sub": token(sub=""),
        "a sub that is no name": token(sub="a//b"),
        "a sub with a line break": token(sub="omar\n"),
        "a sub that is an inbox": raw_claims('{"sub":"a/../b","exp":99999999999}'),
        "a huge expiry": raw_claims('{"sub":"omar","exp":1e400}'),
        "an expiry of 5,000 digits": raw_claims(f'{{"sub":"omar","exp":{BIG}}}'),
        "claims that are a list": raw_claims("[]"),
        "deep claims": raw_claims('{"sub":"omar","exp":99999999999,"payload":' + "[" * 1200 + "]" * 1200 + "}"),
        "changed": good[:-4] + ("aaaa" if good[-4:] != "aaaa" else "bbbb"),
        "longer than any": token(payload={"x": "y" * 5000}),
        "a kid that is a path": token("x" * 40, headers={"kid": "../../dev/null"}),
    }


def other_algorithm() -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the key is short for it
        return token(algorithm="HS512")


def raw_claims(claims: str) -> str:
    """Signed with the right key, whatever the claims."""
    return jwt.api_jws.encode(claims.encode(), SECRET, "HS256")


async def test_a_bad_token_gets_401_and_no_more(database: str) -> None:
    """Each from an address of its own, as beyond ten a second from one it is 429."""
    async with running(database, trusted_proxies=(ip_network("127.0.0.0/8"),)) as recado:
        for number, (what, bad) in enumerate(bad_tokens().items()):
            of = {"X-Forwarded-For": f"192.0.2.{number}"}
            for path, headers in ((f"/{bad}", of), ("/", {"Authorization": f"Bearer {bad}", **of})):
                with pytest.raises(InvalidStatus) as refused:
                    async with connect(recado.url + path, proxy=None, additional_headers=headers, logger=quiet()):
                        pass
                response = refused.value.response
                assert response.status_code == 401, what
                body = json.loads(response.body or b"")
                assert set(body) == {"code", "message"} and body["code"] == "unauthorized", what
                assert not [part for part in bad.split(".") if len(part) > 5 and part in body["message"]], what
        async with recado.client("omar") as omar:
            await receive(omar, "connected")


def quiet() -> logging.Logger:
    """A client's logger that writes no token into the test's log."""
    logger = logging.getLogger("quiet client")
    logger.disabled = True
    return logger


@pytest.mark.parametrize(
    "claims",
    [{"sub": None, "username": "omar"}, {"iat": None, "jti": None}, {"iat": time.time() + 20}, {"payload": {"a": 1}}],
    ids=["username", "neither", "ahead", "payload"],
)
async def test_a_good_token_of_another_shape_is_taken(database: str, claims: dict[str, Any]) -> None:
    async with running(database) as recado, connect(f"{recado.url}/{token(**claims)}", proxy=None) as link:
        assert (await receive(link))["username"] == "omar"


# --- below the frames ------------------------------------------------------------------------------

UPGRADE = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
KEY = base64.b64encode(bytes(16)).decode()


def requests(good: str) -> list[tuple[bytes, bytes]]:
    """Raw requests, and how each answer begins (nothing: the connection may simply end)."""
    upgrade = UPGRADE.format(key=KEY)
    return [
        (f"GET /{good} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), b"HTTP/1.1 4"),
        (f"POST /{good} HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n".encode(), b""),
        (f"GET /{good} HTTP/1.0\r\nHost: x\r\n{upgrade}\r\n".encode(), b""),
        (f"GET /{good} HTTP/1.1\r\nno header\r\n\r\n".encode(), b""),
        (f"GET /{good} HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Version: 99\r\n{upgrade}\r\n".encode(), b"HTTP/1.1 4"),
        (f"GET /{good}?device=a%20b HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n".encode(), b"HTTP/1.1 400"),
        (f"GET /{good}?device={'d' * 200} HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n".encode(), b"HTTP/1.1 400"),
        (f"GET //[{good}]/ HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n".encode(), b"HTTP/1.1 400"),
        (f"GET //[{good} HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n".encode(), b"HTTP/1.1 400"),
        (f"GET /{good} HTTP/1.1\r\nHost: x\r\nOrigin: http://evil.example\r\n{upgrade}\r\n".encode(), b"HTTP/1.1 403"),
        (f"GET /{'x' * 9000}{good} HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n".encode(), b""),
        (f"GET /{good} HTTP/1.1\r\nHost: x\r\n{upgrade.replace(KEY, 'short')}\r\n".encode(), b"HTTP/1.1 4"),
        (f"GET /{good} HTTP/1.1\r\nHost: x\r\nX: {'y' * 9000}\r\n{upgrade}\r\n".encode(), b""),
        (f"GET /{good} HTTP/1.1\r\nHost: x\r\n".encode() + b"X: y\r\n" * 200 + b"\r\n", b""),
        (f"GET /{good}".encode(), b""),
        (b"\x00\xff\x16\x03\x01" * 100 + b"\r\n\r\n", b""),
    ]


async def exchange(recado: Running, data: bytes) -> bytes:
    """Send, end our half, and read what comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(recado.url.rsplit(":", 1)[1]))
    try:
        writer.write(data)
        if not data.endswith(b"\r\n\r\n"):
            writer.write_eof()
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_hostile_handshakes_and_tokens_are_in_no_log(database: str, caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG, of everything: no record has a token, whatever went wrong with it."""
    caplog.set_level(logging.DEBUG)
    for name in list(logging.root.manager.loggerDict):
        logging.getLogger(name).setLevel(logging.NOTSET)
    async with running(database) as recado:
        good = recado.token("omar")
        for data, begins in requests(good):
            got = await exchange(recado, data)
            assert got.startswith(begins), (data[:60], got[:200])
            assert not got.startswith(b"HTTP/1.1 500"), (data[:60], got[:200])
            assert good.encode() not in got and b"Traceback" not in got
        for bad in bad_tokens().values():
            await exchange(recado, f"GET /{bad} HTTP/1.1\r\nHost: x\r\n{UPGRADE.format(key=KEY)}\r\n".encode())
        header = {"Authorization": f"Bearer {good}"}
        async with await RawClient.connect(recado.url + "/", headers=header) as omar:
            await omar.next("connected")
            await omar.send("\xff")
        async with await RawClient.connect(recado.url + "/", subprotocols=["bearer", good]) as omar:
            await omar.next("connected")
            await omar.send(b"\xff")
            assert await omar.end() == 1007
        async with await RawClient.connect(f"{recado.url}/{good}?device=phone&ack=explicit") as omar:
            await omar.next("connected")
            await omar.send_bytes(b"\xff\xff\xff\xff")
            assert await omar.end() == 1002
        assert good.encode() not in recado.node.metrics.text()
        logging.getLogger("recado.ws").warning("what the door logs is seen here")
    formatter = logging.Formatter("%(name)s %(levelname)s %(message)s")
    secrets = [part for each in (good, *bad_tokens().values()) for part in each.split(".") if len(part) > 30]
    assert len(secrets) > 20
    assert "what the door logs is seen here" in caplog.text
    for record in caplog.records:
        text = formatter.format(record)
        assert not [secret for secret in secrets if secret in text], text[:500]
