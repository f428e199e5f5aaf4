"""Where the server is, and as whom one may speak to it: from the options, the environment, and what is kept here."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import jwt

from messaging.auth.tokens import ONE_DAY, Tokens
from messaging.settings.settings import SECRET_BYTES, Settings
from recado.client import Refused
from recado.terminal.rest import Rest, bearer

TOKEN_VARIABLE = "RECADO_TOKEN"


class Mistake(Exception):
    """What was asked for can't be done like that; the text says how it can."""


@dataclass(frozen=True, slots=True)
class Access:
    """A server and the credentials for it. ``secret`` and ``token`` are "" where there are none."""

    api_url: str
    ws_url: str
    key: str
    secret: str
    token: str

    @classmethod
    def from_options(cls, options: argparse.Namespace, environ: Mapping[str, str]) -> Access:
        """Options stand over the environment. Raises SettingsError, Mistake."""
        settings = Settings.from_environ(environ)
        elsewhere = bool(options.api or options.ws)
        _check_url("--api", options.api, ("http", "https"))
        _check_url("--ws", options.ws, ("ws", "wss"))
        return cls(
            api_url=(options.api or settings.api_url).rstrip("/"),
            ws_url=(options.ws or settings.ws_url).rstrip("/"),
            key=options.key or settings.api_key,
            secret=settings.jwt_secret or ("" if elsewhere else kept_here(settings)),
            token=environ.get(TOKEN_VARIABLE, "").strip(),
        )

    def user(self, wished: str | None) -> str:
        """Who speaks: who is wished for, else whom RECADO_TOKEN names. Raises Mistake."""
        if wished:
            return wished
        if not self.token:
            raise Mistake(f"Say as whom: --as USER (or set {TOKEN_VARIABLE} to the token that you were given).")
        return user_of(self.token)

    def local_token(self, user: str, lifetime: float = ONE_DAY) -> str | None:
        """A token that needs nobody's help: the given one, or made with the secret that is kept here."""
        if self.token and user_of(self.token) == user:
            return self.token
        return Tokens(self.secret).issue(user, lifetime)[0] if self.secret else None

    def token_source(self, rest: Rest, user: str) -> str | Callable[[], Awaitable[str]]:
        """What the client needs: the given token, or what gives a new one whenever the last one has expired."""
        if self.token and user_of(self.token) == user:
            return self.token

        async def fresh() -> str:
            return await self.issue(rest, user)

        return fresh

    async def issue(self, rest: Rest, user: str, lifetime: float = ONE_DAY, tries: int = 1) -> str:
        """A token for a user: from here if that is possible, else from the API. Raises Refused, Unreachable."""
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


def _check_url(name: str, url: str | None, schemes: tuple[str, ...]) -> None:
    parts = urlsplit(url or "")
    if url and (parts.scheme not in schemes or not parts.hostname):
        raise Mistake(f"{name}: {url!r} is no address such as {schemes[0]}://127.0.0.1:5000")


def kept_here(settings: Settings) -> str:
    """The secret that `recado up` made in DATA_DIR; "" where there is none that this user may read."""
    if settings.database_url:  # then it is in the database
        return ""
    try:
        secret = (settings.data_dir / "secret").read_text().strip()
    except OSError:
        return ""
    return secret if len(secret.encode()) >= SECRET_BYTES else ""


def user_of(token: str) -> str:
    """Whom a token names; only the server can tell whether it is true. Raises Mistake."""
    try:
        claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    except jwt.PyJWTError:
        raise Mistake(f"{TOKEN_VARIABLE} is no token.") from None
    return str(claims.get("sub", claims.get("username", "")))
