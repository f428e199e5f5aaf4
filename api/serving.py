"""A server for the application, whose log keeps to itself what requests have in them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from api.connection import Bounds, Connection, connection_of
from api.problems import of_aiohttp, refusal
from messaging.errors import RateLimited
from messaging.node import Node
from messaging.observability.sparse_log import Sparse
from messaging.runtime.listening import named

DRAIN = 15.0  # seconds that requests under way have when the server stops: more than a publish waits
_LINGER = 2.0  # seconds that the rest of a refused body is read for
_CUT = 1.0  # seconds that a request may still take whose connection was cut

log = logging.getLogger(__name__)


Answering = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def _answering_as_json(handle: Answering) -> Answering:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        connection = connection_of(request)
        try:
            connection.work(request)
            try:
                return await handle(request)
            except web.HTTPException as exc:  # of an Expect, which is looked at outside of all middlewares
                await connection.meet()
                return of_aiohttp(exc.status, exc.headers)
        except RateLimited as exc:
            return refusal(exc)

    return answer


class Runner(web.AppRunner):
    """Whose sites make connections of our kind."""

    def __init__(self, app: web.Application, bounds: Bounds) -> None:
        super().__init__(app, shutdown_timeout=DRAIN)
        self._bounds = bounds

    @property
    def server(self) -> Any:
        """What makes a connection; None before `setup`."""
        server = super().server
        if server is None:
            return None
        loop = asyncio.get_running_loop()
        terms: dict[str, Any] = {"access_log": None, "logger": log, "lingering_time": _LINGER}
        return lambda: Connection(self._bounds, server, loop=loop, keepalive_timeout=self._bounds.idle, **terms)

    async def setup(self) -> None:
        await super().setup()
        server = super().server
        assert server is not None
        server.request_handler = _answering_as_json(server.request_handler)

    def cut_off(self) -> None:
        """End every connection, whatever state it is in."""
        server = super().server
        for connection in () if server is None else server.connections:
            assert isinstance(connection, Connection)
            connection.cut_off()


async def serve(app: web.Application, node: Node, host: str, port: int, bounds: Bounds | None = None) -> Runner:
    """Listen; `leave` ends it.

    Raises:
        SettingsError: the address is not to be had.
    """
    log.filters = [Sparse(), hide_requests]
    for name in ("api.problems", "api.streaming"):
        logging.getLogger(name).filters = [Sparse()]
    runner = Runner(app, bounds or Bounds(node.connections, node.actions.limits.strangers, node.metrics.reached))
    await runner.setup()
    try:
        with named("API", host, port):
            await web.TCPSite(runner, host, port).start()
    except BaseException:
        await runner.cleanup()
        raise
    return runner


async def leave(runner: Runner, seconds: float) -> None:
    """Stop: no new requests; those under way are finished, and what is not within ``seconds`` is cut off."""
    ending = asyncio.ensure_future(runner.cleanup())
    if not (await asyncio.wait([ending], timeout=seconds))[0]:
        runner.cut_off()
        await asyncio.wait([ending], timeout=_CUT)
        ending.cancel()


def hide_requests(record: logging.LogRecord) -> bool:
    """Names an exception and drops the rest: a request that could not be parsed stands in it, token and all."""
    if record.exc_info and record.exc_info[0] is not None:
        record.msg = f"{record.getMessage()}: {record.exc_info[0].__name__}"
        record.args, record.exc_info, record.exc_text = (), None, None
    return True
