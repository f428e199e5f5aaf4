"""A TCP line in the middle that can be cut, stopped without a word, or closed for all."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Line:
    """Forwards connections to one address (a port, or the path of a Unix socket).

    While ``mute`` nothing that comes from there gets through; while it ``refuses`` nobody gets any further than to it.
    """

    def __init__(self, target: int | str) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._silent: set[asyncio.StreamWriter] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.mute = False
        self.refuses = False

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Take no connections, and cut those there are."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Reset every connection; new ones are welcome."""
        for writer in self._writers:
            _reset_at_close(writer)
            writer.transport.abort()
        self._writers.clear()

    def silence(self) -> None:
        """From now on nothing goes through the present connections, and nobody is told: a dead network."""
        self._silent |= self._writers

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.refuses:
                raise ConnectionRefusedError
            if isinstance(self._target, int):
                there = await asyncio.open_connection("127.0.0.1", self._target)
            else:
                there = await asyncio.open_unix_connection(self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, there[1]}
        for source, sink in ((reader, there[1]), (there[0], writer)):
            task = asyncio.create_task(self._pump(source, sink, is_back=sink is writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, is_back: bool) -> None:
        with suppress(OSError, RuntimeError):  # uvloop: the handler is closed
            while data := await source.read(65536):
                if sink not in self._silent and not (self.mute and is_back):
                    sink.write(data)
                    await sink.drain()
        sink.close()


@asynccontextmanager
async def line_to(target: int | str) -> AsyncIterator[Line]:
    line = Line(target)
    await line.open()
    try:
        yield line
    finally:
        await line.close()


def _reset_at_close(writer: asyncio.StreamWriter) -> None:
    """Let the other end see a reset (RST), where it would see an end (FIN)."""
    line = writer.get_extra_info("socket")
    if line is not None and line.fileno() >= 0 and line.family == socket.AF_INET:
        with socket.socket(fileno=os.dup(line.fileno())) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
