"""Every way in which an HTTP request, a stream and a long poll can end: nothing is left of it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import asyncpg
import pytest
from held import Held, held, nothing_left
from peer import GONE, Ending, Peer, Peers, States, half_closes, peers, stays

from api import endpoint
from api.routes import stream
from messaging.permissions import BACKEND
from support.doors import Door
from support.doors import running as running_door
from support.log import connected, waits_for_lock

JSON = "Content-Type: application/json\r\n"


class Town:
    """An API, its peers, and a line of the test's own to the database."""

    def __init__(self, door: Door, all_peers: Peers, db: asyncpg.Connection, dsn: str, platform: str) -> None:
        self.door = door
        self.peers = all_peers
        self.db = db
        self.dsn = dsn
        self.platform = platform  # the token of one that pulls

    def held(self) -> Held:
        return held(self.door.node.metrics.registry, self.peers.mine)


@pytest.fixture(scope="module")
async def town(module_database: str) -> AsyncIterator[Town]:
    soon = {"head_time": 1.0, "stalled_after": 1.0, "idle": 1.0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(endpoint, "BODY_SECONDS", 1.0)
        patch.setattr(stream, "HEARTBEAT", 0.3)  # when a stream sees that nobody reads it any more
        async with (
            running_door(module_database, bounds=soon) as door,
            peers(door.url) as all_peers,
            connected(module_database) as db,
        ):
            node = door.node
            owner = await node.actions.know("omar")
            await node.actions.create_topic(BACKEND, "noticias", owner, "public")
            for _ in range(2):
                await door.ask("POST", "/api/v1/messages/batch", json=[
                    {"topic_name": "noticias", "content": "y" * 60_000} for _ in range(15)])  # fmt: skip
            platform = await node.registry.register("pulls", "pull", None)
            here = Town(door, all_peers, db, module_database, platform.token)
            async with AsyncExitStack() as stack:
                for _ in range(8):
                    await stack.enter_async_context(node.store.pool.connection())
            yield here


def request(method: str, path: str, more: str = "", body: str = "") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{more}\r\n{body}".encode()


# --- the states ------------------------------------------------------------------------------------

STATES = state = States[Town]()


@state("connected")
async def _(here: Town) -> AsyncIterator[tuple[Peer, bytes]]:
    yield await here.peers.connect(), b""


@state("half a request")
async def _(here: Town) -> AsyncIterator[tuple[Peer, bytes]]:
    yield await here.peers.connect(), request("GET", "/healthz")[:-4]


@state("half a body")
async def _(here: Town) -> AsyncIterator[tuple[Peer, bytes]]:
    more = JSON + "Content-Length: 100\r\n"
    yield await here.peers.connect(), request("POST", "/api/v1/messages", more, '{"topic_name":')


@state("answered, and kept alive")
async def _(here: Town) -> AsyncIterator[tuple[Peer, bytes]]:
    peer = await here.peers.connect()
    await peer.say(request("GET", "/healthz"))
    await peer.hear(b"200 OK")
    yield peer, b""


@state("answers that it does not take")
async def _(here: Town) -> AsyncIterator[tuple[Peer, bytes]]:
    peer = await here.peers.connect(small=True)
    await peer.say(request("GET", "/healthz"))
    await peer.hear(b"200 OK")
    yield peer, 30 * request("GET", "/api/v1/topics/noticias/messages?after=0&limit=5")


@state("a COMMIT under way")
async def _(here: Town) -> AsyncIterator[tuple[Peer, bytes]]:
    peer = await here.peers.connect()
    async with here.db.transaction():
        await here.db.execute("LOCK TABLE recado.messages")
        body = '{"topic_name":"noticias","content":1}'
        more = f"{JSON}Content-Length: {len(body)}\r\n"
        await peer.say(request("POST", "/api/v1/topics/noticias/messages", more, body))
        await waits_for_lock(here.dsn, "")
        yield peer, b""


@state("a stream at rest")
async def _(here: Town) -> AsyncIterator[tuple[Peer, bytes]]:
    peer = await here.peers.connect()
    await peer.say(request("GET", "/api/v1/topics/noticias/stream"))
    await peer.hear(b"retry:")
    yield peer, b""


@state("a stream that it does not take")
async def _(here: Town) -> AsyncIterator[tuple[Peer, bytes]]:
    peer = await here.peers.connect(small=True)
    await peer.say(request("GET", "/api/v1/topics/noticias/stream?after=0"))
    await peer.hear(b"retry:")
    yield peer, b""


@state("a long poll")
async def _(here: Town) -> AsyncIterator[tuple[Peer, bytes]]:
    peer = await here.peers.connect()
    yield peer, request("GET", "/events?wait=1", f"Authorization: Bearer {here.platform}\r\n")


# --- the endings -----------------------------------------------------------------------------------

ENDS: dict[str, Ending] = {**GONE, "half-closed": (b"", half_closes), "silent": (b"", stays)}
GOES_ON = ("a stream at rest", "silent")  # that is how a stream is read


@pytest.mark.parametrize("name", STATES)
async def test_nothing_is_left_of_a_request(town: Town, name: str, caplog: pytest.LogCaptureFixture) -> None:
    for how, (last_words, action) in ENDS.items():
        if (name, how) == GOES_ON:
            continue
        try:
            async with nothing_left(town.held, 10), STATES[name](town) as (peer, words):
                await peer.say(words + last_words)
                await action(peer)
        except AssertionError as exc:
            raise AssertionError(f"{name}, {how}: {exc}") from None
        assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [], how
