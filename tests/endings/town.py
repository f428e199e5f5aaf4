"""A WebSocket server in the test's own loop, warm; its peers, and a line of the test's own to the database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg
from held import Held, descriptors, held
from peer import CLOSE, Peer, Peers, peers

from support.log import connected
from support.members import Publisher
from support.raw_ws import text
from support.ws import Running, running


class Town:
    """A server, its peers, and a line of the test's own to the database."""

    def __init__(self, recado: Running, all_peers: Peers, db: asyncpg.Connection, dsn: str) -> None:
        self.recado = recado
        self.peers = all_peers
        self.db = db
        self.dsn = dsn

    def held(self) -> Held:
        return held(self.recado.node.metrics.registry, self.peers.mine)

    @property
    def sockets(self) -> int:
        return descriptors("self", self.peers.mine)["descriptor socket"]

    async def websocket(self, user: str = "diego", small: bool = False) -> Peer:
        return await self.peers.websocket(self.recado.token(user), small)


@asynccontextmanager
async def town(dsn: str, **timings: Any) -> AsyncIterator[Town]:
    async with running(dsn, **timings) as recado, peers(recado.url) as all_peers, connected(dsn) as db:
        here = Town(recado, all_peers, db, dsn)
        if not await db.fetchval("SELECT EXISTS (SELECT FROM recado.topics WHERE name = 'noticias')"):
            await settle(here)
        await warm(here)
        yield here


async def settle(here: Town) -> None:
    """Diego has nothing to catch up with, Pedro little, Lucia more than any buffer takes."""
    for topic, member, count in (("noticias", "diego", 1), ("fotos", "pedro", 2), ("archivo", "lucia", 100)):
        await here.recado.topic(topic, "omar", member)
        await Publisher(here.recado).publish(topic, ["y" * (60_000 if count > 1 else 1)] * count)


async def warm(here: Town) -> None:
    """Every line to the database that the pool may have is there, and what is made once is made."""
    pool = here.recado.node.store.pool
    async with AsyncExitStack() as stack:
        for _ in range(8):
            await stack.enter_async_context(pool.connection())
    await here.recado.node.store.tokens.revoked(["none"])
    peer = await here.websocket()
    await peer.say(text(action="message", topic_name="noticias", content=0, id="warm"))
    await peer.hear(b'"id":"warm"')
    await peer.say(CLOSE)
    await peer.ended()
    peer.sock.close()
