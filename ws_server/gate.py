"""Who may come in: the answer to a handshake, from its token, its origin and the state of the house."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec
from websockets.http11 import Request, Response

from messaging.errors import BadRequest, Forbidden, RecadoError, Unavailable
from messaging.identity import identify
from messaging.metrics import CONTENT_TYPE, Metrics
from messaging.model import User
from messaging.settings import Settings, origin_of
from messaging.store import Store
from messaging.tickets import PREFIX, Tickets
from messaging.tokens import Claims, Tokens
from ws_server.handshake import Wishes, answer, refused, token_of, wishes

READY_SECONDS = 2.0  # that the database has to answer


@dataclass(frozen=True, slots=True)
class Guest:
    """Who is let in, with what."""

    user: User
    claims: Claims
    wishes: Wishes


class Gate:
    """Lets in, or says why not. Questions about health are answered at the gate, too."""

    def __init__(self, settings: Settings, store: Store, tokens: Tokens, metrics: Metrics) -> None:
        self._origins = settings.origins
        self._store = store
        self._tokens = tokens
        self._tickets = Tickets(store)
        self._metrics = metrics

    async def admit(self, request: Request, *, shut: bool) -> Guest | Response:
        """A guest, or the answer to a request that is not let in. ``shut``: nobody is let in now."""
        try:
            url = urlsplit(request.path)
        except ValueError:  # as for "//[": its text would show the path, and with it a token
            return refused(BadRequest("This is not an address."))
        if url.path == "/metrics":
            return answer(200, self._metrics.text(), CONTENT_TYPE)
        if url.path in ("/healthz", "/readyz"):
            return await self._health(ready=url.path == "/readyz", shut=shut)
        try:
            if shut:
                raise Unavailable("The server takes no new connections now. Come back in a moment.")
            self._check_origin(request)
            wished = wishes(url.query)
            claims = await self._claims(token_of(url.path, request.headers))
            return Guest(await identify(self._store, claims), claims, wished)
        except RecadoError as exc:
            return refused(exc)

    def _check_origin(self, request: Request) -> None:
        if any(origin_of(origin) not in self._origins for origin in request.headers.get_all("Origin")):
            raise Forbidden("Pages of this origin may not connect. Add it to ALLOWED_ORIGINS.")

    async def _claims(self, token: str) -> Claims:
        if token.startswith(PREFIX):
            return await self._tickets.redeem(token)
        return await self._tokens.verify(token)

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
