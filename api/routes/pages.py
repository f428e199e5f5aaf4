"""Pages without data of their own: the description of this surface, to be read by programs and by people."""

from __future__ import annotations

from importlib import resources

import msgspec

from api.openapi import describe
from api.route import Answer, Asked, Handler, Route

_FILES = {
    "/asyncapi.json": ("asyncapi.json", "application/json"),
    "/docs": ("docs.html", "text/html; charset=utf-8"),
    "/docs/docs.css": ("docs.css", "text/css; charset=utf-8"),
    "/docs/docs.js": ("docs.js", "text/javascript; charset=utf-8"),
}


def routes(described: list[Route]) -> list[Route]:
    """The pages; ``described``: what they are about."""
    description = msgspec.json.encode(describe(described))
    found = [_page("/openapi.json", description, "application/json")]
    for path, (name, media) in _FILES.items():
        found.append(_page(path, resources.files("api").joinpath("web", name).read_bytes(), media))
    to_docs = Route(method="GET", path="/", handler=entrance, access="visitor", summary="", answers={302: None})
    return [to_docs, *found]


def _page(path: str, body: bytes, media: str) -> Route:
    return Route(
        method="GET", path=path, handler=_serve(body), access="visitor", summary="", answers={200: str}, media=media
    )


def _serve(body: bytes) -> Handler:
    async def serve(asked: Asked[None, None]) -> Answer:
        return Answer(200, body)

    return serve


async def entrance(asked: Asked[None, None]) -> Answer:
    return Answer(302, headers={"Location": "docs"})
