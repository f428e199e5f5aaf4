"""One connection of the API: counted when it is accepted, and held to a pace in both directions."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aiohttp import web
from aiohttp.http_parser import HttpRequestParser
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from api.problems import of_aiohttp
from api.slow_peers import SlowPeers
from messaging.limits.connections import HEAD_TIME, MAX_HEAD, Accepted, Connections
from messaging.limits.strangers import Strangers, TooManyStrangers

IDLE_SECONDS = 75.0  # seconds from an answer to the next request
STALLED_SECONDS = 30.0  # seconds without progress after which a client that does not take its answer is given up
READ_AHEAD = 1  # requests behind the one that is being answered


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the connections of one server share."""

    connections: Connections
    strangers: Strangers
    refused: Callable[[str], None]  # is told the name of a limit each time that somebody meets it
    slow_peers: SlowPeers[Connection] = field(default_factory=SlowPeers)
    head_time: float = HEAD_TIME
    stalled_after: float = STALLED_SECONDS
    idle: float = IDLE_SECONDS


class Connection(web.RequestHandler):
    """What aiohttp answers by itself, before or around the application, is answered as all else is.

    Nothing may stay in its write buffer: so `drain` waits until the kernel has taken everything, and whatever it has
    not taken is known, whoever wrote it.
    """

    __slots__ = (
        "_accepted", "_answer", "_body", "_bounds", "_head", "_head_limit", "_held", "_is_known", "_lasting", "_line",
        "_may_stay", "_stuck",
    )  # fmt: skip

    def __init__(self, bounds: Bounds, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._max_msg_queue_size, self._msg_queue_resume_size = READ_AHEAD, READ_AHEAD // 2
        self._parser = HttpRequestParser(  # the library's own reads 32 of them ahead, each a hundred times its bytes
            self, self._loop, self._read_bufsize, payload_exception=web.RequestPayloadError,
            max_line_size=self.max_line_size, max_field_size=self.max_field_size, max_headers=self.max_headers,
            max_msg_queue_size=READ_AHEAD,
            auto_decompress=False,  # it would unpack whatever comes, to its end, on any path, for anybody
        )  # fmt: skip
        self._bounds = bounds
        self._accepted: Accepted | None = None  # None: it was refused
        self._answer = 0  # bytes of the one that is written now, which are there until all of it is taken
        self._is_known = False  # who asks: it stays, too, while they do not take the answer
        self._may_stay = False  # the request is whole, or who asks is known
        self._lasting = ExitStack()  # what is held until the answer has left
        self._body: StreamReader = EMPTY_PAYLOAD  # of the request that was read last
        self._head = 0  # bytes of a request whose headers are not all here
        self._head_limit: asyncio.TimerHandle | None = None
        self._stuck: asyncio.TimerHandle | None = None  # while something waits to be taken
        self._held: asyncio.Future[None] | None = None  # while who asks waits to be refused

    # Coming and going

    def connection_made(self, transport: Any) -> None:
        self._line: asyncio.Transport = transport  # the library forgets its own before it is closed
        peer = str((transport.get_extra_info("peername") or ("",))[0])
        self._accepted = self._bounds.connections.accept(peer, self.cut_off)
        if self._accepted is None:
            transport.abort()
            return
        super().connection_made(transport)
        transport.set_write_buffer_limits(0)
        _end_if_silent(transport, 2 * self._bounds.stalled_after)
        self._await_head(0)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._end_hold()
        self._has_head()
        self.release()
        if self._accepted is not None:
            self._bounds.connections.end(self._accepted)
        super().connection_lost(exc)

    def close(self) -> None:
        """The server stops: what is under way is answered."""
        super().close()
        self._end_hold()

    def cut_off(self) -> None:
        self._line.abort()

    # What it asks

    def data_received(self, data: bytes) -> None:
        requests, body = self._request_count, self._body.total_bytes
        super().data_received(data)
        if self._request_count != requests:
            self._body = self._messages[-1][1]
            self._has_head()
        elif self._body.total_bytes != body:
            self._has_head()
        elif data:  # of a head, or of what stands around the chunks of a body: trailers (RFC 9112, 7.1.2)
            self._await_head(len(data))

    def _await_head(self, size: int) -> None:
        self._head += size
        if self._head > MAX_HEAD:
            self.force_close()
        elif self._head_limit is None:
            self._head_limit = self._loop.call_later(self._bounds.head_time, self.force_close)

    def _has_head(self) -> None:
        self._head = 0
        if self._head_limit is not None:
            self._head_limit.cancel()
            self._head_limit = None

    def work(self, request: web.BaseRequest) -> None:
        """A request begins: its headers are here. Raises TooManyConnections."""
        if self._accepted is not None:
            self._is_known = self._may_stay = False
            self._bounds.connections.ask(self._accepted, request.headers.getall("X-Forwarded-For", ()))
            request.content.on_eof(partial(self._is_whole, request))

    def _is_whole(self, request: web.BaseRequest) -> None:
        if self._accepted is not None and self._current_request is request and self._held is None:
            self._may_stay = True
            self._bounds.connections.work(self._accepted)

    def known(self) -> None:
        """Who asks has shown credentials; how many requests they have is another's to bound."""
        if self._accepted is not None:
            self._is_known = self._may_stay = True
            self._bounds.connections.work(self._accepted)

    async def meet(self) -> None:
        """Count who asks among the strangers. Raises TooManyStrangers, once it is time to say so."""
        if self._accepted is not None:
            try:
                self._bounds.strangers.check(self._accepted.address, self._loop.time())
            except TooManyStrangers as exc:
                await self.hold_back(exc.wait)
                raise

    async def hold_back(self, seconds: float) -> None:
        """Answer nobody known no sooner than this; meanwhile it gives way for one that comes."""
        if self.transport is None:
            return  # it has gone already
        self._may_stay = False
        if self._accepted is not None:
            self._bounds.connections.wait(self._accepted)
        self._held = self._loop.create_future()
        await asyncio.wait([self._held], timeout=seconds)
        self._held = None

    def _end_hold(self) -> None:
        if self._held is not None and not self._held.done():
            self._held.set_result(None)

    def last(self, held: AbstractContextManager[None]) -> None:
        """Hold something until the answer to this request has left. Raises what entering it raises."""
        self._lasting.enter_context(held)

    def let_go(self) -> None:
        """The answer has left, or there will be none."""
        self._lasting.close()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        body = resp.body if isinstance(resp, web.Response) else None
        self._answer = len(body) if isinstance(body, bytes) else 0
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self._answer = 0
            if isinstance(resp, web.Response):
                resp.body = None  # the library keeps an answer until the next one is made
            self.let_go()
            self._may_stay = False
            if self._accepted is not None:
                self._bounds.connections.rest(self._accepted)

    def handle_error(self, request: web.BaseRequest, status: int = 500, *more: Any, **named: Any) -> web.StreamResponse:
        super().handle_error(request, status, *more, **named)  # which logs, and stops where an answer has begun
        answer = of_aiohttp(status)
        answer.force_close()
        return answer

    # What is held for it

    def hold(self, size: int) -> None:
        """So many bytes more wait for it, until `release`; who waits for too much is cut off."""
        address = "" if self._accepted is None else self._accepted.address
        for peer in self._bounds.slow_peers.hold(self, address, size):
            peer.give_up()

    def release(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None
        self._bounds.slow_peers.release(self)

    def give_up(self) -> None:
        """It is too slow."""
        self._bounds.refused("slow_peers")
        self.cut_off()

    def pause_writing(self) -> None:
        super().pause_writing()
        size = self._line.get_write_buffer_size()
        self._look_again(size)
        self.hold(size + self._answer)
        if self._accepted is not None and not self._is_known:
            self._bounds.connections.wait(self._accepted)

    def resume_writing(self) -> None:
        super().resume_writing()
        self.release()
        if self._accepted is not None and self._may_stay:
            self._bounds.connections.work(self._accepted)

    def _look_again(self, before: int) -> None:
        self._stuck = self._loop.call_later(self._bounds.stalled_after, self._look, before)

    def _look(self, before: int) -> None:
        left = self._line.get_write_buffer_size()
        if left < before:
            self._look_again(left)
        else:
            self.give_up()


def connection_of(request: web.BaseRequest) -> Connection:
    connection = request.protocol
    assert isinstance(connection, Connection)
    return connection


def _end_if_silent(transport: asyncio.Transport, seconds: float) -> None:
    """Have the kernel end the connection where nothing is taken of what we could give it whole."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sys.platform == "linux":
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))
