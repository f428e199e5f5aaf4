"""A running API over a database of the test's own, as fixtures: see `pytest_plugins` in conftest."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import aiohttp
import pytest
from yarl import URL

from api.app import make_app
from api.connection import Bounds
from api.serving import serve
from messaging.auth.access import WrongCredentials
from messaging.auth.tokens import Tokens
from messaging.bus.contract import LocalBus
from messaging.node import Node, running_node
from messaging.settings.settings import Settings
from support.places import free_port

SECRET = "a secret of the tests, of 32 bytes or more"
KEY = "the key of the tests' backend"


@pytest.fixture
async def node(database: str) -> AsyncIterator[Node]:
    """One without a door, that is not at work."""
    node = Node(Settings(jwt_secret=SECRET), database, LocalBus())
    await node.open()
    yield node
    await node.close()


@dataclass
class Door:
    """The API as a client sees it, and what is behind it."""

    url: str
    http: aiohttp.ClientSession
    node: Node
    tokens: Tokens
    settings: Settings

    async def ask(self, method: str, path: str, status: int = 200, *, token: str = "", **options: Any) -> Any:
        """What the API answers, where it answers with ``status``: JSON, or text where it is none."""
        async with self.send(method, path, token=token, **options) as response:
            text = await response.text()
            assert response.status == status, f"{method} {path}: {response.status} {text}"
            return await response.json() if response.content_type == "application/json" else text

    def send(self, method: str, path: str, *, token: str = "", **options: Any) -> Any:
        headers = dict(options.pop("headers", {}))
        if token:
            headers["Authorization"] = f"Bearer {token}"
        url = URL(self.url + path, encoded=True)
        return self.http.request(method, url, headers=headers, allow_redirects=False, **options)

    async def token(self, user: str) -> str:
        await self.node.actions.know(user)
        return self.tokens.issue(user)[0]


Opener = Callable[..., Awaitable[Door]]


@pytest.fixture
async def open_door(database: str) -> AsyncIterator[Opener]:
    """Opens doors over one database, with settings of their own; closes them all."""
    async with contextlib.AsyncExitStack() as stack:

        async def opened(**values: Any) -> Door:
            return await stack.enter_async_context(running(database, **values))

        yield opened


@pytest.fixture
async def door(open_door: Opener) -> Door:
    """In open mode."""
    return await open_door()


@pytest.fixture
async def locked(open_door: Opener) -> Door:
    """In key mode."""
    return await open_door(auth_mode="key", api_key=KEY)


@contextlib.asynccontextmanager
async def running(
    dsn: str, wrong: WrongCredentials | None = None, bounds: Mapping[str, Any] = MappingProxyType({}), **values: Any
) -> AsyncIterator[Door]:
    """``bounds``: of its connections; ``values``: settings."""
    settings = Settings(**{"auth_mode": "open", "jwt_secret": SECRET, "api_port": free_port(), **values})
    async with (
        Tokens(SECRET, settings.jwt_issuers) as tokens,
        running_node(settings, dsn, LocalBus(), keeps_house=False) as node,
    ):
        app, given = (
            make_app(node, tokens, settings, wrong=wrong),
            Bounds(node.connections, node.actions.limits.strangers, node.metrics.reached, **bounds),
        )
        runner = await serve(app, node, "127.0.0.1", settings.api_port, given)
        try:
            async with aiohttp.ClientSession() as http:
                yield Door(f"http://127.0.0.1:{settings.api_port}", http, node, tokens, settings)
        finally:
            await runner.cleanup()
