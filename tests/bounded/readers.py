"""Every reader of outside bytes, but for routes and frames, which are asked at their doors (test_doors.py)."""

from __future__ import annotations

import asyncio
import atexit
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jwt
import msgspec
from aiohttp.base_protocol import BaseProtocol
from aiohttp.streams import StreamReader
from cryptography.hazmat.primitives.asymmetric import ec
from inputs import TEXTS, Make, Text, as_bytes, colliding, documents
from nats.errors import ProtocolError
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHeaderValue

from api.endpoint import read
from bridges.config import checked, decode
from bridges.nats.connection import Names
from bridges.nats.outlet import Ack
from bridges.outlet import Gone, Undeliverable, Unreachable
from bridges.rabbitmq.frames import HEADER, METHOD, Delivery, frame_head, harmless
from bridges.rabbitmq.messages import is_queue_name, read_content, read_offer
from bridges.subjects import check_filter, subject_of
from bridges.webhooks.answers import Answer, check_success, classify
from bridges.webhooks.client import START_BYTES, final_status
from bridges.webhooks.outlet import _as_header
from messaging.auth.issuers.keys import read_keys
from messaging.auth.tokens import Tokens
from messaging.bus.nats_connection import _Reader as _nats_reader
from messaging.bus.seal import Seal
from messaging.bus.wire import fitting, packed, unpacked
from messaging.errors import RecadoError
from messaging.integrator.importing import Implausible, compare, read_list
from messaging.integrator.registry import read_file
from messaging.log.content import check_json
from messaging.model import Changed, Voided, is_encoded_name, is_name, is_user_name
from messaging.news import is_news
from messaging.patterns import is_pattern, matches
from messaging.readers.pending import Named, names_of
from messaging.settings.issuers import parse_issuers
from messaging.settings.settings import Settings, SettingsError
from recado.client.connection import retry_after
from recado.client.received import history_of, thing_of, topics_of
from recado.client.reconnecting import _message
from recado.terminal.access import user_of
from recado.terminal.formatting import frame_of, safe
from recado.terminal.rest import _decoded
from recado.terminal.server import Mistake

KIB = 1024
SECRET = "a-secret-that-is-only-for-these-tests-32+"
NOW = datetime(2030, 1, 1, tzinfo=UTC)
WHEN = "2030-01-01T00:00:00Z"
KEY = jwt.algorithms.ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key(), True) | {"kid": "1"}
SEAL = Seal("00" * 16, bytes(32))
ISSUERS = [{"issuer": "i", "audience": "a", "jwks_url": "https://x.example/"}]


@dataclass(frozen=True)
class Reader:
    """``most``: bytes that its door lets in. What it reads: documents like ``example``, or where there is none, texts.

    ``refusals``: how it may say no.
    """

    name: str
    read: Callable[[bytes], object]
    example: Any = None
    more: tuple[str, ...] = ()
    most: int = 64 * KIB
    refusals: tuple[type[Exception], ...] = ()
    inputs: Callable[[], Iterator[tuple[str, Make]]] | None = field(default=None)

    def made(self) -> Iterator[tuple[str, Make]]:
        if self.inputs is not None:
            yield from self.inputs()
        elif self.example is not None:
            yield from documents(self.example, self.more)
        else:
            yield from ((name, lambda size, text=text: text(size).encode()) for name, text in TEXTS.items())

    def refusing(self, given: bytes) -> None:
        """Read it, or refuse it; any other exception is a defect."""
        try:
            self.read(given)
        except self.refusals:
            return


def _text(given: bytes) -> str:
    return given.decode(errors="surrogateescape")


def _in_file(read: Callable[[Path], object]) -> Callable[[bytes], object]:
    folder = Path(tempfile.mkdtemp(prefix="recado-bounded-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "file"

    def reader(given: bytes) -> object:
        path.write_bytes(given)
        return read(path)

    return reader


def _verified(given: bytes) -> object:
    return asyncio.run(Tokens(SECRET).verify(_text(given)))


def _of_another(given: bytes) -> object:
    return asyncio.run(Tokens(SECRET, parse_issuers(json.dumps(ISSUERS))).verify(_text(given)))


def _signed(make: Make, size: int) -> bytes:
    return jwt.PyJWS().encode(make(size * 3 // 4), SECRET, "HS256").encode()


def _of_parts(text: Text, size: int) -> bytes:
    return b"e30." + text(size // 2).encode() + b"." + b"." * (size // 2)


def _tokens() -> Iterator[tuple[str, Make]]:
    """Whose parts are dear, signed or not."""
    example = {
        "sub": "ana", "exp": time.time() + 3600, "payload": {"topics": {"read": ["a*b"]}}, "iss": "i", "aud": ["x"],
    }  # fmt: skip
    for name, make in documents(example, ("iat", "nbf", "jti", "username")):
        yield name, partial(_signed, make)
    for name, text in TEXTS.items():
        yield name, as_bytes(text)
        yield f"parts: {name}", partial(_of_parts, text)


def _in_pieces(given: bytes) -> object:
    """A body that comes byte by byte, as slowly as it is read."""

    async def read_all() -> bytes:
        loop = asyncio.get_running_loop()
        protocol = BaseProtocol(loop)
        protocol.connection_made(asyncio.Transport())
        stream = StreamReader(protocol, 64 * KIB, loop=loop)
        request: Any = SimpleNamespace(content=stream, content_length=None)
        reading = asyncio.create_task(read(request, len(given), lambda _: None))
        for byte in given:
            stream.feed_data(bytes([byte]))
            await asyncio.sleep(0)
        stream.feed_eof()
        return await reading

    return asyncio.run(read_all())


def _toml() -> Iterator[tuple[str, Make]]:
    entry = b'[[nats.out]]\nname = "b%d"\ntopics = "a*"\n'
    yield "many bridges", lambda size: b"".join(entry % number for number in range(size // 45))
    yield "one name", lambda size: (entry % 1) * (size // 40)
    yield "a long text", lambda size: b'[[nats.out]]\nname = "b"\ntopics = "' + b"*a" * (size // 2) + b'"\n'
    yield "a long subject", lambda size: b'[[nats.in]]\nname = "b"\nsubject = "' + b"a." * (size // 2) + b'"\n'
    yield "deep", lambda size: b"a = " + b"[" * size + b"\n"


def _parcel(given: bytes) -> object:
    """As it comes, from anybody; and what is in it, where a node of ours has sealed it."""
    SEAL.open(given)
    return unpacked(given)


def _parcels() -> Iterator[tuple[str, Make]]:
    yield "many notices", lambda size: packed([fitting(Changed(1), 100)] * min(65_535, size // 8))
    yield "deep", lambda size: b"\x91" * size
    yield "a long list", lambda size: b"\xdd" + size.to_bytes(4, "big") + b"\x90" * size
    yield "forged", lambda size: b"\x01" + b"x" * size
    yield "a long text", lambda size: packed([fitting(Voided("j" * size), 2 * size)])


def _amqp(given: bytes) -> object:
    frame_head(bytes(7))
    return [harmless(kind, bytes(7), given) for kind in (METHOD, HEADER)]


def _run_behind_a_head(run: bytes, size: int) -> bytes:
    return bytes(12) + run * (size // len(run))


def _runs() -> Iterator[tuple[str, Make]]:
    for run in (b"\0", b"\xff", b"\0\x3c\0\x3c", b"\x7f\xfe", b"\x20\0\0\0\xff"):
        yield repr(run), partial(_run_behind_a_head, run)


class _Sink:
    """Takes what a reader of NATS gives out."""

    async def taken(self, *_: object, **__: object) -> None:
        return

    _process_msg = _process_ping = _process_pong = _process_err = _process_info = taken


def _nats(given: bytes) -> object:
    return asyncio.run(_nats_reader(_Sink()).parse(given))


def _nats_lines() -> Iterator[tuple[str, Make]]:
    yield "one long line", lambda size: b"MSG " + b"a" * size
    yield "words", lambda size: b"MSG " + b"a " * (size // 2) + b"\r\n"
    yield "digits", lambda size: b"MSG a 1 " + b"1" * size + b"\r\n"
    yield "small messages", lambda size: b"MSG a 1 1\r\nx\r\n" * (size // 14)
    yield "pings", lambda size: b"PING\r\n" * (size // 6)
    yield "a deep INFO", lambda size: b"INFO " + b"[" * (size // 2) + b"]" * (size // 2) + b"\r\n"


def _colliding(size: int) -> bytes:
    return " ".join(map(str, colliding(size // 22))).encode()


def _frames(data: bytes) -> object:
    thing = thing_of(json.loads(data))
    return thing and frame_of(thing)


_HTTP = 8190  # a line of a header
_REFUSED = (RecadoError, SettingsError, Mistake)
_BROKEN = (SettingsError, KeyError, TypeError, ValueError, RecursionError)  # of a client: its own server is not hostile
_MESSAGE = {
    "action": "message", "topic_name": "t", "content": {"a": [1]}, "user_source": "ana", "seq": 1, "sent_at": WHEN,
}  # fmt: skip

NAMES: list[Callable[[str], object]] = [
    is_name, is_encoded_name, is_user_name, is_pattern, is_queue_name, is_news,
]  # fmt: skip

READERS = [
    Reader("bodies in pieces", _in_pieces, most=16 * KIB, inputs=lambda: iter([("pieces", lambda size: b" " * size)])),
    Reader("content", lambda data: check_json(data, 64 * KIB), {"a": [{"b": 1}]}, refusals=_REFUSED),
    Reader(
        "contents that are confirmed", lambda data: names_of(Named("t", text) for text in _text(data).split()),
        inputs=lambda: iter([("numbers of one hash", _colliding)]),
    ),
    Reader("names", lambda data: [f(_text(data)) for f in NAMES]),
    Reader("patterns", lambda data: matches(_text(data)[:128], _text(data))),
    Reader("own tokens", _verified, most=4096, refusals=_REFUSED, inputs=_tokens),
    Reader("others' tokens", _of_another, most=4096, refusals=_REFUSED, inputs=_tokens),
    Reader("key sets", lambda data: read_keys(data, "ES256"), {"keys": [KEY]}, ("x",), refusals=(ValueError,)),
    Reader("JWT_ISSUERS", lambda data: parse_issuers("[" + _text(data)[1:]), ISSUERS, refusals=(ValueError,)),
    Reader(
        "PLATFORMS_FILE", _in_file(read_file), [{"name": "One", "token": "1", "endpoint": "https://x.example/"}],
        most=256 * KIB, refusals=_REFUSED,
    ),
    Reader(
        "BRIDGES_FILE", _in_file(lambda path: checked(decode(path), Settings(nats_url="nats://x"))),
        most=768 * KIB, refusals=_REFUSED, inputs=_toml,
    ),
    Reader(
        "settings",
        lambda data: [
            _refusing(Settings.from_environ, {name: _text(data)})
            for name in ("BUS_URL", "RETENTION", "RATE_LIMIT", "RATE_BYTES")
        ],
    ),
    Reader(
        "a platform's list", lambda data: compare({}, {}, read_list(data, ["Other"])),
        {"users": [{"id": 1, "name": "Ana", "platform": "Other"}]}, most=1024 * KIB, refusals=(Implausible,),
    ),
    Reader(
        "a platform's answer", lambda data: classify(Answer(503, {"Retry-After": _text(data[:_HTTP])}, data), NOW),
        most=20_000, refusals=(Unreachable, Undeliverable, Gone),
    ),
    Reader(
        "a platform's status", lambda data: check_success(Answer(200, {}, data)), {"status": "ok"},
        most=20_000, refusals=(Undeliverable,),
    ),
    Reader("a platform's status line", final_status, most=START_BYTES),
    Reader("webhook ids", lambda data: _as_header(data.decode(errors="replace")[:128])),
    Reader(
        "AMQP, any JSON", lambda data: read_content(Delivery("q", data, repr(data[:255])), "rabbitmq", Settings()),
        {"a": [1]}, refusals=_REFUSED,
    ),
    Reader(
        "AMQP, offers", lambda data: read_offer(Delivery("q", data), Settings()),
        {"sender": "ana", "body": "b", "send_time": "1.5", "ttl": 5}, refusals=_REFUSED,
    ),
    Reader(
        "JetStream's answers", lambda data: [_typed(data, kind) for kind in (Ack, Names)],
        {"stream": "s", "seq": 1, "error": {"err_code": 1, "description": "d"}, "streams": ["a"]},
    ),
    Reader("filters", lambda data: _refusing(check_filter, _text(data))),
    Reader("subjects", lambda data: _refusing(lambda text: subject_of(text, "t"), _text(data))),
    Reader("bus parcels", _parcel, most=1024 * KIB, refusals=(msgspec.MsgspecError, RecursionError), inputs=_parcels),
    Reader("AMQP frames", _amqp, most=128 * KIB, inputs=_runs),
    Reader("NATS lines", _nats, refusals=(ProtocolError, RecursionError), inputs=_nats_lines),
    Reader("frames, of a client", _frames, _MESSAGE, refusals=_BROKEN),
    Reader(
        "histories and topics, of a client",
        lambda data: [_refusing(f, json.loads(data)) for f in (history_of, topics_of)],
        {"topic_name": "t", "messages": [_MESSAGE], "more": True, "topics": [{"topic_name": "t"}]}, refusals=_BROKEN,
    ),
    Reader("refusals, of a client", lambda data: [_message(data), _decoded(data)], {"message": "m"}, refusals=_BROKEN),
    Reader(
        "Retry-After, of a client", lambda data: retry_after(Headers({"Retry-After": _text(data)})),
        most=_HTTP, refusals=(InvalidHeaderValue,),
    ),
    Reader("texts, of a terminal", lambda data: safe(data.decode(errors="replace"))),
    Reader("tokens, of a terminal", lambda data: user_of(_text(data)), most=4096, refusals=_REFUSED, inputs=_tokens),
]  # fmt: skip


def _typed(data: bytes, kind: type) -> object:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, RecursionError):
        return None


def _refusing(read: Callable[[Any], object], given: Any) -> object:
    try:
        return read(given)
    except _BROKEN:
        return None
