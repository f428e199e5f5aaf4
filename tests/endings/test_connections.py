"""Every way in which a WebSocket can end, in every state that it can be in: nothing is left of it."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from held import nothing_left
from peer import LINGER_NONE, UPGRADE, WS_GONE, WS_STAYS, Ending, Peer, States, stays
from town import Town, town

import ws_server.feeds.ticker
import ws_server.server
from support.log import HOLD_COMMIT, waits_for_lock
from support.raw_ws import TEXT, frame, text
from support.waiting import until

FLIGHT = 300  # publishes: more than may be under way
TURNS = 64  # requests: as many as may wait


@pytest.fixture(scope="module")
async def patient(module_database: str) -> AsyncIterator[Town]:
    """It gives those who go all the time that they want."""
    async with served(module_database, 3600.0) as here:
        await here.db.execute(HOLD_COMMIT)
        yield here


@pytest.fixture(scope="module")
async def hasty(patient: Town) -> AsyncIterator[Town]:
    async with served(patient.dsn, 0.3) as here:
        yield here


@pytest.fixture(scope="module")
async def strict(patient: Town) -> AsyncIterator[Town]:
    """It soon gives up who takes nothing and answers no ping."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ws_server.feeds.ticker, "IDLE_TICKS", 5)
        async with served(patient.dsn, 0.3, stuck_after=0.5) as here:
            yield here


@asynccontextmanager
async def served(dsn: str, seconds: float, **timings: float) -> AsyncIterator[Town]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ws_server.server, "CLOSE_TIMEOUT", seconds)
        patch.setattr(ws_server.server, "OPEN_TIMEOUT", seconds)
        async with town(dsn, **timings) as here:
            yield here


# --- the states ------------------------------------------------------------------------------------

STATES = state = States[Town]()


@state("connected")
async def _(here: Town) -> AsyncIterator[tuple[Peer, bytes]]:
    yield await here.websocket(), b""


@state("half a handshake")
async def _(here: Town) -> AsyncIterator[tuple[Peer, bytes]]:
    yield await here.peers.connect(), UPGRADE[:40].encode()


@state("frames before the answer to the handshake")
async def _(here: Town) -> AsyncIterator[tuple[Peer, bytes]]:
    request = UPGRADE.format(path=here.recado.token("diego")).encode()
    yield await here.peers.connect(), request + 8 * text(action="topics")


@state("half a message")
async def _(here: Town) -> AsyncIterator[tuple[Peer, bytes]]:
    part = bytearray(frame(TEXT, b'{"action":'))
    part[0] &= 0x7F
    yield await here.websocket(), bytes(part)


@state("as many requests as may wait")
async def _(here: Town) -> AsyncIterator[tuple[Peer, bytes]]:
    yield await here.websocket(), TURNS * text(action="topics")


@state("more publishes than may be under way")
async def _(here: Town) -> AsyncIterator[tuple[Peer, bytes]]:
    yield await here.websocket(), FLIGHT * text(action="message", topic_name="@diego", content=1)


@state("replies that it does not take")
async def _(here: Town) -> AsyncIterator[tuple[Peer, bytes]]:
    peer = await here.websocket("pedro", small=True)
    yield peer, 60 * text(action="history", topic_name="fotos", limit=2)


@state("a chunk that it does not take")
async def _(here: Town) -> AsyncIterator[tuple[Peer, bytes]]:
    peer = await here.websocket("lucia", small=True)
    await peer.hear(b'"message"')
    yield peer, b""


@state("its token being checked")
async def _(here: Town) -> AsyncIterator[tuple[Peer, bytes]]:
    peer = await here.peers.connect()
    async with here.db.transaction():
        await here.db.execute("LOCK TABLE recado.users")
        await peer.say(UPGRADE.format(path=here.recado.token("diego")).encode())
        await waits_for_lock(here.dsn, "")
        before = here.sockets
        yield peer, b""
        await until(lambda: here.sockets < before)  # the server knows, and only then is told of the token


@state("opening")
async def _(here: Town) -> AsyncIterator[tuple[Peer, bytes]]:
    peer = await here.peers.connect()
    async with here.db.transaction():
        await here.db.execute("LOCK TABLE recado.memberships")
        await peer.say(UPGRADE.format(path=here.recado.token("diego")).encode())
        await peer.hear(b" 101 ")
        await waits_for_lock(here.dsn, "")
        yield peer, text(action="topics")


@state("a COMMIT under way")
async def _(here: Town) -> AsyncIterator[tuple[Peer, bytes]]:
    peer = await here.websocket()
    await here.db.execute("SELECT pg_advisory_lock(42)")
    await peer.say(text(action="message", topic_name="noticias", content=1))
    await waits_for_lock(here.dsn, "")
    yield peer, text(action="topics")
    await here.db.execute("SELECT pg_advisory_unlock(42)")


# --- the endings -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STATES)
async def test_nothing_is_left_of_one_that_has_gone(patient: Town, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Also where nothing was read from it any more; and no time has to run out for it."""
    for how, end in WS_GONE.items():
        await ends(patient, name, how, end, caplog)


@pytest.mark.parametrize("name", STATES)
async def test_nothing_is_left_of_one_that_stays_behind_its_end(
    hasty: Town, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    for how, end in WS_STAYS.items():
        await ends(hasty, name, how, end, caplog)


@pytest.mark.parametrize("name", STATES)
async def test_nothing_is_left_of_one_that_falls_silent(
    strict: Town, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing ends it but a server that waits for no peer without a limit."""
    await ends(strict, name, "silent", (b"", stays), caplog)


async def test_a_peer_that_left_before_it_was_accepted_is_no_error(
    patient: Town, caplog: pytest.LogCaptureFixture
) -> None:
    """Its request is there to be read, its address is not."""
    async with nothing_left(patient.held), patient.db.transaction():
        await patient.db.execute("LOCK TABLE recado.users")
        with socket.create_connection(("127.0.0.1", patient.peers.port)) as sock:  # the loop stands still meanwhile
            sock.sendall(UPGRADE.format(path=patient.recado.token("diego")).encode())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
        await waits_for_lock(patient.dsn, "")
    assert not caplog.records


async def ends(here: Town, name: str, how: str, end: Ending, caplog: pytest.LogCaptureFixture) -> None:
    last_words, action = end
    try:
        async with nothing_left(here.held), STATES[name](here) as (peer, words):
            await peer.say(words + last_words)
            await action(peer)
    except AssertionError as exc:
        raise AssertionError(f"{name}, {how}: {exc}") from None
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [], how
