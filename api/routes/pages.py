"""Pages without data of their own: every file of api/web, and what programs read of this surface and the WebSocket."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath

import msgspec

from api import asyncapi
from api.openapi import describe
from api.route import Answer, Handler, Request, Route

# A page stands at its name, what it is made of under /web; these stand elsewhere.
_PATHS = {
    "inbox/inbox.html": "/",
    "watch/watch.html": "/watch/{topic}",
}
_MEDIA = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".ts": "text/plain; charset=utf-8",  # types, for editors
}


def routes(described: list[Route]) -> list[Route]:
    """The pages; ``described``: what they are about."""
    description = msgspec.json.encode(describe(described))
    return [
        _page("/openapi.json", description, _MEDIA[".json"]),
        _page("/asyncapi.json", msgspec.json.encode(asyncapi.document()), _MEDIA[".json"]),
        *(
            _page(path_of(name), file.read_bytes(), _MEDIA[PurePosixPath(name).suffix])
            for name, file in _files(resources.files("api").joinpath("web"))
        ),
    ]


def path_of(name: str) -> str:
    """Where a file of api/web is served; ``name`` begins there."""
    file = PurePosixPath(name)
    return _PATHS.get(name) or (f"/{file.stem}" if file.suffix == ".html" else f"/web/{name}")


def _files(folder: Traversable, above: str = "") -> Iterator[tuple[str, Traversable]]:
    for file in sorted(folder.iterdir(), key=lambda each: each.name):
        if file.is_dir():
            yield from _files(file, f"{above}{file.name}/")
        else:
            yield f"{above}{file.name}", file


def _page(path: str, body: bytes, media: str) -> Route:
    return Route(
        method="GET", path=path, handler=_serve(body), access="visitor", summary="", answers={200: str}, media=media
    )


def _serve(body: bytes) -> Handler:
    async def serve(request: Request[None, None]) -> Answer:
        return Answer(200, body)

    return serve
