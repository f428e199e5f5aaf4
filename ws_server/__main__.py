"""The WebSocket door as a service: ``python -m ws_server``, against DATABASE_URL, in WORKERS processes on one port."""

from __future__ import annotations

import asyncio

from messaging.process import run_process, stop_signal
from messaging.settings import Settings
from ws_server.standalone import serve
from ws_server.workers import Workers


async def work(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM."""
    stop = stop_signal()
    if settings.workers == 1:
        await serve(settings, stop)
        return
    workers = Workers(settings, {})
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(workers.run())
        await workers.listening()
        print("ready", flush=True)
        await stop.wait()
        await workers.drain()


def main() -> None:
    run_process("ws_server", work)


if __name__ == "__main__":
    main()
