"""The API as a service of its own: ``python -m api``, against DATABASE_URL."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping

from api.app import make_app
from api.serving import serve
from messaging.bus import LocalBus
from messaging.errors import Unavailable
from messaging.migrations import MigrationError
from messaging.node import Node
from messaging.settings import Settings, SettingsError
from messaging.store import NotDurable
from messaging.tokens import Tokens

_MISSING = {
    "DATABASE_URL": "the API as a service needs PostgreSQL, such as postgresql://user@host/name",
    "JWT_SECRET": "the key that signs tokens, the same for all services; a good one is made by: openssl rand -hex 32",
}


def settings_from(environ: Mapping[str, str]) -> Settings:
    """Raises SettingsError, also for what only this service needs."""
    for name, why in _MISSING.items():
        if not environ.get(name, "").strip():
            raise SettingsError(f"{name}: it is missing; {why}")
    return Settings.from_environ(environ)


async def run(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM; what is in flight is stored before it ends."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    node = Node(settings, settings.database_url, LocalBus())
    try:
        await node.open()
        await serve_until(stop, node, settings)
    finally:
        await node.close()


async def serve_until(stop: asyncio.Event, node: Node, settings: Settings) -> None:
    tokens = Tokens(settings.jwt_secret)
    app = make_app(node.actions, node.pending, tokens, node.store, settings, node.metrics.registry)
    # A background task that dies ends the group, and with it the process.
    async with asyncio.TaskGroup() as group:
        work = group.create_task(node.run(keeps_house=False))
        runner = await serve(app, settings.api_host, settings.api_port)
        print("ready", flush=True)
        try:
            await stop.wait()
        finally:
            await runner.cleanup()
        await node.settle()
        work.cancel()


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(run(settings_from(os.environ)))
    except (SettingsError, MigrationError, NotDurable, Unavailable, OSError) as exc:
        sys.exit(str(exc))


if __name__ == "__main__":
    main()
