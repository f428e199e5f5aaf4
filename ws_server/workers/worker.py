"""One process of the WebSocket door: ``python -m ws_server.workers.worker``, started by the `supervisor`."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress

from messaging.runtime.process import Stop, run_process
from messaging.settings.settings import Settings
from ws_server.workers.standalone import serve
from ws_server.workers.supervisor import BEAT_EVERY, SIGN_OF_LIFE


async def work(settings: Settings, stop: Stop) -> None:
    """Serve until a signal, or until the parent, which holds the other end of our standard input, is gone."""
    loop = asyncio.get_running_loop()
    beating = asyncio.ensure_future(beat())
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(0, "rb"))
    orphaned = asyncio.ensure_future(reader.read())
    orphaned.add_done_callback(lambda _: stop.ask())
    try:
        await serve(settings, stop, reuse_port=True)
    finally:
        beating.cancel()
        orphaned.cancel()
        transport.close()
    sys.stdout.flush()


async def beat() -> None:
    """Tell the parent that the loop turns, until cancelled."""
    os.set_blocking(1, False)  # a parent that stands and does not read holds nobody up
    while True:
        with suppress(BlockingIOError):
            os.write(1, SIGN_OF_LIFE)
        await asyncio.sleep(BEAT_EVERY)


if __name__ == "__main__":
    run_process("ws_server", work)
