"""One leader at a time, for as long as its lease lasts, whatever becomes of its line, its clock, or its will to end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from conftest import ROOT
from messaging.errors import StatementFailed
from messaging.integrator.store import PlatformStore
from messaging.runtime import leader
from messaging.runtime.leader import LeadershipLost, Lease, run_as_leader
from messaging.store.leases import LeaseStore, LeaseTimes
from support.intake import PUBLISH, contents, taking_in, until_empty
from support.log import connected, desk, run, value
from support.postgres_proxy import proxied
from support.waiting import until

QUICK = LeaseTimes(length=2.0, margin=1.0, renew_every=0.2, request=0.4, ask_every=0.05)
TERM = "SELECT term FROM recado.leases WHERE name = 'test'"
UNTIL = "SELECT until FROM recado.leases WHERE name = 'test'"


class Book(LeaseStore):
    """Tells when somebody has asked."""

    def __init__(self, dsn: str, times: LeaseTimes) -> None:
        super().__init__(dsn, times)
        self.asked = asyncio.Event()

    async def take(self, name: str, holder: str) -> int | None:
        term = await super().take(name, holder)
        self.asked.set()
        return term


@contextlib.asynccontextmanager
async def leases(dsn: str, times: LeaseTimes = QUICK) -> AsyncIterator[Book]:
    book = Book(dsn, times)
    await book.open()
    try:
        yield book
    finally:
        await book.close()


class Worker:
    """Somebody who wants to be the leader. What happens is told, in order, to ``told``."""

    def __init__(self, name: str, told: list[str]) -> None:
        self.name = name
        self.told = told
        self.lease: Lease | None = None
        self.works = asyncio.Event()
        self.stopped = asyncio.Event()
        self.may_end = asyncio.Event()  # until then it swallows cancellations
        self.may_end.set()
        self.cancelled = 0

    async def work(self, lease: Lease) -> None:
        self.lease = lease
        self.stopped.clear()
        self.works.set()
        self.told.append(f"{self.name} begins")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            while not self.may_end.is_set():
                self.cancelled += 1
                with contextlib.suppress(asyncio.CancelledError):
                    await self.may_end.wait()
            raise
        finally:
            self.works.clear()
            self.stopped.set()
            self.told.append(f"{self.name} ends")


async def renewed(dsn: str) -> None:
    """Wait until the lease has been renewed, more than once."""
    async with connected(dsn) as connection:
        for _ in range(3):
            before: datetime = await connection.fetchval(UNTIL)

            async def is_later(before: datetime = before) -> bool:
                return bool(await connection.fetchval(UNTIL) > before)

            await until(is_later)


@contextlib.asynccontextmanager
async def wanting(book: LeaseStore, worker: Worker) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.ensure_future(run_as_leader(book, "test", worker.work))
    try:
        yield task
    finally:
        task.cancel()
        worker.may_end.set()
        await asyncio.wait([task])


async def test_one_at_a_time_and_the_next_at_once_when_the_first_stops(database: str) -> None:
    """Though its lease would last for an hour: a clean stop gives it back."""
    told: list[str] = []
    first, second = Worker("first", told), Worker("second", told)
    times = replace(QUICK, length=3600)
    async with (
        asyncio.timeout(20),
        leases(database, times) as one,
        leases(database, times) as two,
        wanting(one, first) as stopping,
    ):
        await first.works.wait()
        async with wanting(two, second):
            for _ in range(3):
                await two.asked.wait()
                two.asked.clear()
            assert told == ["first begins"]
            stopping.cancel()
            await second.works.wait()
    assert told == ["first begins", "first ends", "second begins", "second ends"]


async def test_each_leader_has_a_new_term_and_keeps_it(database: str) -> None:
    terms = []
    async with asyncio.timeout(20), leases(database) as book:
        for _ in range(3):
            worker = Worker("one", [])
            async with wanting(book, worker):
                await worker.works.wait()
                assert worker.lease is not None
                terms.append(worker.lease.term)
                await renewed(database)
                assert worker.lease.term == terms[-1] == await value(database, TERM)
    assert terms == [1, 2, 3]


async def test_a_lease_does_not_hang_on_its_line(database: str) -> None:
    worker = Worker("one", [])
    async with asyncio.timeout(20), leases(database) as book, wanting(book, worker):
        await worker.works.wait()
        await run(
            database,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        await renewed(database)
        assert worker.told == ["one begins"]


async def test_a_leader_whose_line_has_fallen_silent_ends_before_the_next_begins(database: str) -> None:
    told: list[str] = []
    first, second = Worker("first", told), Worker("second", told)
    async with (
        asyncio.timeout(30), proxied(database) as (dsn, proxy), leases(dsn) as silent, leases(database) as whole,
        wanting(silent, first),
    ):  # fmt: skip
        await first.works.wait()
        async with wanting(whole, second):
            proxy.swallows = True
            await second.works.wait()
            assert told[-2:] == ["first ends", "second begins"]
            assert first.lease is not None
            with pytest.raises(LeadershipLost):
                first.lease.check()
            proxy.swallows = False


async def test_a_lease_counts_from_before_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the answer is on its way, the database's clock goes on."""
    now = 100.0

    class Slow(LeaseStore):
        async def take(self, name: str, holder: str) -> int | None:
            nonlocal now
            now += 0.25
            return 1

    monkeypatch.setattr(leader, "_clock", lambda: now)
    lease = Lease(Slow("", QUICK), "test")
    await lease.take()
    assert lease.left() == QUICK.length - QUICK.margin - 0.25


def test_a_silent_leader_is_followed_within_fifteen_seconds() -> None:
    times = LeaseTimes()
    assert times.length + times.ask_every + times.request <= 15
    assert times.margin == 3
    assert times.renew_every + 2 * times.request < times.length - times.margin, "one lost answer does not end it"


# --- who does not end ------------------------------------------------------------------------------


async def usurp(dsn: str) -> None:
    """Another holder has the turn, as after a silence or a jump of the database's clock."""
    await run(
        dsn,
        "UPDATE recado.leases SET holder = 'another', term = term + 1, until = clock_timestamp() + interval '1 hour'"
        " WHERE name = 'test'",
    )


async def test_work_that_swallows_cancellations_is_cancelled_until_it_has_ended(database: str) -> None:
    told: list[str] = []
    worker = Worker("one", told)
    worker.may_end.clear()
    async with asyncio.timeout(20), leases(database, replace(QUICK, length=60)) as book, wanting(book, worker) as task:
        await worker.works.wait()
        await usurp(database)
        while worker.cancelled < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        worker.may_end.set()
        await worker.stopped.wait()
        book.asked.clear()
        await book.asked.wait()
        assert not task.done(), "it stands by"
    assert told == ["one begins", "one ends"]


async def test_work_that_never_ends_ends_the_process_and_its_lease_is_not_given_away(database: str) -> None:
    worker = Worker("one", [])
    worker.may_end.clear()
    async with asyncio.timeout(20), proxied(database) as (dsn, proxy), leases(dsn) as book:
        task = asyncio.ensure_future(run_as_leader(book, "test", worker.work))
        await worker.works.wait()
        ends: datetime = await value(database, UNTIL)
        proxy.swallows = True
        await asyncio.wait([task], timeout=10)
        proxy.swallows = False
        worker.may_end.set()
        with pytest.raises(LeadershipLost, match="does not end"):
            await task
        assert await value(database, UNTIL) >= ends
        await worker.stopped.wait()


async def test_a_stop_does_not_wait_for_ever_for_work_that_never_ends(database: str) -> None:
    worker = Worker("one", [])
    worker.may_end.clear()
    async with asyncio.timeout(20), leases(database) as book:
        task = asyncio.ensure_future(run_as_leader(book, "test", worker.work))
        await worker.works.wait()
        task.cancel()
        await asyncio.wait([task], timeout=10)
        worker.may_end.set()
        with pytest.raises(LeadershipLost, match="does not end"):
            await task
        await worker.stopped.wait()


async def test_a_machine_that_slept_stops_before_it_does_anything(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its own clock, before any answer of the database; then it may be the leader anew."""
    worker = Worker("one", [])
    async with asyncio.timeout(20), leases(database, replace(QUICK, length=60)) as book, wanting(book, worker):
        await worker.works.wait()
        lease = worker.lease
        assert lease is not None
        lease.check()
        monkeypatch.setattr(leader, "_clock", lambda: time.clock_gettime(time.CLOCK_BOOTTIME) + 3600)
        with pytest.raises(LeadershipLost):
            lease.check()
        await worker.stopped.wait()
        await worker.works.wait()
        assert worker.lease is not lease


async def test_work_that_finds_its_lease_over_begins_anew_with_the_next(database: str) -> None:
    begun: list[Any] = []

    async def work(lease: Lease) -> None:
        async def part() -> None:
            if len(begun) == 1:
                raise LeadershipLost("found out by itself")

        begun.append(lease.term)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(part())

    async with asyncio.timeout(20), leases(database) as book:
        await run_as_leader(book, "test", work)
    assert begun == [1, 2]


async def test_what_the_work_raises_passes_through(database: str) -> None:
    async def fail(lease: Lease) -> None:
        raise ValueError("a defect")

    async with leases(database) as book:
        with pytest.raises(ValueError, match="a defect"):
            await run_as_leader(book, "test", fail)
        assert await book.take("test", "the next") == 2


async def test_a_defect_of_one_renewal_ends_the_work_and_passes_through(database: str) -> None:
    worker = Worker("one", [])
    async with asyncio.timeout(20), leases(database) as book:
        task = asyncio.ensure_future(run_as_leader(book, "test", worker.work))
        await worker.works.wait()
        await run(
            database,
            "CREATE SEQUENCE public.tries; CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " IF nextval('public.tries') = 1 THEN RAISE EXCEPTION 'a defect'; END IF; RETURN NEW; END $$;"
            "CREATE TRIGGER fail BEFORE UPDATE ON recado.leases FOR EACH ROW EXECUTE FUNCTION public.fail()",
        )
        with pytest.raises(StatementFailed):
            await task
        assert worker.stopped.is_set()


STUBBORN = """
import asyncio, contextlib
from messaging.runtime.process import run_process
from messaging.runtime.leader import run_as_leader
from messaging.store.leases import LeaseStore, LeaseTimes

async def stubborn(lease):
    print("leads", flush=True)
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)

async def work(settings, stop):
    leases = LeaseStore(settings.database_url, LeaseTimes(2.0, 1.0, 0.2, 0.4, 0.05))
    await leases.open()
    await run_as_leader(leases, "test", stubborn)

run_process("stubborn", work)
"""


async def test_a_process_ends_though_what_it_did_as_the_leader_does_not(database: str) -> None:
    environ = {**os.environ, "DATABASE_URL": database, "JWT_SECRET": "x" * 32}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STUBBORN, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        async with asyncio.timeout(60):
            assert process.stdout is not None
            assert await process.stdout.readline() == b"leads\n"
            await usurp(database)
            _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 1
    assert b"Still under way" in errors and b"stubborn" in errors


# --- what other roles can take ---------------------------------------------------------------------


@contextlib.asynccontextmanager
async def holding_every_advisory_lock(dsn: str) -> AsyncIterator[None]:
    """As a role without grants: every lock that Recado has ever used."""
    name = "stranger_" + urlsplit(dsn).path.strip("/")
    await run(dsn, f"CREATE ROLE {name}")
    try:
        async with connected(dsn) as connection:
            await connection.execute(f"SET ROLE {name}")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute("TABLE recado.leases")
            for key in (*range(0x5245_4341_444F, 0x5245_4341_444F + 16), 90455338075983):
                await connection.execute("SELECT pg_advisory_lock($1)", key)
            yield
    finally:
        await run(dsn, f"DROP ROLE {name}")


async def test_a_stranger_who_holds_every_advisory_lock_stops_nothing(database: str) -> None:
    """The turns, the making of users, topics and bridges, the acceptance of news."""
    async with asyncio.timeout(20), desk(database) as node, holding_every_advisory_lock(database):
        topic_id = await node.topic("orders", "ana", "omar")
        await value(database, PUBLISH, "orders", "shop", "1")
        async with taking_in(node):
            await until_empty(database)
        assert await contents(database, topic_id) == [1]
        assert await node.store.pool.value("bridge_register", "%bridge/b", "b", "nats", "%")
        async with PlatformStore(node.store.pool).acceptance() as acceptance:
            assert await acceptance.has_topic(topic_id)
        for turn in ("housekeeping", "bridges"):
            assert await node.store.leases.take(turn, "this node") == 1


def test_no_advisory_lock_is_left() -> None:
    sources = [path for room in ("sql", "messaging", "bridges", "recado") for path in (ROOT / room).rglob("*.*")]
    texts = {path.name: path.read_text() for path in sources if path.suffix in (".sql", ".py")}
    assert [name for name, text in texts.items() if re.search(r"pg_\w*advisory", text)] == []
    assert "leader.py" in texts and "queries.sql" in texts


async def test_a_lease_from_before_the_clock_was_set_back_ends_in_time(database: str) -> None:
    """By the clock that there is now, its holder was given more than there is to be had."""
    async with leases(database) as book:
        mine, other = Lease(book, "test"), Lease(book, "test")
        await mine.take()
        await run(database, "UPDATE recado.leases SET until = until + interval '1 hour' WHERE name = 'test'")
        async with asyncio.timeout(QUICK.length + 10):
            await other.take()
        assert other.term == mine.term + 1


async def test_whose_lease_is_from_before_the_clock_was_set_back_keeps_it(database: str) -> None:
    async with leases(database) as book:
        mine, other = Lease(book, "test"), Lease(book, "test")
        await mine.take()
        await run(database, "UPDATE recado.leases SET until = until + interval '1 hour' WHERE name = 'test'")
        assert await book.take("test", other._holder) is None
        assert await book.take("test", mine._holder) == mine.term
        assert await book.take("test", other._holder) is None
