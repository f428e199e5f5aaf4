"""Every door in one command, from the database up; and down again in the order that loses nothing."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from api.app import make_app
from api.serving import leave, serve
from bridges.choose import make_bridging
from messaging.auth.tokens import Tokens
from messaging.bus.choose import make_bus
from messaging.node import Node, running_node
from messaging.runtime.plain_text import say
from messaging.runtime.process import Stop
from messaging.settings.settings import Settings
from standalone.postgres import EmbeddedPostgres, PostgresError
from standalone.secret import kept_secret, new_secret
from standalone.welcome import welcome
from ws_server.server import WebSocketServer
from ws_server.workers.supervisor import Workers


async def up(settings: Settings, stop: Stop) -> None:
    """Start everything, say so, and run until it is to stop, or until something that can't be mended.

    Raises:
        PostgresError, Unavailable, MigrationError, NotDurable, OSError: the start failed; the text says what to do.
    """
    async with database(settings) as (dsn, lost):
        bus_url = settings.bus_url or ("local:" if settings.workers == 1 else "postgres:")
        bus = make_bus(bus_url, dsn)
        async with running_node(settings, dsn, bus, keeps_house=True, settled=stop.settle) as node:
            secret = await _secret(settings, node)
            ready = replace(settings, database_url=dsn, bus_url=bus_url, jwt_secret=secret)
            drained = await _serve(ready, node, stop, lost)
        if not drained:
            stop.settle(False)


@asynccontextmanager
async def database(settings: Settings) -> AsyncIterator[tuple[str, asyncio.Future[int]]]:
    """The database's address, and what ends if the one that we started dies."""
    if settings.database_url:
        yield settings.database_url, asyncio.get_running_loop().create_future()
        return
    say(f"Starting PostgreSQL in {settings.data_dir} …")
    postgres = EmbeddedPostgres(settings.data_dir)
    dsn = await postgres.start()
    lost = asyncio.ensure_future(postgres.wait())
    try:
        yield dsn, lost
    finally:
        lost.cancel()
        await postgres.stop()


async def _secret(settings: Settings, node: Node) -> str:
    if settings.jwt_secret:
        return settings.jwt_secret
    if settings.database_url:  # several services may share it
        return await node.store.shared_value("jwt_secret", new_secret())
    return kept_secret(settings.data_dir / "secret")


def _websocket_server(settings: Settings, node: Node, tokens: Tokens) -> WebSocketServer | Workers:
    """The WebSocket door: in this process, or in several beside it."""
    if settings.workers == 1:
        return WebSocketServer(
            settings, node.store, node.actions, tokens, node.cursors, node.bus, node.metrics, node.connections
        )
    shared = {
        "DATABASE_URL": settings.database_url,
        "JWT_SECRET": settings.jwt_secret,
        "BUS_URL": settings.bus_url,
    }
    return Workers(settings, shared)


async def _serve(settings: Settings, node: Node, stop: Stop, lost: asyncio.Future[int]) -> bool:
    """Until the end. Whether the WebSocket door left nothing without an answer."""
    async with Tokens(settings.jwt_secret, settings.jwt_issuers) as tokens:
        server = _websocket_server(settings, node, tokens)
        app = make_app(node, tokens, settings, server.trouble if isinstance(server, Workers) else lambda: "")
        for work in (make_bridging(settings, node).run(), server.run()):
            node.start(work)
        runner = await serve(app, node, settings.api_host, settings.api_port)
        ports = replace(settings, ws_port=await server.listening(), api_port=runner.addresses[0][1])
        say(await welcome(ports, node.actions, tokens, to_person=sys.stdout.isatty()))
        stop.ready()
        died = await _until(stop, lost)
        say("Stopping: no new connections, finishing what is in flight …")
        drained, _ = await asyncio.gather(server.drain(), leave(runner, settings.stop_seconds / 2))
    if died:
        raise PostgresError("PostgreSQL ended by itself. Its log is postgres.log in DATA_DIR; start again.")
    return drained


async def _until(stop: Stop, lost: asyncio.Future[int]) -> bool:
    """Wait for the end. Whether it is the database that ended."""
    asked = asyncio.ensure_future(stop.wait())
    ends: set[asyncio.Future[Any]] = {asked, lost}
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    return lost.done()
