"""What a page must know of this server before anybody has logged in."""

from __future__ import annotations

import re

import msgspec

from api.openapi import VERSION
from api.route import Answer, Request, Route
from messaging.auth.access import host_of
from messaging.settings.settings import Settings, is_loopback
from messaging.settings.texts import AuthMode

_EVERYWHERE = ("", "0.0.0.0", "::")
_HOST = re.compile(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]")


class About(msgspec.Struct, frozen=True):
    """Where the WebSocket is; `auth_mode`: in open mode a username is enough to log in, else a token is needed."""

    ws_url: str
    auth_mode: AuthMode
    version: str


def routes() -> list[Route]:
    return [
        Route(method="GET", path="/api/v1/about", handler=about, group="Tokens", access="visitor",
              summary="Where the WebSocket is, and whether a token is needed.", answers={200: About}),
    ]  # fmt: skip


async def about(request: Request[None, None]) -> Answer:
    settings = request.domain.settings
    return Answer(200, About(ws_url_for(settings, request.headers.get("Host", "")), settings.auth_mode, VERSION))


def ws_url_for(settings: Settings, host: str) -> str:
    """The WebSocket as it is reached by who asked for ``host``, a Host header, without a slash at the end.

    Without PUBLIC_WS_URL it is the host that led here: a browser may know this machine as localhost, as 127.0.0.1 or by
    its name in the network. What is no host, or where the doors have addresses of their own, counts for nothing.
    """
    name = host_of(host)
    if settings.public_ws_url or not _HOST.fullmatch(name) or not _stand_together(settings):
        return settings.ws_url
    return f"ws://{name}:{settings.ws_port}"


def _stand_together(settings: Settings) -> bool:
    """Whether the WebSocket is reached by the hosts that the API is reached by."""
    if settings.ws_host in (settings.api_host, *_EVERYWHERE):
        return True
    return is_loopback(settings.ws_host) and is_loopback(settings.api_host)
