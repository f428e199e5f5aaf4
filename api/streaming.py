"""Answers that go on: how their pieces leave, at the client's pace, and how they end when the server does."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from aiohttp import web

from api.connection import connection_of
from messaging.errors import Unavailable

log = logging.getLogger(__name__)

PARTING = 2.0  # seconds that the last piece may take


@dataclass(frozen=True, slots=True)
class Flow:
    """A body that goes on: pieces as they come, and what is said last where it is the server that ends it."""

    pieces: AsyncGenerator[bytes, None]
    farewell: bytes


class Streams:
    """The streams of this process."""

    def __init__(self) -> None:
        self._pumps: set[asyncio.Task[None]] = set()
        self._closing = False

    async def close(self, _: web.Application) -> None:
        """End them all, politely: each handler finishes soon."""
        self._closing = True
        for pump in self._pumps:
            pump.cancel()

    async def send(self, request: web.Request, flow: Flow, headers: Mapping[str, str]) -> web.StreamResponse:
        """Answer with the pieces until they end, the client has gone or is stuck, or the server ends.

        Raises:
            Unavailable: the server ends; nothing was sent.
        """
        if self._closing:
            raise Unavailable("The server ends. Come back in a moment.")
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        pump = asyncio.create_task(pumped(request, response, flow))
        self._pumps.add(pump)
        try:
            await self._see_through(request, response, pump, flow.farewell)
        finally:
            self._pumps.discard(pump)
        return response

    async def _see_through(
        self, request: web.Request, response: web.StreamResponse, pump: asyncio.Task[None], farewell: bytes
    ) -> None:
        try:
            await pump
        except asyncio.CancelledError:
            if not self._closing:
                raise
            await part(request, response, farewell)
        except ConnectionError:
            pass  # the client has gone
        except Exception as exc:
            # The answer has begun: all that can be said is that it ends here, unfinished. In the log, without the text.
            log.error("a stream broke off: %s\n%s", type(exc).__name__, "".join(traceback.format_tb(exc.__traceback__)))
            connection_of(request).cut_off()


async def pumped(request: web.Request, response: web.StreamResponse, flow: Flow) -> None:
    async with aclosing(flow.pieces) as pieces:
        async for piece in pieces:
            await push(request, response, piece)


async def push(request: web.Request, response: web.StreamResponse, piece: bytes) -> None:
    """Write a piece, at the pace of the client. Cancelling is safe: the piece is written or in the buffer, whole.

    Raises:
        ConnectionError: the client has gone, or was given up (see `Connection`).
    """
    await response.write(piece)
    await request.writer.drain()
    if request.transport is None:
        raise ConnectionAbortedError("the client has gone")


async def part(request: web.Request, response: web.StreamResponse, farewell: bytes) -> None:
    try:
        async with asyncio.timeout(PARTING):
            await response.write(farewell)
            await response.write_eof()
    except TimeoutError:
        connection_of(request).cut_off()
    except ConnectionError:
        pass
