"""A line to PostgreSQL that sees each append (or another statement) of a client, and can cut it there."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, quote, urlsplit

Cut = Literal["before", "after"]


class Proxy:
    """Passes everything on, until told otherwise.

    ``statement``: what is watched for: text of a query, sent as it is or as a prepared statement.
    ``cut``: at the next of it, cut the line "before" the server sees it, or "after" it has answered.
    ``gate``: while it is not set, new lines are taken but lead nowhere, and an arriving one is held at the proxy.
    ``swallows``: what either side says is lost, and the line stays.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.cut: Cut | None = None
        self.statement = b"recado.append("
        self.swallows = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.seen = 0  # that the client has sent
        self.cuts = 0
        self.at_gate = asyncio.Event()  # one waits there

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.gate.wait()
        try:
            server_reader, server_writer = await asyncio.open_unix_connection(self.target)
        except OSError:
            writer.transport.abort()
            return
        line = _Line(self, reader, writer, server_reader, server_writer)
        await line.run()


class _Line:
    """One connection through the proxy."""

    def __init__(
        self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
        server_reader: asyncio.StreamReader, server_writer: asyncio.StreamWriter,
    ) -> None:  # fmt: skip
        self.proxy = proxy
        self.reader, self.writer = reader, writer
        self.server_reader, self.server_writer = server_reader, server_writer
        self.mute = False  # what the server says is dropped
        self.answered = asyncio.Event()  # the server has ended a transaction since `mute`
        self.prepared: set[bytes] = set()  # names of statements that are watched for

    async def run(self) -> None:
        ways = {asyncio.ensure_future(self.up()), asyncio.ensure_future(self.down())}
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self.writer.transport.abort()
            self.server_writer.transport.abort()

    async def up(self) -> None:
        """Client to server, message by message (the first has no type)."""
        try:
            kind, message = await self.next(prefix=0)
            while True:
                if self.proxy.swallows:
                    pass
                elif not self.is_watched(kind, message[5:]):
                    self.server_writer.write(message)
                elif await self.see(kind, message):
                    return
                kind, message = await self.next()
        except (asyncio.IncompleteReadError, ConnectionError):
            return

    async def next(self, prefix: int = 1) -> tuple[bytes, bytes]:
        head = await self.reader.readexactly(prefix + 4)
        body = await self.reader.readexactly(int.from_bytes(head[prefix:]) - 4)
        return head[:prefix], head + body

    def is_watched(self, kind: bytes, body: bytes) -> bool:
        if kind == b"P" and self.proxy.statement in body:  # Parse: name, query
            self.prepared.add(body.split(b"\0", 1)[0])
        if kind == b"B":  # Bind: portal, name of the statement
            return body.split(b"\0", 2)[1] in self.prepared
        return kind == b"Q" and self.proxy.statement in body

    async def see(self, kind: bytes, message: bytes) -> bool:
        """Treat what is watched for; whether the line is to be cut."""
        proxy = self.proxy
        proxy.seen += 1
        if not proxy.gate.is_set():
            proxy.at_gate.set()
            await proxy.gate.wait()
        cut, proxy.cut = proxy.cut, None
        self.mute = cut is not None
        if cut != "before":
            self.server_writer.write(message)
        if cut == "after":
            while kind not in (b"Q", b"S"):  # what was bound is executed, up to the Sync that commits it
                kind, message = await self.next()
                self.server_writer.write(message)
            await self.answered.wait()
        proxy.cuts += cut is not None
        return cut is not None

    async def down(self) -> None:
        try:
            while data := await self.server_reader.read(65536):
                if self.mute or self.proxy.swallows:
                    self.answered.set()
                else:
                    self.writer.write(data)
        except ConnectionError:
            return


@asynccontextmanager
async def proxied(dsn: str) -> AsyncIterator[tuple[str, Proxy]]:
    """The DSN of a line through a proxy."""
    parts = urlsplit(dsn)
    sockets = parse_qs(parts.query)["host"][0]
    with tempfile.TemporaryDirectory(prefix="proxy-") as directory:
        proxy = Proxy(f"{sockets}/.s.PGSQL.5432")
        tasks: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(proxy.serve(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await asyncio.start_unix_server(accept, Path(directory) / ".s.PGSQL.5432")
        query = f"host={quote(directory, safe='')}&port=5432"
        try:
            yield f"{parts.scheme}://{parts.netloc}{parts.path}?{query}", proxy
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
