"""Tokens of other issuers: who issued one, with which key, for which user.

An issuer is known by its `iss`, to the letter, from the settings; nothing that a token says leads anywhere else. Its
keys are read over HTTP when a token needs them: one request at a time for an issuer, in a task of its own, so whoever
gives up waiting takes nothing from the others.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import jwt
import msgspec

from messaging.auth.issuers.keys import Keys, read_keys
from messaging.errors import Unauthorized, Unavailable
from messaging.model import NAME_RULE, NOBODYS, is_like_news, is_name
from messaging.settings.issuers import Issuer

if TYPE_CHECKING:
    from messaging.auth.issuers.fetching import KeyReader

READ_SECONDS = 5.0  # that an issuer has to answer
_TYPES = ("jwt", "at+jwt")  # a logout token (OpenID Connect Back-Channel Logout 1.0) must not let anybody in

log = logging.getLogger(__name__)

T = TypeVar("T")


class _Header(msgspec.Struct, frozen=True):
    alg: str = ""
    kid: str | None = None
    typ: str = "JWT"


class _Claims(msgspec.Struct, frozen=True):
    iss: str = ""


class _Known:
    """An issuer with what is known of its keys."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.keys = Keys()
        self.reading: asyncio.Task[None] | None = None


class Issuers:
    """The other issuers. `close` last."""

    def __init__(
        self,
        issuers: Iterable[Issuer] = (),
        clock: Callable[[], float] = time.monotonic,
        patience: float = READ_SECONDS,
    ) -> None:
        self._known = {issuer.issuer: _Known(issuer) for issuer in issuers}
        self._clock = clock
        self._patience = patience
        self._reader: KeyReader | None = None

    async def close(self) -> None:
        """Give up what is being read."""
        reading = [known.reading for known in self._known.values() if known.reading is not None]
        for task in reading:
            task.cancel()
        if reading:
            await asyncio.wait(reading)
        if self._reader is not None:
            await self._reader.close()

    def of(self, token: str) -> Issuer | None:
        """Who says to have issued a token; None where that is none of these. Nothing is verified yet."""
        if not self._known:
            return None
        claims = _peek(token, 1, _Claims)
        known = self._known.get(claims.iss) if claims is not None else None
        return None if known is None else known.issuer

    async def key(self, issuer: Issuer, token: str) -> jwt.PyJWK:
        """The key of this issuer that must have signed the token. Safe to cancel.

        Raises:
            Unauthorized: the token is not one that this issuer would sign, or the issuer has no such key.
            Unavailable: its keys can't be read now.
        """
        header = _peek(token, 0, _Header)
        if header is None or header.kid is None:
            raise Unauthorized("The token does not say which key signed it (kid).")
        if header.alg != issuer.algorithm:
            raise Unauthorized(f"Tokens of this issuer are signed with {issuer.algorithm}.")
        if header.typ.lower().removeprefix("application/") not in _TYPES:
            raise Unauthorized("This is a token of another kind: typ must be JWT or at+jwt.")
        return await self._find(self._known[issuer.issuer], header.kid)

    def user_of(self, issuer: Issuer, claims: Mapping[str, Any]) -> str:
        """The user whom an issuer's claims name. Raises Unauthorized for what is no name, or another issuer's."""
        said = claims.get(issuer.name_claim)
        name = issuer.prefix + said if isinstance(said, str) and said else ""
        if not is_name(name) or name in NOBODYS or is_like_news(name):
            raise Unauthorized(f"The claim {issuer.name_claim} names no user that could be one here: {NAME_RULE}.")
        others = [known.issuer.prefix for known in self._known.values() if known.issuer is not issuer]
        if not issuer.prefix and any(name.startswith(prefix) for prefix in others):
            raise Unauthorized(f"The claim {issuer.name_claim} begins as only names of another issuer do.")
        return name

    async def _find(self, known: _Known, kid: str) -> jwt.PyJWK:
        if known.reading is None and known.keys.wanted(kid, self._clock()):
            known.keys.trying(self._clock())
            known.reading = asyncio.create_task(self._read(known), name="issuer's keys")
        found = known.keys.find(kid)
        if found is None and known.reading is not None:
            await asyncio.wait([known.reading])
            found = known.keys.find(kid)
        if found is not None:
            return found
        if not known.keys.readable:
            raise Unavailable("The keys of the token's issuer can't be read now. Try again in half a minute.")
        raise Unauthorized("The token's issuer has no key of this id (kid). A new one is known within half a minute.")

    async def _read(self, known: _Known) -> None:
        issuer = known.issuer
        try:
            body = await self._open_reader().read(issuer.jwks_url)
            known.keys.read(read_keys(body, issuer.algorithm))
        except (OSError, ValueError) as exc:  # a TimeoutError is an OSError
            log.warning("the keys of %s can't be read from %s: %r", issuer.issuer, issuer.jwks_url, exc)
        finally:
            known.reading = None

    def _open_reader(self) -> KeyReader:
        if self._reader is None:
            from messaging.auth.issuers.fetching import KeyReader  # 9 MiB, without which most nodes do

            self._reader = KeyReader(self._patience)
        return self._reader


def _peek(token: str, part: int, kind: type[T]) -> T | None:
    """What a part of a token says, unverified; None where it can't be read."""
    try:
        raw = base64.urlsafe_b64decode(token.split(".")[part] + "==")
        return msgspec.json.decode(raw, type=kind)
    except (IndexError, ValueError, msgspec.MsgspecError, RecursionError):
        return None
