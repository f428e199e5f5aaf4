"""The public keys of one issuer: which of a key set fit, and when to read it again. Pure: the time is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import jwt
import msgspec

from messaging.settings.issuers import Algorithm

READ_EVERY = 30.0  # seconds between two tries at least, whatever unknown keys tokens name
MAX_KEYS = 1000
STALE_AFTER = 3600.0  # seconds: what an issuer withdrew is let in no longer than that

_KINDS: dict[Algorithm, tuple[str, str | None]] = {
    "RS256": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "EdDSA": ("OKP", "Ed25519"),
}


class _KeySet(msgspec.Struct, frozen=True):
    keys: Annotated[list[Annotated[dict[str, Any], msgspec.Meta(max_length=100)]], msgspec.Meta(max_length=MAX_KEYS)]


def read_keys(body: bytes, algorithm: Algorithm) -> dict[str, jwt.PyJWK]:
    """The keys of a JWK set (RFC 7517) that verify ``algorithm``, by their ids. What does not fit is passed over.

    Raises:
        ValueError: it is no key set, or none of its keys fits.
    """
    try:
        found = msgspec.json.decode(body, type=_KeySet).keys
    except (msgspec.MsgspecError, RecursionError) as exc:
        raise ValueError(f"this is no key set: {exc}") from None
    keys = {jwk["kid"]: key for jwk in found if fits(jwk, algorithm) if (key := _key(jwk, algorithm)) is not None}
    if not keys:
        raise ValueError(f"none of its {len(found)} keys is a public key for {algorithm} with an id")
    return keys


def fits(jwk: Mapping[str, Any], algorithm: Algorithm) -> bool:
    """Whether a key says that it is one for ``algorithm``, to verify with, and public."""
    kind, curve = _KINDS[algorithm]
    operations = jwk.get("key_ops", ["verify"])
    return (
        jwk.get("kty") == kind
        and (curve is None or jwk.get("crv") == curve)
        and jwk.get("alg", algorithm) == algorithm
        and jwk.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
        and isinstance(jwk.get("kid"), str)
        and "d" not in jwk
    )


def _key(jwk: dict[str, Any], algorithm: Algorithm) -> jwt.PyJWK | None:
    try:
        return jwt.PyJWK(jwk, algorithm)
    except jwt.PyJWTError:
        return None


class Keys:
    """What is known of an issuer's keys. Seconds are of any clock that only goes forward."""

    def __init__(self) -> None:
        self._known: dict[str, jwt.PyJWK] = {}
        self._read_at: float | None = None
        self._tried_at: float | None = None

    @property
    def readable(self) -> bool:
        """Whether the last try brought keys."""
        return self._read_at is not None and self._read_at == self._tried_at

    def find(self, kid: str) -> jwt.PyJWK | None:
        return self._known.get(kid)

    def wanted(self, kid: str, now: float) -> bool:
        """Whether to read the issuer's keys (again), for a token that names this one."""
        if self._tried_at is not None and now - self._tried_at < READ_EVERY:
            return False
        return self._read_at is None or kid not in self._known or now - self._read_at >= STALE_AFTER

    def trying(self, now: float) -> None:
        """They are about to be read. What is known holds on until they are, also if they can't be."""
        self._tried_at = now

    def read(self, keys: dict[str, jwt.PyJWK]) -> None:
        """They were read: an issuer's keys are those that it names now."""
        self._known = keys
        self._read_at = self._tried_at
