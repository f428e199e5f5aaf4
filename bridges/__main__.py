"""The bridges as a service of their own: ``python -m bridges``, against DATABASE_URL. A second one stands by."""

from __future__ import annotations

import signal

if __name__ == "__main__":  # Python's own way to end in the middle of an import is a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import asyncio

from bridges.choose import make_bridging
from messaging.bus.choose import make_bus
from messaging.node import running_node
from messaging.runtime.process import Stop, run_process
from messaging.settings.settings import Settings


async def work(settings: Settings, stop: Stop) -> None:
    """Serve until it is to stop; what was confirmed is stored before it ends.

    Raises:
        SettingsError, Unavailable, MigrationError, NotDurable, OSError: the start failed.
    """
    dsn, bus = settings.database_url, make_bus(settings.bus_url, settings.database_url)
    async with running_node(settings, dsn, bus, keeps_house=True, settled=stop.settle) as node:
        lanes = node.start(make_bridging(settings, node).run())
        stop.ready()
        await stop.wait()
        lanes.cancel()
        await asyncio.wait([lanes], timeout=settings.stop_seconds / 2)


def main() -> None:
    run_process("bridges", work)


if __name__ == "__main__":
    main()
