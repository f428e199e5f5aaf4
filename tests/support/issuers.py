"""An issuer of tokens as others run them: keys over HTTP, tokens signed with them; and what can go wrong with it."""

from __future__ import annotations

import asyncio
import functools
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

from messaging.auth.issuers.verifying import Issuers
from messaging.auth.tokens import Tokens
from messaging.errors import Unauthorized
from messaging.settings.issuers import Algorithm, Issuer

FIREBASE = "https://securetoken.google.com/our-project"
AUTH0 = "https://our-tenant.eu.auth0.com/"
KEYCLOAK = "https://login.example.org/realms/ours"


@functools.cache
def private_key(algorithm: Algorithm, kid: str) -> Any:
    if algorithm == "RS256":
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key(ec.SECP256R1()) if algorithm == "ES256" else ed25519.Ed25519PrivateKey.generate()


def public_jwk(algorithm: Algorithm, kid: str, **changes: Any) -> dict[str, Any]:
    public: Any = private_key(algorithm, kid).public_key()
    found: Any = get_default_algorithms()[algorithm].to_jwk(public, as_dict=True)
    return {**found, "kid": kid, "use": "sig", "alg": algorithm, **changes}


def public_pem(algorithm: Algorithm, kid: str) -> bytes:
    public: Any = private_key(algorithm, kid).public_key()
    pem: bytes = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return pem


@dataclass
class SomeIssuer:
    """Signs tokens, and says its public keys to whoever asks, as far as ``lets_through`` is set."""

    iss: str
    audience: str
    algorithm: Algorithm
    url: str = ""
    kids: list[str] = field(default_factory=lambda: ["one"])
    reads: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    lets_through: asyncio.Event = field(default_factory=asyncio.Event)
    answer: Callable[[], web.Response] | None = None  # instead of its keys

    def setting(self, **changes: Any) -> Issuer:
        given = {"issuer": self.iss, "audience": self.audience, "jwks_url": self.url, "algorithms": (self.algorithm,)}
        return Issuer(**{**given, **changes})

    def claims(self, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        said = {"iss": self.iss, "aud": self.audience, "sub": "ana", "iat": now, "exp": now + 3600, **changes}
        return {name: value for name, value in said.items() if value is not None}

    def token(self, kid: str = "one", header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token that holds; ``claims`` changes what it says, None takes it away."""
        key = private_key(self.algorithm, kid)
        return jwt.encode(self.claims(**claims), key, self.algorithm, headers={"kid": kid, **(header or {})})

    def key_set(self) -> bytes:
        return json.dumps({"keys": [public_jwk(self.algorithm, kid) for kid in self.kids]}).encode()

    async def say_keys(self, request: web.Request) -> web.Response:
        self.reads += 1
        self.asked.set()
        await self.lets_through.wait()
        if self.answer is not None:
            return self.answer()
        return web.Response(body=self.key_set(), content_type="application/json")


@asynccontextmanager
async def issuing(
    iss: str = FIREBASE, audience: str = "our-project", algorithm: Algorithm = "RS256"
) -> AsyncIterator[SomeIssuer]:
    """An issuer on a port of its own, which is not that of its name: as with Firebase."""
    issuer = SomeIssuer(iss, audience, algorithm)
    issuer.lets_through.set()
    app = web.Application()
    app.router.add_get("/keys", issuer.say_keys)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    issuer.url = f"http://127.0.0.1:{runner.addresses[0][1]}/keys"
    try:
        yield issuer
    finally:
        issuer.lets_through.set()
        await runner.cleanup()


# --- on this side: who trusts it

SECRET = "a-secret-that-is-only-for-these-tests"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def trusting(
    *issuers: Issuer, clock: Callable[[], float] | None = None, patience: float = 5
) -> AsyncIterator[Tokens]:
    async with Tokens(SECRET, Issuers(issuers, clock or Clock(), patience)) as tokens:
        yield tokens


async def refusal(tokens: Tokens, token: str) -> str:
    """Why it is not let in; never with the token or its parts."""
    with pytest.raises(Unauthorized) as caught:
        await tokens.verify(token)
    assert [] == [part for part in token.split(".") if len(part) > 12 and part in str(caught.value)]
    return caught.value.message
