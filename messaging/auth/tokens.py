"""Issue and verify tokens: JWTs (RFC 7519, RFC 7518). Ours are signed with HS256, other issuers' with their keys."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import jwt
from jwt.types import Options

from messaging.auth.issuers.verifying import Issuers
from messaging.errors import BadRequest, TokenExpired, Unauthorized
from messaging.grants import CLAIM, Grants, grants_of
from messaging.model import LEEWAY, MAX_LIFETIME, bearer_name
from messaging.settings.issuers import Issuer

ONE_DAY = 86400  # seconds
MAX_TOKEN = 4096  # bytes
MAX_ID = 1024  # bytes of a jti
_ALGORITHM = "HS256"


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid token says."""

    user: str
    jti: str  # "" where the token has none
    issued_at: float  # seconds since 1970; 0 where the token does not say
    expires_at: float
    payload: Mapping[str, Any] = field(default_factory=dict)  # with the claim `topics`, wherever it stood
    grants: Grants = field(default_factory=Grants)


@dataclass(frozen=True, slots=True)
class _Check:
    """What a token's signature and claims must agree with."""

    key: jwt.PyJWK | str
    algorithm: str
    required: tuple[str, ...]
    issuer: Issuer | None = None


class Tokens:
    """Issues tokens with one secret; verifies these, and those of other issuers. `async with` where there are any."""

    def __init__(self, secret: str, issuers: Iterable[Issuer] | Issuers = ()) -> None:
        self._ours = _Check(secret, _ALGORITHM, ("exp",))
        self._issuers = issuers if isinstance(issuers, Issuers) else Issuers(issuers)
        # A short key only warns by default.
        self._jwt = jwt.PyJWT(options={"enforce_minimum_key_length": True})

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._issuers.close()

    def issue(
        self, user: str, lifetime: float = ONE_DAY, payload: Mapping[str, Any] | None = None, now: float | None = None
    ) -> tuple[str, float]:
        """A new token for ``user``, as whatever system calls the person, and when it expires (seconds since 1970).

        ``iat`` has fractions (a NumericDate may): a token made right after a revocation is told from one made before.
        ``now``: by the database's clock, which revocations go by; None: by this machine's, which may differ a little.

        Raises:
            BadRequest: the name, the lifetime (seconds, at most a year), the payload's claim `topics` or the size is
                not within the rules.
        """
        if not 0 < lifetime <= MAX_LIFETIME:
            raise BadRequest(f"A token lives for 1 … {MAX_LIFETIME} seconds.")
        _granted(payload or {}, BadRequest)
        now = time.time() if now is None else now
        expires_at = math.ceil(now + lifetime)
        claims = Claims(bearer_name(user), secrets.token_urlsafe(12), now, expires_at, payload or {})
        return self.stand_in(claims), expires_at

    def stand_in(self, claims: Claims) -> str:
        """A token of ours that says what another one said, and is revoked with it.

        Raises:
            BadRequest: it would be too long.
        """
        said: dict[str, Any] = {"sub": claims.user, "exp": claims.expires_at}
        said |= {"iat": claims.issued_at} if claims.issued_at else {}
        said |= {"jti": claims.jti} if claims.jti else {}
        said |= {"payload": dict(claims.payload)} if claims.payload else {}
        token = self._jwt.encode(said, self._ours.key, _ALGORITHM)
        if len(token) > MAX_TOKEN:
            raise BadRequest(f"The payload makes a token of {len(token)} bytes; the most is {MAX_TOKEN}.")
        return token

    async def decode(self, token: str) -> dict[str, Any]:
        """The claims of a token whose signature and times are right. Ours are verified without ever waiting.

        Raises:
            Unauthorized: it is not; the text says why and never has the token.
            Unavailable: it is another issuer's, whose keys can't be read now.
        """
        return self._checked(token, await self._check_for(token))

    async def verify(self, token: str) -> Claims:
        """What a valid token says. In ours the claim ``username`` stands in where ``sub`` is missing.

        Whether it was revoked only the store knows.

        Raises:
            Unauthorized: the token is not valid, or names no user that could exist.
            Unavailable: it is another issuer's, whose keys can't be read now.
        """
        check = await self._check_for(token)
        claims = self._checked(token, check)
        issuer = check.issuer
        user = _our_user(claims) if issuer is None else self._issuers.user_of(issuer, claims)
        payload = _payload(claims)
        return Claims(
            user=user,
            jti=_id(claims),
            issued_at=float(claims.get("iat", 0)),
            expires_at=float(claims["exp"]),
            payload=payload,
            grants=_granted(payload, Unauthorized),
        )

    async def _check_for(self, token: str) -> _Check:
        if len(token) > MAX_TOKEN:
            raise Unauthorized("The token is too long.")
        issuer = self._issuers.of(token)
        if issuer is None:
            return self._ours
        key = await self._issuers.key(issuer, token)
        return _Check(key, issuer.algorithm, ("exp", "iat", "iss", "aud", issuer.name_claim), issuer)

    def _checked(self, token: str, check: _Check) -> dict[str, Any]:
        options: Options = {"require": list(check.required)}
        audience, issuer = (check.issuer.audience, check.issuer.issuer) if check.issuer is not None else (None, None)
        try:
            claims = self._jwt.decode(
                token, check.key, [check.algorithm], options=options, leeway=LEEWAY, audience=audience, issuer=issuer
            )
            expires_at, now = float(claims["exp"]), time.time()
            lifetime = expires_at - float(claims.get("iat", now))
        except jwt.ExpiredSignatureError:
            raise TokenExpired from None
        except (jwt.PyJWTError, ValueError, OverflowError, RecursionError) as exc:
            raise Unauthorized(f"The token is not valid: {type(exc).__name__}.") from None
        if expires_at <= now:  # the leeway is for clocks that run behind, not for expiry
            raise TokenExpired
        if not lifetime <= MAX_LIFETIME + LEEWAY:  # a revocation is kept for no longer
            raise Unauthorized("The token is not valid: it lives for more than a year.")
        return claims


def _our_user(claims: Mapping[str, Any]) -> str:
    user = claims.get("sub", claims.get("username"))
    try:
        return bearer_name(user if isinstance(user, str) else "")
    except BadRequest:
        raise Unauthorized("The token names no user.") from None


def _id(claims: Mapping[str, Any]) -> str:
    """The claim `jti`, a text already. Raises Unauthorized for one by which no token could be revoked."""
    jti: str = claims.get("jti", "")
    try:
        if len(jti.encode()) <= MAX_ID:
            return jti
    except UnicodeEncodeError:  # half of a surrogate pair
        pass
    raise Unauthorized(f"The token is not valid: its id (jti) is a text of at most {MAX_ID} bytes.")


def _payload(claims: Mapping[str, Any]) -> dict[str, Any]:
    """The claim `payload`, with the claim `topics` where that stands at the top. Raises Unauthorized for both."""
    given = claims.get("payload")
    payload = dict(given) if isinstance(given, dict) else {}
    if CLAIM in claims:
        if CLAIM in payload:
            raise Unauthorized("The token says twice which topics it is for: at the top and in its payload.")
        payload[CLAIM] = claims[CLAIM]
    return payload


def _granted(payload: Mapping[str, Any], error: type[BadRequest] | type[Unauthorized]) -> Grants:
    try:
        return grants_of(payload)
    except ValueError as exc:
        raise error(f"The token's claim about topics is malformed: {exc}.") from None
