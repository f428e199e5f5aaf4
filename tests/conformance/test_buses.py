"""Every bus keeps the one contract: what it promises, and what nothing may rely on."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from messaging.bus.contract import Bus, LocalBus
from messaging.bus.nats import NatsBus
from messaging.bus.postgres import PostgresBus, binary
from messaging.bus.remote import RemoteBus
from messaging.bus.seal import Seal
from messaging.bus.wire import packed
from messaging.model import Appended, Changed, Content, Message, Notice, Voided
from support.buses import Outside, outside_nats, outside_postgres, socket_of, tcp_dsn
from support.lines import Line, line_to
from support.nats_server import nats_server
from support.places import free_port

TIME = 15
SECRET = bytes(range(32))
NOW = datetime.now(UTC)


@dataclass
class Ear:
    """A receiver that can be waited for."""

    heard: list[Notice] = field(default_factory=list)
    resyncs: int = 0
    refused: int = 0
    looks: int = 0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def receive(self, notice: Notice) -> None:
        self.heard.append(notice)
        self._news.set()

    def resync(self) -> None:
        self.resyncs += 1
        self._news.set()

    def look(self) -> None:
        self.looks += 1
        self._news.set()

    def refuse(self) -> None:
        self.refused += 1
        self._news.set()

    async def until(self, condition: Callable[[Ear], bool]) -> None:
        async with asyncio.timeout(TIME):
            while not condition(self):
                self._news.clear()
                await self._news.wait()


def message(seq: int, content: str = '"hola"') -> Message:
    return Message(seq, "omar", Content(content), NOW)


def appended(topic_id: int, *messages: Message) -> Appended:
    return Appended(topic_id, messages[0].seq, messages[-1].seq, messages)


@dataclass
class Buses:
    """Makes nodes' ends of one bus, over a line that the test holds."""

    make: Callable[..., Bus]
    line: Line | None
    outside: Callable[[], AbstractAsyncContextManager[Outside]] | None = None


@pytest.fixture(params=["local", "postgres", "nats"])
async def buses(request: pytest.FixtureRequest, database: str) -> AsyncIterator[Buses]:
    if request.param == "local":
        bus = LocalBus()
        yield Buses(lambda: bus, None)
        return
    if request.param == "postgres":
        async with line_to(socket_of(database)) as line:
            yield Buses(partial(PostgresBus, tcp_dsn(database, line.port)), line, outside_postgres(database))
        return
    async with nats_server() as server, line_to(server.port) as line:
        servers = [f"nats://127.0.0.1:{line.port}"]
        yield Buses(partial(NatsBus, servers, "recado.test"), line, outside_nats(server.url, "recado.test"))


@asynccontextmanager
async def ends(buses: Buses, count: int = 2, **times: float) -> AsyncIterator[tuple[list[Bus], list[Ear]]]:
    """Some nodes' ends, all of whose lines are up."""
    made = [buses.make(**times) for _ in range(count)]
    listeners = [Ear() for _ in made]
    names = [secrets.token_hex(16) for _ in made]
    for bus, listener, name in zip(made, listeners, names, strict=True):
        bus.open(Seal(name, SECRET), listener.look, listener.refuse)
        bus.know(frozenset(names))
    async with asyncio.TaskGroup() as tasks:
        works = []
        for bus, listener in zip(made, listeners, strict=True):
            bus.attach(listener.receive, listener.resync)
            works.append(tasks.create_task(bus.run()))
        if buses.line is not None:
            for listener in listeners:
                await listener.until(lambda listener: listener.resyncs > 0)
        yield made, listeners
        for work in works:
            work.cancel()


async def test_what_is_told_is_heard_here_at_once_and_there_soon(buses: Buses) -> None:
    notices: list[Notice] = [appended(7, message(1), message(2)), Changed(3), Changed(3, (7, 2**53)), Voided("jti-1")]
    async with ends(buses) as (made, listeners):
        for notice in notices:
            made[0].tell(notice)

        assert notices == listeners[0].heard[: len(notices)]
        await listeners[1].until(lambda listener: len(listener.heard) >= 4)
        assert notices == listeners[1].heard


async def test_one_tells_many_in_order(buses: Buses) -> None:
    async with ends(buses, 3) as (made, listeners):
        for seq in range(1, 501):
            made[0].tell(appended(1, message(seq)))
        for listener in listeners[1:]:
            await listener.until(lambda listener: len(listener.heard) >= 500)
            assert list(range(1, 501)) == [notice.first for notice in listener.heard if isinstance(notice, Appended)]


async def test_what_does_not_fit_comes_without_its_messages(buses: Buses) -> None:
    big = appended(1, *(message(seq, f'"{"x" * 60_000}"') for seq in range(1, 31)))
    async with ends(buses) as (made, listeners):
        made[0].tell(big)
        made[0].tell(appended(1, message(31)))
        await listeners[1].until(lambda listener: len(listener.heard) >= 2)

        first, second = listeners[1].heard[:2]
        assert isinstance(first, Appended)
        assert (1, 30) == (first.first, first.last)
        assert first.messages is None or buses.line is None
        assert appended(1, message(31)) == second


async def test_after_a_cut_the_line_comes_back_and_asks_for_a_resync(buses: Buses) -> None:
    if buses.line is None:
        return  # the local bus has no line
    async with ends(buses) as (made, listeners):
        before = listeners[1].resyncs
        buses.line.cut()
        await listeners[1].until(lambda listener: listener.resyncs > before)
        await listeners[0].until(lambda listener: listener.resyncs > 1)

        before = listeners[1].resyncs
        made[0].tell(Changed(9))  # it may be lost with the old line: then a resync says so
        await listeners[1].until(lambda listener: Changed(9) in listener.heard or listener.resyncs > before)


async def test_a_silent_line_is_noticed_and_made_anew(buses: Buses) -> None:
    if buses.line is None:
        return
    async with ends(buses, heartbeat=0.2, silence=1.0) as (made, listeners):
        before = [listener.resyncs for listener in listeners]
        buses.line.silence()
        made[0].tell(Changed(1))  # is lost
        for listener, resyncs in zip(listeners, before, strict=True):
            await listener.until(lambda listener, resyncs=resyncs: listener.resyncs > resyncs)  # type: ignore[misc]
        made[0].tell(Changed(2))
        await listeners[1].until(lambda listener: Changed(2) in listener.heard)


async def test_telling_never_waits_nor_fails_while_the_line_is_down(buses: Buses) -> None:
    async with ends(buses) as (made, listeners):
        if buses.line is not None:
            await buses.line.close()
        for number in range(20_000):
            made[0].tell(Changed(number))
        assert 20_000 == len(listeners[0].heard)
        if buses.line is not None:
            before = listeners[1].resyncs
            await buses.line.open()
            await listeners[1].until(lambda listener: listener.resyncs > before)


async def test_a_missed_parcel_is_noticed(buses: Buses) -> None:
    if buses.line is None:
        return
    async with ends(buses) as (made, listeners):
        sender: Any = made[0]
        sender.tell(Changed(1))
        await listeners[1].until(lambda listener: Changed(1) in listener.heard)
        before = listeners[1].resyncs
        sender._send_queue.heartbeat()  # a parcel that never leaves
        sender.tell(Changed(2))
        await listeners[1].until(lambda listener: listener.resyncs > before)


async def test_who_listens_outside_reads_nothing(buses: Buses) -> None:
    if buses.outside is None:
        return
    async with buses.outside() as outside, ends(buses) as (made, listeners):
        made[0].tell(appended(77, message(1, '"the secret of omar"')))
        await listeners[1].until(lambda listener: bool(listener.heard))
        await outside.until(len(made) + 1)
        for text in [*outside.heard, *(binary(data.decode(errors="replace")) for data in outside.heard)]:
            assert b"secret" not in text
            assert b"omar" not in text


async def test_who_speaks_outside_is_not_heard(buses: Buses) -> None:
    """Nor what it plays again; and it makes nobody believe that something was missed."""
    if buses.outside is None:
        return
    async with buses.outside() as outside, ends(buses) as (made, listeners):
        made[0].tell(Changed(1))
        await listeners[1].until(lambda listener: Changed(1) in listener.heard)
        await outside.until(1)
        real, resyncs = list(outside.heard), listeners[1].resyncs
        stranger, other = Seal(secrets.token_hex(16), SECRET), Seal(secrets.token_hex(16), bytes(32))
        forged = [
            b"", b"\xff\xfe", b"x" * 5000, b'["0123456789abcdef",9,[["c",6]]]', real[0][:-4] + b"AAAA",
            base64.b64encode(stranger.close(9, packed([]))), stranger.close(9, packed([])),
            base64.b64encode(other.close(9, packed([]))), other.close(9, packed([])),
        ]  # fmt: skip
        for data in [*forged, *real, *real]:
            await outside.say(data)
        made[0].tell(Changed(2))
        for listener in listeners:
            await listener.until(lambda each: Changed(2) in each.heard and each.refused >= len(forged) + len(real))
            assert {Changed(1), Changed(2)} == set(listener.heard)
        assert listeners[1].heard == [Changed(1), Changed(2)]
        assert resyncs == listeners[1].resyncs


async def test_who_is_new_is_heard_once_it_is_known_to_be_alive(buses: Buses) -> None:
    if buses.line is None:
        return
    async with ends(buses) as (made, listeners):
        name = secrets.token_hex(16)
        alive = frozenset({name, *(cast_exchange(bus)._seal.sender for bus in made)})
        fresh = buses.make()
        fresh.open(Seal(name, SECRET), lambda: None, lambda: None)
        work = asyncio.create_task(fresh.run())
        fresh.tell(Changed(1))
        await listeners[1].until(lambda listener: listener.looks > 0)
        assert not listeners[1].heard
        before = listeners[1].resyncs
        made[1].know(alive)
        assert listeners[1].resyncs == before + 1  # what it was told before may be anything
        fresh.tell(Changed(2))
        await listeners[1].until(lambda listener: Changed(2) in listener.heard)
        work.cancel()
        await asyncio.wait([work])


def cast_exchange(bus: Bus) -> RemoteBus:
    assert isinstance(bus, RemoteBus)
    return bus


async def test_what_a_receiver_raises_ends_the_bus(buses: Buses) -> None:
    """It is a defect of ours, and no line's: the process is not to limp on."""
    if buses.line is None:
        return

    def fail(notice: Notice) -> None:
        if notice == Changed(1):
            raise ZeroDivisionError

    with pytest.raises(ExceptionGroup) as failure:
        async with ends(buses) as (made, _):
            made[1].attach(fail, lambda: None)
            made[0].tell(Changed(1))
            await asyncio.sleep(TIME)
    assert failure.group_contains(ZeroDivisionError)


async def test_a_cluster_of_three_nats_servers_goes_on_without_one() -> None:
    routes = [free_port() for _ in range(3)]
    known = ",".join(f"nats://127.0.0.1:{route}" for route in routes)

    def options(number: int) -> tuple[str, ...]:
        return ("--cluster_name", "recado", "--cluster", f"nats://127.0.0.1:{routes[number]}", "--routes", known)

    async with (
        nats_server(*options(1)) as second,
        nats_server(*options(2)) as third,
        nats_server(*options(0)) as first,
    ):
        urls = [server.url for server in (first, second, third)]
        # One bus knows all servers, and begins with the first; the other is at the last.
        pair = iter([NatsBus(urls, "recado.test"), NatsBus(urls[2:], "recado.test")])
        buses = Buses(lambda: next(pair), Line(first.port))  # the line is not used: it says that there is one
        async with ends(buses) as (made, listeners):
            made[0].tell(Changed(1))
            await listeners[1].until(lambda listener: Changed(1) in listener.heard or listener.resyncs > 1)
            await first.kill()
            again = listeners[1].resyncs
            made[0].tell(Changed(2))
            await listeners[1].until(lambda listener: Changed(2) in listener.heard or listener.resyncs > again)
