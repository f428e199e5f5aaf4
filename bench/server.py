"""The server that is measured: a node with its WebSocket door, in a process of its own. Prints its port."""

from __future__ import annotations

import asyncio
import signal
import sys

import uvloop

from messaging.auth.tokens import Tokens
from messaging.bus.contract import LocalBus
from messaging.node import running_node
from messaging.settings.settings import Settings
from ws_server.server import WebSocketServer


async def serve(dsn: str, secret: str) -> None:
    settings = Settings(ws_port=0, jwt_secret=secret, auth_mode="open", rate_limit=0.0, rate_bytes=0)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with running_node(settings, dsn, LocalBus(), keeps_house=True) as node:
        door = WebSocketServer(
            settings, node.store, node.actions, Tokens(secret), node.cursors, node.bus, node.metrics, node.connections
        )
        node.start(door.run())
        print(await door.listening(), flush=True)
        await stop.wait()
        await door.drain()


if __name__ == "__main__":
    uvloop.run(serve(*sys.argv[1:3]))
