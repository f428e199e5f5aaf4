"""One process of the WebSocket door: ``python -m ws_server.worker``, started by `ws_server.workers`."""

from __future__ import annotations

import asyncio
import os
import sys

from messaging.process import run_process, stop_signal
from messaging.settings import Settings
from ws_server.standalone import serve


async def work(settings: Settings) -> None:
    """Serve until a signal, or until the parent, which holds the other end of our standard input, is gone."""
    stop = stop_signal()
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(0, "rb"))
    orphaned = asyncio.ensure_future(reader.read())
    orphaned.add_done_callback(lambda _: stop.set())
    try:
        await serve(settings, stop, reuse_port=True)
    finally:
        orphaned.cancel()
        transport.close()
    sys.stdout.flush()


if __name__ == "__main__":
    run_process("ws_server", work)
