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


async def issue(request: Request[None, TicketRequest]) -> Answer:
    claims, domain = await _claims(request), request.domain
    try:  # each ticket opens one connection
        ticket = await domain.node.tickets.issue(claims, request.caller.id, domain.settings.max_connections_per_user)
    except RateLimited:
        request.actions.limits.reached("tickets")
        raise
    return Answer(201, IssuedTicket(ticket, TICKET_SECONDS))


async def _claims(request: Request[None, TicketRequest]) -> Claims:
    user = request.caller.user
    if user is not None:
        request.caller.require_self(request.body.user or user.name)
        # Those of the token itself: a ticket gives no longer life, and is revoked with it.
        return await request.domain.tokens.verify(request.token)
    if request.body.user is None:
        raise BadRequest("user is missing: for whom is the ticket?")
    known = await request.actions.know(bearer_name(request.body.user))
    now = await request.domain.node.store.tokens.now()
    return Claims(known.name, secrets.token_urlsafe(12), now, now + ONE_DAY)


async def log_in(request: Request[None, Login]) -> Answer:
    claims = await request.domain.node.tickets.redeem(request.body.ticket)
    await identify(request.domain.node.store, claims)
    token = request.domain.tokens.stand_in(claims)
    return Answer(200, LoggedIn(claims.user, token, datetime.fromtimestamp(claims.expires_at, UTC)))
