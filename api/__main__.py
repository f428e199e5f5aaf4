"""The API as a service of its own: ``python -m api``, against DATABASE_URL."""

from __future__ import annotations

import signal

if __name__ == "__main__":  # Python's own way to end in the middle of an import is a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import asyncio

from api.app import make_app
from api.serving import leave, serve
from messaging.auth.tokens import Tokens
from messaging.bus.choose import make_bus
from messaging.node import Node
from messaging.runtime.process import Stop, run_process
from messaging.settings.settings import Settings


async def work(settings: Settings, stop: Stop) -> None:
    """Serve until it is to stop; what is in flight is stored before it ends.

    Raises:
        Unavailable, MigrationError, NotDurable, OSError: the start failed.
    """
    node = Node(settings, settings.database_url, make_bus(settings.bus_url or "postgres:", settings.database_url))
    try:
        await node.open()
        await _serve_until(stop, node, settings)
    finally:
        await node.close()


async def _serve_until(stop: Stop, node: Node, settings: Settings) -> None:
    tokens = Tokens(settings.jwt_secret, settings.jwt_issuers)
    app = make_app(node, tokens, settings)
    # A background task that dies ends the group, and with it the process.
    async with tokens, asyncio.TaskGroup() as tasks:
        work = tasks.create_task(node.run(keeps_house=False))
        runner = await serve(app, node, settings.api_host, settings.api_port)
        stop.ready()
        try:
            await stop.wait()
        finally:
            await leave(runner, settings.stop_seconds / 2)
        stop.settle(await node.settle())
        work.cancel()


def main() -> None:
    run_process("api", work)


if __name__ == "__main__":
    main()
