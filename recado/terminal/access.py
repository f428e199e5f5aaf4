"""Where the server is, and as whom one may speak to it: from the options, the environment, and what is kept here."""

from __future__ import annotations

import argparse
import json
from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from recado.client import Refused
from recado.terminal.rest import Rest, bearer
from recado.terminal.server import Mistake, Sign, find_server

ONE_DAY = 86400  # seconds
TOKEN_VARIABLE = "RECADO_TOKEN"


@dataclass(frozen=True, slots=True)
class Access:
    """A server and the credentials for it. ``key`` and ``token`` are "" where there are none."""

    api_url: str
    ws_url: str
    key: str
    token: str
    sign: Sign | None = None  # where the server's key is here

    @classmethod
    def from_options(cls, options: argparse.Namespace, environ: Mapping[str, str]) -> Access:
        """Options stand over the environment. Raises Mistake."""
        server = find_server()
        sign = server.signer(environ, elsewhere=bool(options.api or options.ws)) if server is not None else None
        return cls(
            api_url=_address("--api", options.api or door_url("API", environ), ("http", "https")),
            ws_url=_address("--ws", options.ws or door_url("WS", environ), ("ws", "wss")),
            key=options.key or environ.get("API_KEY", "").strip(),
            token=environ.get(TOKEN_VARIABLE, "").strip(),
            sign=sign,
        )

    def user(self, wished: str | None) -> str:
        """Who speaks: who is wished for, else whom RECADO_TOKEN names. Raises Mistake."""
        if wished:
            return wished
        if not self.token:
            raise Mistake(f"Say as whom: --as USER (or set {TOKEN_VARIABLE} to the token that you were given).")
        return user_of(self.token)

    def local_token(self, user: str, lifetime: float = ONE_DAY) -> str | None:
        """A token that needs nobody's help: the given one, or signed with the key that is kept here. Raises Mistake."""
        if self.token and user_of(self.token) == user:
            return self.token
        return self.sign(user, lifetime) if self.sign is not None else None

    def token_source(self, rest: Rest, user: str) -> str | Callable[[], Awaitable[str]]:
        """What the client needs: the given token, or what gives a new one whenever the last one has expired."""
        if self.token and user_of(self.token) == user:
            return self.token

        async def fresh() -> str:
            return await self.issue(rest, user)

        return fresh

    async def issue(self, rest: Rest, user: str, lifetime: float = ONE_DAY, tries: int = 1) -> str:
        """A token for a user: from here if possible, else from the API. Raises Refused, Unreachable, Mistake."""
        token = self.local_token(user, lifetime)
        if token is not None:
            return token
        body = {"user": user, "expires_in": int(lifetime)}
        try:
            answer = await rest.ask("POST", "/api/v1/tokens", body, headers=bearer(self.key), tries=tries)
        except Refused as exc:
            if exc.code not in ("unauthorized", "forbidden"):
                raise
            advice = f"The API gives tokens to who has its key: --key KEY (or API_KEY); or set {TOKEN_VARIABLE}."
            raise Refused(exc.code, f"{exc} {advice}") from None
        return str(answer["token"])

    def headers(self, user: str | None) -> dict[str, str]:
        """For a request on behalf of a user: the API key, else a token of the user's own, else open mode's nothing."""
        return bearer(self.key or (self.local_token(user) if user else "") or "")


def door_url(door: str, environ: Mapping[str, str]) -> str:
    """A door's address, from the settings that the server itself would read."""

    def said(name: str, otherwise: str) -> str:
        return environ.get(name, "").strip() or otherwise

    scheme, port = {"API": ("http", "5001"), "WS": ("ws", "5000")}[door]
    host = said(f"{door}_HOST", "127.0.0.1").removeprefix("[").removesuffix("]")
    host = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return said(f"PUBLIC_{door}_URL", f"{scheme}://{host}:{said(f'{door}_PORT', port)}")


def _address(name: str, url: str, schemes: tuple[str, ...]) -> str:
    """The same without a slash at its end. Raises Mistake."""
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in schemes and bool(parts.hostname) and (parts.port or 0) >= 0
    except ValueError:  # a port that is none
        is_address = False
    if not is_address:
        raise Mistake(f"{name}: {url!r} is no address such as {schemes[0]}://127.0.0.1:5000")
    return url.rstrip("/")


def user_of(token: str) -> str:
    """Whom a token (RFC 7519) names; only the server can tell whether it is true. Raises Mistake."""
    try:
        _, claims, _ = token.split(".")
        said = json.loads(urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        return str(said.get("sub", said.get("username", "")))
    except (ValueError, AttributeError, RecursionError):
        raise Mistake(f"{TOKEN_VARIABLE} is no token.") from None
