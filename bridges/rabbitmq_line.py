"""A line to a RabbitMQ server, and its failures.

Not `connect_robust`: it restores queues and consumers behind our back and hides that a line broke. The lane, and the
loop of an inlet, want to know: they try again by themselves, and say so.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import NoReturn
from urllib.parse import parse_qsl, urlencode, urlsplit

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, ChannelPreconditionFailed

log = logging.getLogger(__name__)

ANSWER_TIME = 10.0  # seconds that the server has for anything; a frozen one is then unreachable
CLOSE_TIME = 3.0
HEARTBEAT = 10  # seconds; a line that is silent for three of them is dead

Failures = (*CONNECTION_EXCEPTIONS, TimeoutError)


def reason(exc: BaseException) -> str:
    if isinstance(exc, TimeoutError):
        return f"RabbitMQ did not answer within {ANSWER_TIME:g} s"
    return f"RabbitMQ: {exc or type(exc).__name__}"


class Line:
    """A connection with one channel, made when it is first used, and again after it was lost or dropped."""

    def __init__(self, url: str, name: str) -> None:
        """``name``: shown by the server's own tools."""
        self._url = url
        self._name = name
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._endings: set[asyncio.Task[None]] = set()

    async def channel(self) -> AbstractChannel:
        """The channel; another one where an error has closed it. It raises what the server could not route."""
        if self._connection is None or self._connection.is_closed:
            self._channel = None
            self._connection = await connect(self._url, self._name)
        if self._channel is None or self._channel.is_closed:
            async with asyncio.timeout(ANSWER_TIME):
                self._channel = await self._connection.channel(on_return_raises=True)
        return self._channel

    async def another_channel(self) -> AbstractChannel:
        """One of its caller's own, beside the one for declaring."""
        await self.channel()
        assert self._connection is not None
        async with asyncio.timeout(ANSWER_TIME):
            return await self._connection.channel()

    async def declare(self, queue: str) -> None:
        """Make sure that a queue is there: durable, with no arguments, as old producers and consumers declare it.

        One with other arguments is somebody's choice, and used as it is. (RabbitMQ closes the channel to say so.)
        """
        try:
            await (await self.channel()).declare_queue(queue, durable=True, timeout=ANSWER_TIME)
        except ChannelPreconditionFailed as exc:
            log.warning("queue %s was declared otherwise and is used as it is: %s", queue, exc)
            await (await self.channel()).declare_queue(queue, passive=True, timeout=ANSWER_TIME)

    def drop(self) -> None:
        """Whatever state it is in: the next use makes another one. It is closed meanwhile."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            ending = asyncio.ensure_future(let_go(connection))
            self._endings.add(ending)
            ending.add_done_callback(self._endings.discard)

    async def close(self) -> None:
        self.drop()
        if self._endings:
            await asyncio.wait(self._endings, timeout=2 * CLOSE_TIME)


async def lost(channel: AbstractChannel) -> NoReturn:
    """Raises ConnectionError once the channel has gone."""
    why: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    def note(_: object, exc: BaseException | None) -> None:
        if not why.done():
            why.set_result(exc)

    channel.close_callbacks.add(note)
    if channel.is_closed:
        note(None, None)
    raise ConnectionError(f"the line was lost ({await why})")


async def connect(url: str, name: str) -> AbstractConnection:
    """Raises one of `Failures`."""
    parts = urlsplit(url)
    query = urlencode({"heartbeat": HEARTBEAT, **dict(parse_qsl(parts.query)), "name": f"recado {name}"})
    async with asyncio.timeout(ANSWER_TIME):
        return await aio_pika.connect(parts._replace(query=query).geturl())


async def let_go(connection: AbstractConnection) -> None:
    """Close it, but wait for no answer for long: a frozen server has none."""
    with suppress(*Failures):
        async with asyncio.timeout(CLOSE_TIME):
            await connection.close()
