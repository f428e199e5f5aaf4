"""One-use tickets: what a page or a link carries where a token must not stand."""

from __future__ import annotations

import secrets
import time

import msgspec

from messaging.auth.tokens import Claims
from messaging.errors import RateLimited, Unauthorized
from messaging.store.store import Store

TICKET_SECONDS = 60
PREFIX = "t."  # a token never begins like this: it is three parts in base64


class Tickets:
    """Issues and redeems tickets."""

    def __init__(self, store: Store) -> None:
        self._store = store.tokens

    async def issue(self, claims: Claims, user_id: int | None = None, most: int = 0) -> str:
        """A ticket that stands in, once and within a minute of its life, for the token with these claims.

        Raises:
            RateLimited: the user who asks for it has ``most`` that live; 0: no limit.
        """
        ticket = PREFIX + secrets.token_urlsafe(24)
        seconds = min(TICKET_SECONDS, max(0.0, claims.expires_at - time.time()))
        if not await self._store.keep_ticket(ticket, msgspec.json.encode(claims).decode(), seconds, user_id, most):
            raise RateLimited(
                f"{most} of your tickets are neither used nor a minute old (MAX_CONNECTIONS_PER_USER). Wait a moment."
            )
        return ticket

    async def redeem(self, ticket: str) -> Claims:
        """The claims behind a ticket, which is then used up. Whether they were revoked is not looked at here.

        Raises:
            Unauthorized: it is no ticket, was used, or is too old, as its token may be.
        """
        claims = await self._store.take_ticket(ticket)
        if claims is None:
            raise Unauthorized("The ticket was used already, or is more than a minute old. Ask for a new one.")
        return msgspec.json.decode(claims, type=Claims)
