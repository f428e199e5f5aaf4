"""What carries a bus: lines to it that a test holds, and somebody outside who reaches it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
from nats.aio.msg import Msg

from messaging.bus.nats_connection import confirm, connect, let_go

TIME = 15


def tcp_dsn(dsn: str, port: int) -> str:
    """A DSN over the line: asyncpg has no TLS to negotiate on it."""
    parts = urlsplit(dsn)
    return f"postgresql://{parts.username}@127.0.0.1:{port}{parts.path}?sslmode=disable"


def socket_of(dsn: str) -> str:
    query = parse_qs(urlsplit(dsn).query)
    return str(Path(query["host"][0]) / f".s.PGSQL.{query.get('port', ['5432'])[0]}")


@dataclass
class Outside:
    """Somebody who reaches what carries the parcels, and is no node."""

    heard: list[bytes] = field(default_factory=list)
    say: Callable[[bytes], Awaitable[None]] = field(init=False)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, data: bytes) -> None:
        self.heard.append(data)
        self._news.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(TIME):
            while len(self.heard) < count:
                self._news.clear()
                await self._news.wait()


def outside_postgres(dsn: str) -> Callable[[], AbstractAsyncContextManager[Outside]]:
    @asynccontextmanager
    async def outside() -> AsyncIterator[Outside]:
        async with role_without_grants(dsn) as connection:
            somebody = Outside()
            await connection.add_listener("recado", lambda *args: somebody.hear(str(args[3]).encode()))

            async def say(data: bytes) -> None:
                text = data.decode(errors="replace").replace("\0", "?")
                await connection.execute("SELECT pg_notify('recado', $1)", text)

            somebody.say = say
            yield somebody

    return outside


@asynccontextmanager
async def role_without_grants(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of a role that may connect, and nothing else."""
    parts = urlsplit(dsn)
    owner = await asyncpg.connect(dsn)
    await owner.execute("DROP ROLE IF EXISTS mallory; CREATE ROLE mallory LOGIN")
    await owner.close()
    connection = await asyncpg.connect(parts._replace(netloc=f"mallory@{parts.netloc.rpartition('@')[2]}").geturl())
    try:
        yield connection
    finally:
        await connection.close()


def outside_nats(url: str, subject: str) -> Callable[[], AbstractAsyncContextManager[Outside]]:
    @asynccontextmanager
    async def outside() -> AsyncIterator[Outside]:
        client = await connect([url], "outside")
        somebody = Outside()

        async def hear(message: Msg) -> None:
            somebody.hear(message.data)

        async def say(data: bytes) -> None:
            await client.publish(subject, data)
            await confirm(client)

        await client.subscribe(">", cb=hear)
        await confirm(client)
        somebody.say = say
        try:
            yield somebody
        finally:
            await let_go(client)

    return outside
