"""The bridges as a service of their own: ``python -m bridges``, against DATABASE_URL. A second one stands by."""

from __future__ import annotations

import signal

if __name__ == "__main__":  # Python's own way to end in the middle of an import is a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import asyncio

from bridges.choose import make_bridging
from messaging.bus.choose import make_bus
from messaging.node import Node
from messaging.runtime.process import Stop, run_process
from messaging.settings.settings import Settings


async def work(settings: Settings, stop: Stop) -> None:
    """Serve until it is to stop; what was confirmed is stored before it ends.

    Raises:
        SettingsError, Unavailable, MigrationError, NotDurable, OSError: the start failed.
    """
    node = Node(settings, settings.database_url, make_bus(settings.bus_url or "postgres:", settings.database_url))
    try:
        bridging = make_bridging(settings, node)
        await node.open()
        async with asyncio.TaskGroup() as tasks:
            lanes = tasks.create_task(bridging.run())
            domain = tasks.create_task(node.run(keeps_house=True))
            stop.ready()
            await stop.wait()
            lanes.cancel()
            await asyncio.wait([lanes], timeout=settings.stop_seconds / 2)
            stop.settle(await node.settle())
            domain.cancel()
    finally:
        await node.close()


def main() -> None:
    run_process("bridges", work)


if __name__ == "__main__":
    main()
