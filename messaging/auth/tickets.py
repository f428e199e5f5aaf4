"""One-use tickets: what a page or a link carries where a token must not stand."""

from __future__ import annotations

import hmac
import secrets
import time
from base64 import urlsafe_b64encode

import msgspec

from messaging.auth.tokens import Claims
from messaging.errors import RateLimited, Unauthorized
from messaging.store.store import Store

TICKET_SECONDS = 60
PREFIX = "t."  # a token never begins like this: it is three parts in base64
_SEAL = 24  # characters


class Tickets:
    """Issues and redeems tickets. Each has a seal, so that of a wrong one the store is never asked."""

    def __init__(self, store: Store) -> None:
        self._store = store.tokens
        self._shared_value = store.shared_value
        self._key = b""
        store.epochs.attach(self._forget_key)  # a database that was restored may have another

    async def issue(self, claims: Claims, user_id: int | None = None, most: int = 0) -> str:
        """A ticket that stands in, once and within a minute of its life, for the token with these claims.

        Raises:
            RateLimited: the user who asks for it has ``most`` that live; 0: no limit.
        """
        name = PREFIX + secrets.token_urlsafe(24)
        ticket = name + await self._seal(name)
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
        name, seal = ticket[:-_SEAL], ticket[-_SEAL:]
        is_ours = hmac.compare_digest(seal.encode(errors="surrogatepass"), (await self._seal(name)).encode())
        claims = await self._store.take_ticket(ticket) if is_ours else None
        if claims is None:
            raise Unauthorized("The ticket was used already, or is more than a minute old. Ask for a new one.")
        return msgspec.json.decode(claims, type=Claims)

    async def open(self) -> None:
        """Have the database keep the key of the seals before its first backup. Raises Unavailable."""
        await self._seal("")

    def _forget_key(self) -> None:
        self._key = b""

    async def _seal(self, name: str) -> str:
        if not self._key:  # all processes have one, of their database
            self._key = (await self._shared_value("ticket_secret", secrets.token_hex(32))).encode()
        return urlsafe_b64encode(hmac.digest(self._key, name.encode(errors="surrogatepass"), "sha256")[:18]).decode()
