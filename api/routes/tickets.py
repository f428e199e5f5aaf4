"""Tickets: what stands in for a token, once, where a token must not stand (an address, a link)."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

import msgspec

from api.route import Answer, Request, Route
from api.shapes import PersonName
from messaging.auth.identity import identify
from messaging.auth.tickets import TICKET_SECONDS
from messaging.auth.tokens import ONE_DAY, Claims
from messaging.errors import BadRequest, RateLimited, Unauthorized
from messaging.model import bearer_name


class TicketRequest(msgspec.Struct, frozen=True):
    """For whom: a backend says it; a user's own token gives a ticket for that user."""

    user: PersonName | None = None


class IssuedTicket(msgspec.Struct, frozen=True):
    ticket: str
    expires_in: int


class Login(msgspec.Struct, frozen=True):
    ticket: str


class LoggedIn(msgspec.Struct, frozen=True):
    user: str
    token: str
    expires_at: datetime


def routes() -> list[Route]:
    group = "Tokens"
    return [
        Route(method="POST", path="/api/v1/tickets", handler=issue, group=group, body=TicketRequest,
              summary="A ticket that stands in for a token once, within a minute: in the WebSocket's address, or here.",
              answers={201: IssuedTicket}, example={"user": "ana"}),
        Route(method="POST", path="/api/v1/login", handler=log_in, group=group, access="visitor", body=Login,
              summary="Exchange a ticket, such as a login link carries, for a token.",
              answers={200: LoggedIn}, errors=(Unauthorized,), example={"ticket": "t.…"}),
    ]  # fmt: skip


async def issue(asked: Request[None, TicketRequest]) -> Answer:
    claims, domain = await _claims(asked), asked.domain
    try:  # each ticket opens one connection
        ticket = await domain.node.tickets.issue(claims, asked.caller.id, domain.settings.max_connections_per_user)
    except RateLimited:
        asked.actions.limits.reached("tickets")
        raise
    return Answer(201, IssuedTicket(ticket, TICKET_SECONDS))


async def _claims(asked: Request[None, TicketRequest]) -> Claims:
    user = asked.caller.user
    if user is not None:
        asked.caller.require_self(asked.body.user or user.name)
        # Those of the token itself: a ticket gives no longer life, and is revoked with it.
        return await asked.domain.tokens.verify(asked.token)
    if asked.body.user is None:
        raise BadRequest("user is missing: for whom is the ticket?")
    known = await asked.actions.know(bearer_name(asked.body.user))
    now = await asked.domain.node.store.tokens.now()
    return Claims(known.name, secrets.token_urlsafe(12), now, now + ONE_DAY)


async def log_in(asked: Request[None, Login]) -> Answer:
    claims = await asked.domain.node.tickets.redeem(asked.body.ticket)
    await identify(asked.domain.node.store, claims)
    token = asked.domain.tokens.stand_in(claims)
    return Answer(200, LoggedIn(claims.user, token, datetime.fromtimestamp(claims.expires_at, UTC)))
