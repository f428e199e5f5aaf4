"""The server that is measured: a node with its WebSocket door, in a process of its own. Prints its port."""

from __future__ import annotations

import asyncio
import signal
import sys

import uvloop

from messaging.auth.tokens import Tokens
from messaging.bus.contract import LocalBus
from messaging.node import Node
from messaging.settings.settings import Settings
from ws_server.server import WebSocketServer


async def serve(dsn: str, secret: str) -> None:
    settings = Settings(ws_port=0, jwt_secret=secret, auth_mode="open", rate_limit=0.0, rate_bytes=0)
    node = Node(settings, dsn, LocalBus())
    await node.open()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with asyncio.TaskGroup() as tasks:
        door = WebSocketServer(
            settings, node.store, node.actions, Tokens(secret), node.cursors, node.bus, node.metrics, node.connections
        )
        works = [tasks.create_task(node.run(keeps_house=True)), tasks.create_task(door.run())]
        print(await door.listening(), flush=True)
        await stop.wait()
        await door.drain()
        await node.settle()
        for work in works:
            work.cancel()
    await node.close()


if __name__ == "__main__":
    uvloop.run(serve(*sys.argv[1:3]))
