"""A server for the application, whose log keeps to itself what requests have in them."""

from __future__ import annotations

import logging

from aiohttp import web

from messaging.listening import named

DRAIN = 15.0  # seconds that requests under way have when the server stops: more than a publish waits
_LINGER = 2.0  # seconds that the rest of a refused body is read for

log = logging.getLogger(__name__)


async def serve(app: web.Application, host: str, port: int) -> web.AppRunner:
    """Listen. `cleanup()` of what is returned stops: no new requests, those under way are finished.

    Raises:
        SettingsError: the address is not to be had.
    """
    log.addFilter(discreet)
    runner = web.AppRunner(app, access_log=None, logger=log, shutdown_timeout=DRAIN, lingering_time=_LINGER)
    await runner.setup()
    try:
        with named("API", host, port):
            await web.TCPSite(runner, host, port).start()
    except BaseException:
        await runner.cleanup()
        raise
    return runner


def discreet(record: logging.LogRecord) -> bool:
    """Names an exception and drops the rest: a request that could not be parsed stands in it, token and all."""
    if record.exc_info and record.exc_info[0] is not None:
        record.msg = f"{record.getMessage()}: {record.exc_info[0].__name__}"
        record.args, record.exc_info, record.exc_text = (), None, None
    return True
