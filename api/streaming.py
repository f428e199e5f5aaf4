"""Answers that go on: how their pieces leave, at the client's pace, and how they end when the server does."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from aiohttp import web

from messaging.errors import RateLimited, Unavailable

log = logging.getLogger(__name__)

MOST = 1000  # streams of one process
PATIENCE = 30.0  # seconds without progress after which a client is given up
PARTING = 2.0  # seconds that the last piece may take


@dataclass(frozen=True, slots=True)
class Flow:
    """A body that goes on: pieces as they come, and what is said last where it is the server that ends it."""

    pieces: AsyncGenerator[bytes, None]
    farewell: bytes
    reader: str | None  # the user whom it counts against; None: nobody's


class Streams:
    """The streams of this process."""

    def __init__(self, most_per_reader: int) -> None:
        self._most_per_reader = most_per_reader
        self._pumps: set[asyncio.Task[None]] = set()
        self._readers: Counter[str] = Counter()
        self._closing = False

    async def close(self, _: web.Application) -> None:
        """End them all, politely: each handler finishes soon."""
        self._closing = True
        for pump in self._pumps:
            pump.cancel()

    async def send(self, request: web.Request, flow: Flow, headers: Mapping[str, str]) -> web.StreamResponse:
        """Answer with the pieces until they end, the client has gone or is stuck, or the server ends.

        Raises:
            RateLimited, Unavailable: there are too many; nothing was sent.
        """
        self._check_room(flow.reader)
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        pump = asyncio.create_task(pumped(request, response, flow))
        self._pumps.add(pump)
        self._readers[flow.reader or ""] += 1
        try:
            await self._see_through(request, response, pump, flow.farewell)
        finally:
            self._pumps.discard(pump)
            self._readers[flow.reader or ""] -= 1
            self._readers += Counter()  # forgets who has none
        return response

    def _check_room(self, reader: str | None) -> None:
        if self._closing or len(self._pumps) >= MOST:
            raise Unavailable("This process has no room for another stream. Try again later.")
        if reader is not None and self._readers[reader] >= self._most_per_reader:
            raise RateLimited(f"You have {self._most_per_reader} streams here already. Close one first.")

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
            abort(request)


async def pumped(request: web.Request, response: web.StreamResponse, flow: Flow) -> None:
    async with aclosing(flow.pieces) as pieces:
        async for piece in pieces:
            await push(request, response, piece)


async def push(request: web.Request, response: web.StreamResponse, piece: bytes) -> None:
    """Write a piece, at the pace of the client. Cancelling is safe: the piece is written or in the buffer, whole.

    Raises:
        ConnectionError: the client has gone, or nothing of what it was sent before has left within `PATIENCE`.
    """
    writing = asyncio.ensure_future(response.write(piece))
    try:
        before = unsent(request)
        while not (await asyncio.wait((writing,), timeout=PATIENCE))[0]:
            if unsent(request) >= before:
                abort(request)
                raise ConnectionAbortedError("the client does not read")
            before = unsent(request)
        writing.result()
    finally:
        writing.cancel()


async def part(request: web.Request, response: web.StreamResponse, farewell: bytes) -> None:
    try:
        async with asyncio.timeout(PARTING):
            await response.write(farewell)
            await response.write_eof()
    except TimeoutError:
        abort(request)
    except ConnectionError:
        pass


def unsent(request: web.Request) -> int:
    """Bytes that the kernel has not taken yet."""
    transport = request.transport
    return transport.get_write_buffer_size() if isinstance(transport, asyncio.WriteTransport) else 0


def abort(request: web.Request) -> None:
    if isinstance(request.transport, asyncio.WriteTransport):
        request.transport.abort()
