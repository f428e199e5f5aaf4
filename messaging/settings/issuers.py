"""The setting JWT_ISSUERS: who else issues tokens that are let in, as types. Read once, at the start."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from messaging.model import is_name

Algorithm = Literal["RS256", "ES256", "EdDSA"]

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Issuer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An issuer whose tokens are let in. All that decides how one is verified stands here, nothing in the token."""

    issuer: str  # the claim `iss`, to the letter
    audience: str  # must be (among) the claim `aud`
    jwks_url: str  # where its public keys are (RFC 7517)
    name_claim: str = "sub"  # which claim names the user
    prefix: str = ""  # goes before that name
    # Of one family: a key of one kind is never tried as one of another (RFC 8725, 3.1).
    algorithms: Annotated[tuple[Algorithm, ...], msgspec.Meta(max_length=10)] = ("RS256",)

    @property
    def algorithm(self) -> Algorithm:
        return self.algorithms[0]


Several = Annotated[tuple[Issuer, ...], msgspec.Meta(max_length=100)]  # each is compared with each


def parse_issuers(text: str) -> tuple[Issuer, ...]:
    """Issuers from a JSON array, or from the path of a file that holds one.

    Raises:
        ValueError: what is wrong, and with which issuer.
    """
    if not text.startswith("["):
        try:
            text = Path(text).read_text("utf-8")
        except OSError as exc:
            raise ValueError(f"a JSON array of issuers, or the path of a file with one ({exc.strerror})") from None
    try:
        issuers: tuple[Issuer, ...] = msgspec.json.decode(text, type=Several)
    except (msgspec.MsgspecError, RecursionError) as exc:
        raise ValueError(f"a JSON array of issuers, or the path of a file with one; this one: {exc}") from None
    for issuer in issuers:
        _check(issuer)
    _check_apart(issuers)
    return issuers


def _check(issuer: Issuer) -> None:
    for name in ("issuer", "audience", "name_claim"):
        if not getattr(issuer, name):
            raise ValueError(f"an issuer's {name} must not be empty")
    if len(set(issuer.algorithms)) != 1:
        raise ValueError(f"{issuer.issuer}: algorithms is one of RS256, ES256, EdDSA: one family for an issuer")
    if not is_key_address(issuer.jwks_url):
        raise ValueError(f"{issuer.issuer}: jwks_url must be https://…, or http:// on 127.0.0.1, [::1] or localhost")
    if not is_name(issuer.prefix + "x"):
        raise ValueError(f"{issuer.issuer}: prefix {issuer.prefix!r} can't begin a name")


def _check_apart(issuers: tuple[Issuer, ...]) -> None:
    """Two issuers never name the same user, whatever their tokens say: no prefix begins another."""
    for one, other in combinations(issuers, 2):
        if one.issuer == other.issuer:
            raise ValueError(f"{one.issuer}: it is there twice")
        if not other.prefix:
            raise ValueError(f"{other.issuer}: prefix is missing; every issuer but the first needs one of its own")
        if one.prefix and (one.prefix.startswith(other.prefix) or other.prefix.startswith(one.prefix)):
            raise ValueError(f"{other.issuer}: prefix {other.prefix!r} and {one.prefix!r}: none may begin the other")


def is_key_address(url: str) -> bool:
    """Whether keys may be read there: nobody on the way can change them."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 (raises for what is no port)
    except ValueError:
        return False
    if parts.username is not None or not parts.hostname:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
