"""Tokens: issue, read, revoke."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec

from api.route import Answer, Request, Route
from api.shapes import Empty, Lifetime, PersonName, Problem
from messaging.auth.tokens import MAX_ID, ONE_DAY
from messaging.errors import BadRequest, Unauthorized, UnknownUser
from messaging.log.content import check_json
from messaging.model import person_name

PAYLOAD_BYTES = 2048  # base64 makes 4 of 3, and a token has at most 4096

TokenId = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID)]
# Kept raw, so that its depth is checked before anything walks it.
Payload = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": "object"})]


class TokenRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For whom, for how long, and what else the token says. No other field: a restriction must not be overlooked."""

    user: PersonName
    expires_in: Lifetime = ONE_DAY
    payload: Payload = msgspec.field(default_factory=lambda: msgspec.Raw(b"{}"))


class IssuedToken(msgspec.Struct, frozen=True):
    token: str
    expires_at: datetime


class Token(msgspec.Struct, frozen=True):
    token: str


class UserQuery(msgspec.Struct, frozen=True):
    user: PersonName


class TokenQuery(msgspec.Struct, frozen=True):
    """`user` to encode, with any others as payload; `token` to decode."""

    user: PersonName | None = None
    token: str | None = None


class Revocation(msgspec.Struct, frozen=True):
    """One of both: all tokens of a user that were issued until now, or one token by its id."""

    user: PersonName | None = None
    jti: TokenId | None = None


def routes() -> list[Route]:
    group = "Tokens"
    revoking = "Revoke all tokens of a user, or one. Its live sessions end within a second."
    return [
        Route(method="POST", path="/api/v1/tokens", handler=issue, group=group, access="backend", body=TokenRequest,
              summary="Issue a token for a user, who is known from then on.", answers={201: IssuedToken},
              example={"user": "ana", "expires_in": 3600}),
        Route(method="POST", path="/api/v1/tokens/revoke", handler=revoke, group=group, access="backend",
              body=Revocation, summary=revoking, answers={200: Empty}, errors=(UnknownUser,),
              example={"user": "ana"}),
        Route(method="GET", path="/api/v1/gen_token", handler=generate, group=group, access="backend",
              query=UserQuery, summary="Issue a token for a day.", answers={200: Token}),
        Route(method="GET", path="/api/v1/token", handler=translate, group=group, access="backend",
              query=TokenQuery, headers=("Action",), answers={200: dict[str, Any], 400: Problem},
              summary="With the header Action: encode, issue a token for a day (user; all other parameters become its"
                      " payload). With Action: decode, say what a token claims."),
    ]  # fmt: skip


async def issue(request: Request[None, TokenRequest]) -> Answer:
    body = request.body
    payload = msgspec.json.decode(check_json(body.payload, PAYLOAD_BYTES))
    if not isinstance(payload, dict):
        raise BadRequest("payload must be an object.")
    token, expires_at = await _issue(request, body.user, body.expires_in, payload)
    return Answer(201, IssuedToken(token, datetime.fromtimestamp(expires_at, UTC)))


async def generate(request: Request[UserQuery, None]) -> Answer:
    token, _ = await _issue(request, request.query.user)
    return Answer(200, Token(token))


async def revoke(request: Request[None, Revocation]) -> Answer:
    match request.body:
        case Revocation(user=str(user), jti=None):
            await request.actions.revoke_user(person_name(user))
        case Revocation(user=None, jti=str(jti)):
            await request.actions.revoke_token(jti)
        case _:
            raise BadRequest("Either user or jti.")
    return Answer(200, Empty())


async def translate(request: Request[TokenQuery, None]) -> Answer:
    action = request.headers.get("Action", "").lower()
    if action == "encode":
        return await encode(request)
    if action == "decode":
        return await decode(request)
    return Answer(400, Problem("bad_request", "Action header not found"))


async def encode(request: Request[TokenQuery, None]) -> Answer:
    if request.query.user is None:
        raise BadRequest("The parameter user is missing.")
    payload = {name: value for name, value in request.parameters.items() if name != "user"}
    token, _ = await _issue(request, request.query.user, payload=payload)
    return Answer(200, Token(token))


async def decode(request: Request[TokenQuery, None]) -> Answer:
    try:
        claims = await request.domain.tokens.decode(request.query.token or "")
    except Unauthorized:
        return Answer(400, Problem("bad_request", "Token not decoded"))
    return Answer(200, claims | {f"{name}_readable": readable(claims.get(name)) for name in ("iat", "exp")})


def readable(seconds: Any) -> str | None:
    """A time of a token (seconds since 1970) in RFC 3339; None where it is none."""
    try:
        return datetime.fromtimestamp(float(seconds), UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (TypeError, ValueError, OverflowError, OSError):
        return None


async def _issue(
    request: Request[Any, Any], user: str, lifetime: float = ONE_DAY, payload: dict[str, Any] | None = None
) -> tuple[str, float]:
    issued = request.domain.tokens.issue(user, lifetime, payload, await request.domain.node.store.tokens.now())
    await request.actions.know(user)
    return issued
