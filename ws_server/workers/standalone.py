"""The WebSocket door as a process of its own: a node, a door, and their end in the right order."""

from __future__ import annotations

import asyncio

from messaging.auth.tokens import Tokens
from messaging.bus.choose import make_bus
from messaging.node import Node
from messaging.runtime.process import Stop
from messaging.settings.settings import Settings
from ws_server.server import WebSocketServer


async def serve(settings: Settings, stop: Stop, *, reuse_port: bool = False) -> None:
    """Serve until ``stop``; says ``ready`` once the port is open.

    Raises:
        Unavailable, MigrationError, NotDurable, OSError: the start failed.
    """
    node = Node(settings, settings.database_url, make_bus(settings.bus_url or "postgres:", settings.database_url))
    try:
        await node.open()
        tokens = Tokens(settings.jwt_secret, settings.jwt_issuers)
        async with tokens, asyncio.TaskGroup() as tasks:
            door = WebSocketServer(
                settings, node.store, node.actions, tokens, node.cursors, node.bus, node.metrics, node.connections,
                reuse_port=reuse_port,
            )  # fmt: skip
            works = [tasks.create_task(node.run(keeps_house=True)), tasks.create_task(door.run())]
            await door.listening()
            stop.ready()
            await stop.wait()
            await door.drain()
            stop.settle(await node.settle())
            for work in works:
                work.cancel()
    finally:
        await node.close()
