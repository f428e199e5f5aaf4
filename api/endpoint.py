"""Between aiohttp and the handlers: decodes by the types of a route, and encodes what comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web

from api.connection import connection_of
from api.problems import NotJson, Packed, TooLarge, TooSlow
from api.route import Answer, Domain, Request, Requester, Route
from api.shapes import Path
from api.streaming import Flow
from messaging.errors import BadJson, BadRequest
from messaging.model import NAME_RULE
from messaging.permissions import Caller

ENVELOPE = 4096  # bytes around the content of one message
BODY_SECONDS = 30.0  # seconds until a body must be there
FRESH = 0.5  # seconds for which it holds that who asks may


class Endpoint:
    """One route, ready to be called."""

    def __init__(self, route: Route, domain: Domain, requester: web.RequestKey[Requester]) -> None:
        """``requester``: under which key `guarding` puts who asks."""
        self._route = route
        self._domain = domain
        self._requester = requester
        self._limit = route.body_limit or domain.settings.max_frame + ENVELOPE
        self._decoder = None if route.body is None else msgspec.json.Decoder(route.body)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request whose caller the guard has found. Raises RateLimited where too many of it are under way."""
        caller, connection = request[self._requester].caller, connection_of(request)
        connection.last(self._domain.node.under_way.one_more(0 if caller.user is None else caller.user.id))
        if caller.id or (caller.is_backend and "Authorization" in request.headers):
            connection.known()
        try:
            return await self._answer(request)
        except asyncio.CancelledError:  # nothing will be answered
            connection.let_go()
            raise

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        requester, parameters = request[self._requester], dict(request.query)
        path, query = convert(dict(request.match_info), Path), convert(parameters, self._route.query)
        clock = asyncio.get_running_loop().time
        began = clock()
        body = await self._body(request, requester.caller)
        decoded = Request(
            domain=self._domain,
            # While the body came, its token may have expired or been revoked.
            caller=requester.caller if clock() < began + FRESH else await requester.again(),
            again=requester.again,
            is_legacy=requester.is_legacy,
            path=path,
            query=query,
            body=body,
            parameters=parameters,
            headers=request.headers,
        )
        answer, media = await self._route.handler(decoded), self._route.media
        if isinstance(answer.body, Flow):
            return await self._domain.streams.send(request, answer.body, {"Content-Type": media, **answer.headers})
        return encode(answer, media)

    async def _body(self, request: web.Request, caller: Caller) -> Any:
        if self._decoder is None:
            return None
        # Without aiohttp's reading of its parameters, which compares each with all.
        if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
            raise NotJson
        if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise Packed
        announced = min(request.content_length or 0, self._limit)
        self._count(caller, announced)  # before it is read: what is under way counts, too
        connection = connection_of(request)
        try:
            body = await read(request, self._limit, connection.hold)
        finally:
            connection.release()
        self._count(caller, len(body) - announced)
        return body if self._route.undecoded else decode(body, self._decoder)

    def _count(self, caller: Caller, size: int) -> None:
        if size:
            self._domain.node.actions.limits.check_bytes(caller, size, asyncio.get_running_loop().time())


async def read(request: web.Request, limit: int, hold: Callable[[int], None]) -> bytes:
    """The body, whole. ``hold`` is told of the bytes that there are more of it.

    Raises:
        TooLarge: it has more than ``limit`` bytes.
        TooSlow: it is not there in time.
    """
    body = bytearray()  # whatever pieces it comes in, each is copied once
    is_large = (request.content_length or 0) > limit
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while not is_large and (part := await request.content.readany()):
                body += part
                hold(len(part))
                is_large = len(body) > limit
    except TimeoutError:
        raise TooSlow from None
    if is_large:
        raise TooLarge(f"The body may have {limit} bytes.")
    return bytes(body)


def decode(body: bytes, decoder: msgspec.json.Decoder[Any]) -> Any:
    """What a body says.

    Raises:
        BadJson: it is no JSON.
        BadRequest: it is not of the route's type.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as exc:
        raise BadRequest(in_words(exc)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise BadJson(f"The body is not JSON: {exc}.") from None
    except RecursionError:
        raise BadJson("The body is nested too deeply.") from None


def convert(values: Mapping[str, str], kind: Any) -> Any:
    """Texts of a URL as what their route says they are; None where it says nothing. Raises BadRequest."""
    if kind is None:
        return None
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as exc:
        raise BadRequest(in_words(exc)) from None


def in_words(exc: msgspec.ValidationError) -> str:
    """What is wrong, and where; a rule of names instead of its pattern."""
    text = str(exc)
    where = text.rpartition(" - at ")[2].strip("`").removeprefix("$.") if " - at " in text else "this"
    return f"{where} is no name: {NAME_RULE}." if "matching regex" in text else f"{text}."


def encode(answer: Answer, media: str) -> web.Response:
    body = answer.body
    if body is None:
        return web.Response(status=answer.status, headers=answer.headers)
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return web.Response(status=answer.status, body=raw, headers={"Content-Type": media, **answer.headers})
