"""Who may connect: the answer to a handshake, by its token, its Origin, and whether connections are taken now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec
from websockets.http11 import Request, Response

from messaging.auth.access import Arrival, Rules, WrongCredentials, check_metrics
from messaging.auth.identity import identify
from messaging.auth.tickets import PREFIX, Tickets
from messaging.auth.tokens import Claims, Tokens
from messaging.errors import BadRequest, Forbidden, RecadoError, Unauthorized, Unavailable
from messaging.limits.limits import Limits
from messaging.limits.strangers import TooManyStrangers
from messaging.model import User
from messaging.observability.metrics import CONTENT_TYPE, Metrics
from messaging.settings.addresses import client_address
from messaging.settings.settings import Settings, origin_of
from messaging.store.store import Store
from ws_server.handshake import ConnectOptions, answer, arrival_of, connect_options, refused, token_of

READY_SECONDS = 2.0  # that the database has to answer


@dataclass(frozen=True, slots=True)
class Admitted:
    """Who is let in, with what."""

    user: User
    claims: Claims
    options: ConnectOptions


class Admission:
    """Lets in, or says why not. It answers /healthz, /readyz and /metrics, too."""

    def __init__(self, settings: Settings, store: Store, tokens: Tokens, metrics: Metrics, limits: Limits) -> None:
        self._rules = Rules.of(settings)
        self._wrong = WrongCredentials(metrics.reached)
        self._store = store
        self._tokens = tokens
        self._tickets = Tickets(store)
        self._metrics = metrics
        self._limits = limits

    async def admit(
        self, peer: str, request: Request, hold_back: Callable[[float], Awaitable[None]], *, shut: bool
    ) -> Admitted | Response:
        """Who is let in, or the answer to a request that is not let in. ``shut``: nobody is let in now."""
        arrival = arrival_of(peer, request.headers, is_old=request.protocol == "HTTP/1.0")
        address = client_address(peer, arrival.forwarded, self._rules.proxies)
        try:
            return await self._count_refusals(arrival, address, request, shut=shut)
        except TooManyStrangers as exc:
            await hold_back(exc.wait)
            return refused(exc)
        except RecadoError as exc:
            return refused(exc)

    async def _count_refusals(
        self, arrival: Arrival, address: str, request: Request, *, shut: bool
    ) -> Admitted | Response:
        try:
            return await self._decide(arrival, address, request, shut=shut)
        except (Unauthorized, Forbidden, BadRequest) as exc:
            await self._limits.turns.begin()
            self._limits.strangers.check(address, asyncio.get_running_loop().time())
            raise self._wrong.answer_to(exc, address, time.monotonic()) from None

    async def _decide(self, arrival: Arrival, address: str, request: Request, *, shut: bool) -> Admitted | Response:
        try:
            url = urlsplit(request.path)
        except ValueError:  # as for "//[": its text would show the path, and with it a token
            raise BadRequest("This is not an address.") from None
        self._check_origin(request)
        if url.path == "/metrics":
            check_metrics(self._rules, arrival)
            return answer(200, self._metrics.text(), CONTENT_TYPE)
        if url.path in ("/healthz", "/readyz"):
            await self._limits.turns.begin()
            return await self._health(ready=url.path == "/readyz", shut=shut)
        if shut:
            raise Unavailable("The server takes no new connections now. Come back in a moment.")
        options = connect_options(url.query)
        token = token_of(url.path, request.headers)
        claims = await (self._tickets.redeem(token) if token.startswith(PREFIX) else self._tokens.verify(token))
        return Admitted(await identify(self._store, claims), claims, options)

    def _check_origin(self, request: Request) -> None:
        if any(origin_of(origin) not in self._rules.origins for origin in request.headers.get_all("Origin")):
            raise Forbidden("Pages of this origin may not connect. Add it to ALLOWED_ORIGINS.")

    async def _health(self, *, ready: bool, shut: bool) -> Response:
        try:
            if ready:
                if shut:
                    raise Unavailable("The server is stopping.")
                async with asyncio.timeout(READY_SECONDS):
                    await self._store.ping()
        except (RecadoError, TimeoutError) as exc:
            return answer(503, msgspec.json.encode({"status": "unavailable", "message": str(exc)}))
        return answer(200, b'{"status":"ok"}')
