"""A platform as it is outside: a server that does as it is told, or worse; and what stands in for its row."""

import asyncio
import contextlib
import datetime
import inspect
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult

from bridges.outlet import OutgoingMessage
from bridges.webhooks.answers import PoisonDetector
from bridges.webhooks.client import Patience, PlatformHttpClient
from bridges.webhooks.outlet import WebhookOutlet
from messaging.integrator.events import NewsType, Platform, PlatformEvent
from messaging.integrator.store import PlatformStore
from messaging.model import Content, Message

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
AT = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
SHORT = Patience(connect=1.0, total=0.5)


@dataclass(frozen=True)
class Request:
    """``headers`` by their names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def said(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


Answer = Callable[[Request, asyncio.StreamWriter], bytes | Awaitable[bytes | None] | None]


def reply(status: int = 200, body: bytes = b"success", **headers: str) -> bytes:
    """A whole answer. Names of headers are written with ``_`` for ``-``."""
    lines = [f"HTTP/1.1 {status} It-is", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def saying(said: bytes) -> Answer:
    """An answer of these bytes, and then the end of the connection."""

    async def answer(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()

    return answer


class Receiver:
    """An HTTP server of few words. ``answer`` says what becomes of a request; an awaitable may write by itself."""

    def __init__(self) -> None:
        self.got: list[Request] = []
        self.connections = 0
        self.answer: Answer = lambda request, writer: reply()
        self.port = 0
        self._more = asyncio.Event()
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/"

    @property
    def pushed(self) -> list[Request]:
        return [request for request in self.got if request.method == "POST"]

    async def has(self, count: int, method: str = "POST") -> None:
        async with asyncio.timeout(15):
            while len([request for request in self.got if request.method == method]) < count:
                self._more.clear()
                await self._more.wait()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._serving.add(asyncio.ensure_future(self._serve(reader, writer)))

    async def close(self) -> None:
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while answer := await self._answered(await read_request(reader), writer):
                writer.write(answer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    async def _answered(self, request: Request, writer: asyncio.StreamWriter) -> bytes | None:
        self.got.append(request)
        self._more.set()
        answer = self.answer(request, writer)
        return await answer if inspect.isawaitable(answer) else answer


async def read_request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    method, path, _ = head[0].split(" ")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, path, headers, body)


@contextlib.asynccontextmanager
async def receiving(answer: Answer | None = None, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    receiver.answer = answer or receiver.answer
    server = await asyncio.start_server(receiver.accept, "127.0.0.1", 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        await receiver.close()


class Names(AbstractResolver):
    """Names as they are told, in place of the system's: each lookup takes the next answer, the last one stays."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.lookups = 0

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_INET) -> list[ResolveResult]:
        self.lookups += 1
        addresses = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [
            ResolveResult(hostname=host, host=each, port=port, family=_family(each), proto=0, flags=0)
            for each in addresses
        ]

    async def close(self) -> None:
        return


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


# --- the row, and what lies in the inbox ------------------------------------------------------------------------------


def platform(url: str | None, style: str = "paths", **more: Any) -> Platform:
    fields: dict[str, Any] = {
        "id": 7, "inbox": 8, "name": "gwt", "style": style, "url": url, "secrets": (SECRET,), "audio": False,
        "image": False, "trusted": True, "insecure": False, "retry_ambiguous": True, "import_every": 86400,
        "users_as_of": None,
    }  # fmt: skip
    return Platform(**{**fields, **more})


class Shelf(PlatformStore):
    """As far as an outlet reads it: one platform."""

    def __init__(self, row: Platform | None) -> None:
        self.row = row

    async def by_id(self, platform_id: int) -> Platform | None:
        return self.row


DATA = b'{"roomOriginalPlatform":"a","roomId":7,"senderId":"u","senderPlatform":"a","text":"h\xc3\xa9"}'


def parcel(
    kind: NewsType = "message.created", data: bytes = DATA, identity: str = "msg_1", tries: int = 0
) -> OutgoingMessage:
    content = msgspec.json.encode(PlatformEvent(identity, kind, AT, msgspec.Raw(data))).decode()
    return OutgoingMessage("8.1", "@%bridge/gwt", Message(1, "%bridge/a", Content(content), AT), tries)


@contextlib.asynccontextmanager
async def outlet(
    row: Platform | None, *, patience: Patience = SHORT, names: Names | None = None, nets: Any = (), least: float = 0.0
) -> AsyncIterator[tuple[WebhookOutlet, Shelf]]:
    shelf = Shelf(row)
    made = WebhookOutlet(7, shelf, PlatformHttpClient(nets, patience, resolver=names), PoisonDetector(least))
    try:
        yield made, shelf
    finally:
        await made.close()
