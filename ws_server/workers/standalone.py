"""The WebSocket door as a process of its own: a node, a server, and their end in the right order."""

from __future__ import annotations

from messaging.auth.tokens import Tokens
from messaging.bus.choose import make_bus
from messaging.node import running_node
from messaging.runtime.process import Stop
from messaging.settings.settings import Settings
from ws_server.server import WebSocketServer


async def serve(settings: Settings, stop: Stop, *, reuse_port: bool = False) -> None:
    """Serve until ``stop``; says ``ready`` once the port is open.

    Raises:
        Unavailable, MigrationError, NotDurable, OSError: the start failed.
    """
    dsn = settings.database_url
    async with (
        Tokens(settings.jwt_secret, settings.jwt_issuers) as tokens,
        running_node(settings, dsn, make_bus(settings.bus_url, dsn), keeps_house=True, settled=stop.settle) as node,
    ):
        server = WebSocketServer(
            settings, node.store, node.actions, tokens, node.cursors, node.bus, node.metrics, node.connections,
            reuse_port=reuse_port,
        )  # fmt: skip
        node.start(server.run())
        await server.listening()
        stop.ready()
        await stop.wait()
        await server.drain()
