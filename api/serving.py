"""A server for the application, whose log keeps to itself what requests have in them."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys

from aiohttp import web

from messaging.listening import named

DRAIN = 15.0  # seconds that requests under way have when the server stops: more than a publish waits
_LINGER = 2.0  # seconds that the rest of a refused body is read for
_IDLE = 75.0  # seconds without a request, or with a part of one
_PATIENCE = 30  # seconds without progress after which a client that does not take its answer is given up
_CUT = 1.0  # seconds that a request may still take whose connection was cut

log = logging.getLogger(__name__)


async def serve(app: web.Application, host: str, port: int) -> web.AppRunner:
    """Listen; `leave` ends it.

    Raises:
        SettingsError: the address is not to be had.
    """
    log.addFilter(discreet)
    app.on_response_prepare.append(impatient)
    runner = web.AppRunner(
        app, access_log=None, logger=log, shutdown_timeout=DRAIN, lingering_time=_LINGER, keepalive_timeout=_IDLE
    )
    await runner.setup()
    try:
        with named("API", host, port):
            await web.TCPSite(runner, host, port).start()
    except BaseException:
        await runner.cleanup()
        raise
    return runner


async def leave(runner: web.AppRunner, seconds: float) -> None:
    """Stop: no new requests; those under way are finished, and what is not within ``seconds`` is cut off."""
    ending = asyncio.ensure_future(runner.cleanup())
    if not (await asyncio.wait([ending], timeout=seconds))[0] and runner.server is not None:
        for connection in runner.server.connections:
            if isinstance(connection.transport, asyncio.WriteTransport):
                connection.transport.abort()
        await asyncio.wait([ending], timeout=_CUT)
        ending.cancel()


async def impatient(request: web.Request, _: web.StreamResponse) -> None:
    """Where a client stops taking its answer, have the kernel end the connection: nothing else would."""
    sock = None if request.transport is None else request.transport.get_extra_info("socket")
    if sock is not None and sys.platform == "linux":
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _PATIENCE * 1000)


def discreet(record: logging.LogRecord) -> bool:
    """Names an exception and drops the rest: a request that could not be parsed stands in it, token and all."""
    if record.exc_info and record.exc_info[0] is not None:
        record.msg = f"{record.getMessage()}: {record.exc_info[0].__name__}"
        record.args, record.exc_info, record.exc_text = (), None, None
    return True
