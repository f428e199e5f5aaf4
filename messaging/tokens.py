"""Issue and verify tokens: JWTs signed with HS256 (RFC 7519, RFC 7518)."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
from jwt.types import Options

from messaging.errors import BadRequest, Unauthorized
from messaging.model import MAX_LIFETIME, is_name

ONE_DAY = 86400  # seconds
LEEWAY = 30  # seconds that clocks of two machines may differ
MAX_TOKEN = 4096  # bytes
_ALGORITHM = "HS256"
_CHECKS: Options = {"require": ["exp"]}


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid token says."""

    user: str
    jti: str
    issued_at: float  # seconds since 1970; 0 where the token does not say
    expires_at: float
    payload: Mapping[str, Any] = field(default_factory=dict)


class Tokens:
    """Issues and verifies tokens with one secret."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        # A short key only warns by default.
        self._jwt = jwt.PyJWT(options={"enforce_minimum_key_length": True})

    def issue(
        self, user: str, lifetime: float = ONE_DAY, payload: Mapping[str, Any] | None = None
    ) -> tuple[str, float]:
        """A new token for ``user`` and when it expires (seconds since 1970).

        ``iat`` has fractions (a NumericDate may): a token made right after a revocation is told from one made before.

        Raises:
            BadRequest: the name, the lifetime (seconds, at most a year) or the size is not within the rules.
        """
        if not is_name(user):
            raise BadRequest(f"{user!r} is not a name that a user may have.")
        if not 0 < lifetime <= MAX_LIFETIME:
            raise BadRequest(f"A token lives for 1 … {MAX_LIFETIME} seconds.")
        now = time.time()
        jti = secrets.token_urlsafe(12)
        claims: dict[str, Any] = {"sub": user, "iat": now, "exp": int(now + lifetime), "jti": jti}
        if payload:
            claims["payload"] = dict(payload)
        token = self._jwt.encode(claims, self._secret, _ALGORITHM)
        if len(token) > MAX_TOKEN:
            raise BadRequest(f"The payload makes a token of {len(token)} bytes; the most is {MAX_TOKEN}.")
        return token, claims["exp"]

    def decode(self, token: str) -> dict[str, Any]:
        """The claims of a token whose signature and times are right.

        Raises:
            Unauthorized: it is not; the text says why and never has the token.
        """
        if len(token) > MAX_TOKEN:
            raise Unauthorized("The token is too long.")
        try:
            claims = self._jwt.decode(token, self._secret, [_ALGORITHM], options=_CHECKS, leeway=LEEWAY)
            expires_at, _ = float(claims["exp"]), float(claims.get("iat", 0))
        except (jwt.PyJWTError, ValueError, OverflowError, RecursionError) as exc:
            raise Unauthorized(f"The token is not valid: {type(exc).__name__}.") from None
        if expires_at <= time.time():  # the leeway is for clocks that run behind, not for expiry
            raise Unauthorized("The token has expired. Ask for a new one.")
        return claims

    def verify(self, token: str) -> Claims:
        """What a valid token says. The claim ``username`` stands in where ``sub`` is missing.

        Whether it was revoked only the store knows.

        Raises:
            Unauthorized: the token is not valid, or names no user that could exist.
        """
        claims = self.decode(token)
        user = claims.get("sub", claims.get("username"))
        if not isinstance(user, str) or not is_name(user):
            raise Unauthorized("The token names no user.")
        payload, jti = claims.get("payload"), claims.get("jti", "")
        return Claims(
            user=user,
            jti=jti if isinstance(jti, str) and is_name(jti) else "",
            issued_at=float(claims.get("iat", 0)),
            expires_at=float(claims["exp"]),
            payload=payload if isinstance(payload, dict) else {},
        )
