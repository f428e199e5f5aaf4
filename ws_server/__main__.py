"""The WebSocket door as a service: ``python -m ws_server``, against DATABASE_URL, in WORKERS processes on one port."""

from __future__ import annotations

import signal

if __name__ == "__main__":  # Python's own way to end in the middle of an import is a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import asyncio

from messaging.runtime.process import Stop, run_process
from messaging.settings.settings import Settings
from ws_server.workers.standalone import serve
from ws_server.workers.supervisor import Workers


async def work(settings: Settings, stop: Stop) -> None:
    """Serve until it is to stop."""
    if settings.workers == 1:
        await serve(settings, stop)
        return
    workers = Workers(settings, {})
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(workers.run())
        await workers.listening()
        stop.ready()
        await stop.wait()
        stop.settle(await workers.drain())


def main() -> None:
    run_process("ws_server", work)


if __name__ == "__main__":
    main()
