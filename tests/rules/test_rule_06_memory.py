"""Rule 6: no unbounded memory, no reader without progress."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from websockets.frames import Frame, Opcode

import messaging.delivery
import ws_server.feeds.hub
import ws_server.feeds.ticker
import ws_server.session
from support.log import connected
from support.members import Log, Publisher, cursor, read_until, until_confirmed
from support.raw_members import RawClient
from support.waiting import until
from support.ws import Running, receive, running, send
from ws_server.session import BUFFER_BYTES

SMALL = 8192  # bytes of a socket's receive buffer
CONTROL = 1024  # bytes: a ping may go out over a full buffer


class Watch:
    """The most that was buffered for any session in this process, looked at after every write."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.most = 0
        deliver, write = ws_server.feeds.hub.Hub.deliver, ws_server.session.Session.write

        def delivering(hub: Any, feed: Any, *args: Any) -> None:
            readers = list(feed.live)
            deliver(hub, feed, *args)
            for session in readers:
                self.look(session)

        def writing(session: Any, frames: bytes) -> bool:
            written = write(session, frames)
            self.look(session)
            return written

        monkeypatch.setattr(ws_server.feeds.hub.Hub, "deliver", delivering)
        monkeypatch.setattr(ws_server.session.Session, "write", writing)

    def look(self, session: Any) -> None:
        self.most = max(self.most, session.transport.get_write_buffer_size())


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(monkeypatch)


def resident() -> int:
    """Bytes that this process has in memory; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    except FileNotFoundError:
        return 0


def session_of(recado: Running, user: str) -> Any:
    return next(session for session in recado.door.hub.sessions() if session.user.name == user)


# --- out -------------------------------------------------------------------------------------------


@pytest.mark.limit(180)
@pytest.mark.no_cover  # counting lines is most of its time
async def test_a_member_that_reads_nothing_while_100000_messages_arrive(
    database: str, watch: Watch, record_property: Any
) -> None:
    """It gets all of them, in order, once it reads; meanwhile it costs a buffer, and others notice nothing.

    It stands still for as long as it takes until everybody else has everything: from then on nothing changes any more
    for a session that is behind, until its pong comes. That its patience ends is shown below; here it does not.
    """
    many, batch = 100_000, 5000
    async with running(database, rate_limit=0.0, stuck_after=600.0) as recado:
        await recado.topic("noticias", "omar", "diego", "ana", "lucia")
        url = f"{recado.url}/{recado.token('diego')}"
        async with (
            await RawClient.connect(url, SMALL) as diego,
            await RawClient.connect(f"{recado.url}/{recado.token('ana')}") as ana,
            recado.client("lucia") as lucia,
        ):
            for link in (diego, ana):
                await link.next("connected")
            await receive(lucia, "connected")
            before = resident()
            press = Publisher(recado)

            async def publish() -> None:
                for start in range(1, many + 1, batch):
                    await press.publish("noticias", range(start, start + batch))

            async def read(link: RawClient) -> None:
                await read_all(link, many)

            async def read_lucia() -> None:
                count = 0
                while count < many:
                    if b'"action":"message"' in (await lucia.recv(decode=False)):
                        count += 1

            async with asyncio.timeout(60):
                await asyncio.gather(publish(), read(ana), read_lucia())
            grown = resident() - before
            session = session_of(recado, "diego")
            assert session.behind and watch.most <= BUFFER_BYTES + CONTROL
            assert not diego.frames  # it really read nothing
            async with asyncio.timeout(60):
                await read_all(diego, many)
            await until_confirmed(recado, "diego", "noticias", many)
            assert watch.most <= BUFFER_BYTES + CONTROL
            most = f"{watch.most / 1024:.0f} KiB"
            text = f"RSS +{grown / 2**20:.1f} MiB (with the clients), most buffered for a session {most}"
            print(f"\n100,000 messages past a member that reads nothing: {text}")
            record_property("memory", text)
            assert grown < 150 * 2**20


async def read_all(link: RawClient, last: int) -> None:
    """Every seq from 1 on, by +1, with its own content."""
    expected = 1
    while expected <= last:
        await link.read()
        assert not link.ended
        for frame in link.frames:
            if frame["action"] == "message":
                assert frame["seq"] == frame["content"] == expected
                expected += 1
        link.frames.clear()


@pytest.fixture
def ten_times_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """30 s of patience become 3, 5 and 10 s of a chunk's pong 0.5 and 1: a reader at 40 KB/s is one at 4."""
    monkeypatch.setattr(messaging.delivery, "SLOW_PONG", 0.5)
    monkeypatch.setattr(messaging.delivery, "STUCK_PONG", 1.0)


class Slow:
    """Reads at a steady rate, whatever there is."""

    def __init__(self, client: RawClient, rate: float) -> None:
        self.client = client
        self._rate = rate
        self.seqs: list[int] = []

    async def read(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + 512 / self._rate
        before = self.client.received
        await self.client.read(512)
        due += (self.client.received - before - 512) / self._rate
        self.seqs += [f["seq"] for f in self.client.frames if f["action"] == "message"]
        assert not [f for f in self.client.frames if f["action"] == "closing"]
        self.client.frames.clear()
        await asyncio.sleep(max(0.0, due - loop.time()))


@pytest.mark.parametrize(("rate", "many", "moves"), [(40_000, 240, 5), (4_000, 20, 2)])
async def test_a_slow_reader_moves_chunk_by_chunk(
    database: str, watch: Watch, ten_times_faster: None, rate: int, many: int, moves: int
) -> None:
    """240 KB at 4 KB/s, and 20 KB at 0.4 KB/s, where one chunk alone takes longer than the patience with the stuck.

    It takes twice as long as that patience; nobody is closed, and the cursor rises on the way.
    """
    async with running(database, stuck_after=3.0) as recado:
        await recado.topic("noticias", "omar", "diego")
        await Publisher(recado).publish("noticias", [{"n": n, "x": "y" * 900} for n in range(1, many + 1)])
        async with await RawClient.connect(f"{recado.url}/{recado.token('diego')}", SMALL) as client:
            slow = Slow(client, rate)
            cursors = [0]
            async with asyncio.timeout(30):
                while not slow.seqs or slow.seqs[-1] < many:
                    await slow.read()
                    at = await cursor(recado, "diego", "noticias")
                    if at != cursors[-1]:
                        cursors.append(at)
                        # What is on its way is one chunk at most, and what stands in the sockets.
                        assert at <= slow.seqs[-1]
            assert slow.seqs == list(range(1, many + 1))
            await read_on_until_confirmed(recado, slow, many)
            cursors.append(many)
            assert len(set(cursors)) > moves and cursors == sorted(cursors)
    assert watch.most <= BUFFER_BYTES + CONTROL


async def read_on_until_confirmed(recado: Running, slow: Slow, seq: int) -> None:
    while await cursor(recado, "diego", "noticias") < seq:
        await slow.read()


async def test_a_slow_reader_that_loses_its_connection_again_and_again(database: str) -> None:
    """Each connection lives for little more than the first chunk; there is progress in each, and nothing is missed."""
    async with running(database) as recado:
        await recado.topic("noticias", "omar", "diego")
        await Publisher(recado).publish("noticias", [{"n": n, "x": "y" * 900} for n in range(1, 121)])
        seen: list[int] = []
        at, connections = 0, 0
        async with asyncio.timeout(30):
            while at < 120:
                connections += 1
                async with await RawClient.connect(f"{recado.url}/{recado.token('diego')}", SMALL) as client:
                    slow = Slow(client, 100_000)
                    while client.received < 24_000 and (not slow.seqs or slow.seqs[-1] < 120):
                        await slow.read()
                    assert slow.seqs[0] <= (seen[-1] if seen else 0) + 1
                    assert slow.seqs == list(range(slow.seqs[0], slow.seqs[-1] + 1))
                    seen += slow.seqs
                await until(lambda: not list(recado.door.hub.sessions()))
                before, at = at, await cursor(recado, "diego", "noticias")
                assert at > before or at == 120, "a connection that made no progress: it would be so for ever"
        assert set(seen) == set(range(1, 121))
        assert 4 < connections < 12


async def test_a_live_reader_a_little_slower_than_its_topic_is_not_taken_for_stuck(database: str) -> None:
    """What it takes is written again at once, so its buffer never shrinks; still it takes something all the time."""
    async with running(database, stuck_after=1.0) as recado:
        await recado.topic("noticias", "omar", "diego")
        press = Publisher(recado)
        async with await RawClient.connect(f"{recado.url}/{recado.token('diego')}", SMALL) as client:
            await client.next("connected")
            session = session_of(recado, "diego")
            await press.publish("noticias", ["y" * 4000] * 48)  # at once: the ping is behind all that
            slow, loop = Slow(client, 40_000), asyncio.get_running_loop()
            written = client.received
            async with asyncio.timeout(20):
                while not (session.ledger.outstanding and loop.time() - session.pinged_at > 3.0):
                    assert not session.closing, "closed though it reads all the time"
                    await slow.read()
                    if client.received - written > 3000:  # it takes 3,000 bytes, and 4,000 come
                        written = client.received
                        await press.publish("noticias", ["y" * 4000])
            assert not session.behind, "it is no live reader any more: this test shows nothing"


async def test_only_a_session_that_takes_nothing_is_stuck(database: str) -> None:
    async with running(database, stuck_after=0.5) as recado:
        await recado.topic("noticias", "omar", "diego", "ana")
        async with await RawClient.connect(f"{recado.url}/{recado.token('diego')}", SMALL) as diego:
            await diego.next("connected")
            async with recado.client("ana") as ana:
                log = Log()
                press = Publisher(recado)
                session = session_of(recado, "diego")
                async with asyncio.timeout(30):
                    while not session.closing:
                        await press.publish("noticias", ["y" * 4000] * 20)
                        await read_until(ana, log, "noticias", log.last("noticias") + 20)
                await until(lambda: session.gone)


async def test_history_replies_are_bounded(database: str, watch: Watch) -> None:
    """100 messages of 64 KiB each: a reply is cut, says so, and goes on where it was cut; many of them wait."""
    async with running(database, max_frame=131072) as recado:
        await recado.topic("fotos", "omar")
        await recado.topic("sin", "omar")
        await Publisher(recado).publish("fotos", ["y" * 65_500] * 100)
        async with recado.client("omar", "?device=a", max_size=None) as omar:
            await read_until(omar, Log(), "fotos", 100)
            seqs: list[int] = []
            before = None
            while before != 1:
                more: dict[str, Any] = {} if before is None else {"before": before}
                await send(omar, action="history", topic_name="fotos", limit=100, **more)
                raw = await omar.recv()
                assert len(raw) <= 2 * 65_536 + 65_536
                reply = json.loads(raw)
                found = [message["seq"] for message in reply["messages"]]
                assert found and reply["more"] == (found[0] > 1)
                seqs = found + seqs
                before = found[0]
            assert seqs == list(range(1, 101))

        # 200 such requests at once, of a client that reads nothing: what is answered stays within bounds.
        async with await RawClient.connect(f"{recado.url}/{recado.token('omar')}?device=a", SMALL) as greedy:
            await greedy.next("connected")
            watch.most = 0
            request = json.dumps({"action": "history", "topic_name": "fotos", "limit": 100})
            await greedy.send_bytes(Frame(Opcode.TEXT, request.encode()).serialize(mask=True) * 200)
            async with running_meanwhile(recado) as others:
                await others()
            assert 0 < watch.most <= 2 * BUFFER_BYTES
            for _ in range(200):
                assert (await greedy.next("history", within=20))["more"] is True
            assert watch.most <= 2 * BUFFER_BYTES


class running_meanwhile:
    """Lets the server do for others as much as it would have done for the greedy one."""

    def __init__(self, recado: Running) -> None:
        self._recado = recado

    async def __aenter__(self) -> Any:
        self._link = self._recado.client("ana")
        self._ana = await self._link.__aenter__()

        async def work() -> None:
            for number in range(100):
                await send(self._ana, action="topics", ref=str(number))
                while (await receive(self._ana, "topics"))["ref"] != str(number):
                    pass

        return work

    async def __aexit__(self, *exc: Any) -> None:
        await self._link.__aexit__(*exc)


# --- in --------------------------------------------------------------------------------------------


async def test_a_flood_of_publishes_is_read_as_fast_as_it_is_stored(database: str, watch: Watch) -> None:
    """10,000 publishes of a client that reads nothing: few are in flight at any time, and every one is stored."""
    many = 10_000
    async with running(database, rate_limit=0.0) as recado, connected(database) as db:
        await recado.topic("noticias", "omar")
        async with await RawClient.connect(f"{recado.url}/{recado.token('omar')}", SMALL) as omar:
            await omar.next("connected")
            session = session_of(recado, "omar")
            requests = session.connection.reader
            flood = b"".join(
                Frame(
                    Opcode.TEXT,
                    json.dumps(
                        {"action": "message", "topic_name": "noticias", "content": "y" * 100, "id": str(n)}
                    ).encode(),
                ).serialize(mask=True)
                for n in range(many)
            )
            most, paused = 0, 0

            def look() -> bool:
                nonlocal most, paused
                most = max(most, requests._publishes._count)
                paused += bool(session.connection.unread_for - {"turn"})
                return False

            sending = asyncio.create_task(omar.send_bytes(flood))
            # It goes on until the server has too much for a client that does not take its receipts.
            previous = -1
            while not sending.done() and previous != (previous := await stored(db)):
                for _ in range(20):
                    look()
                    await asyncio.sleep(0.01)
            assert watch.most <= 2 * BUFFER_BYTES
            seqs: list[int] = []
            receipts = 0
            async with asyncio.timeout(30):
                while receipts < many or len(seqs) < many:
                    await omar.read()
                    look()
                    receipts += sum(frame.get("result") == "ok" for frame in omar.frames)
                    seqs += [f["seq"] for f in omar.frames if f["action"] == "message" and "result" not in f]
                    omar.frames.clear()
            await sending
            assert seqs == list(range(1, many + 1))
            assert await stored(db) == many
            assert paused and most < 3000, (paused, most)  # 256, and what one read of the socket may hold
            assert watch.most <= 2 * BUFFER_BYTES


async def stored(db: Any) -> int:
    return int(await db.fetchval("SELECT count(*) FROM recado.messages"))


async def test_a_node_with_too_much_in_flight_says_so(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import messaging.log.appender

    monkeypatch.setattr(messaging.log.appender, "WAITING_BYTES", 2000)
    async with running(database) as recado:
        await recado.topic("noticias", "omar")
        async with recado.client("omar") as omar:
            await receive(omar, "connected")
            await send(omar, action="message", topic_name="noticias", content="y" * 3000, id="1", ref="r")
            error = await receive(omar, "error")
            assert (error["code"], error["id"], error["ref"]) == ("unavailable", "1", "r")
            await send(omar, action="message", topic_name="noticias", content="small")
            assert (await receive(omar, "message"))["content"] == "small"


async def test_fragments_of_nothing_take_no_memory(database: str) -> None:
    """They count nothing towards the size of a message, and are not kept either."""
    async with running(database) as recado, await RawClient.connect(f"{recado.url}/{recado.token('omar')}") as omar:
        await omar.next("connected")
        link = session_of(recado, "omar").connection
        await omar.send('{"action":', fin=False)
        await omar.send_bytes(Frame(Opcode.CONT, b"", False).serialize(mask=True) * 1000)
        await omar.send(b"", Opcode.PING)  # answered behind them
        while not omar.pongs:
            await omar.read()
        held = {**vars(link), **{name: getattr(link, name) for name in type(link).__slots__}}
        sizes = {name: sys.getsizeof(each) for name, each in held.items() if hasattr(each, "clear")}
        assert max(sizes.values()) < 50_000, max(sizes.items(), key=lambda item: item[1])
        await omar.send('"topics","ref":"r"}', Opcode.CONT)
        assert (await omar.next("topics"))["ref"] == "r"
