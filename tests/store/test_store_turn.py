"""A turn: one at a time, and only as long as the line to the database lives."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg
import pytest

from messaging import store_turn
from messaging.store_turn import take_turns

LOCK = 4711


class Worker:
    """Somebody who wants the turn."""

    def __init__(self) -> None:
        self.works = asyncio.Event()
        self.stopped = asyncio.Event()

    async def work(self) -> None:
        self.stopped.clear()
        self.works.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.works.clear()
            self.stopped.set()


@contextlib.asynccontextmanager
async def wanting(dsn: str, worker: Worker) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.ensure_future(take_turns(dsn, LOCK, worker.work))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_turn, "ASK_EVERY", 0.02)
    monkeypatch.setattr(store_turn, "CHECK_EVERY", 0.02)


async def test_one_at_a_time_and_the_next_when_the_first_has_gone(database: str) -> None:
    first, second = Worker(), Worker()
    async with asyncio.timeout(20), wanting(database, second) as waiting:
        await second.works.wait()
        async with wanting(database, first):
            waiting.cancel()
            await first.works.wait()
            assert second.stopped.is_set()


async def test_a_broken_line_ends_the_work_and_it_begins_again(database: str) -> None:
    worker = Worker()
    async with asyncio.timeout(20), wanting(database, worker):
        await worker.works.wait()
        other = await asyncpg.connect(database)
        await other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = $1", LOCK
        )
        await worker.stopped.wait()
        await worker.works.wait()
        await other.close()


async def test_what_the_work_raises_passes_through(database: str) -> None:
    async def fail() -> None:
        raise ValueError("a defect")

    with pytest.raises(ValueError, match="a defect"):
        await take_turns(database, LOCK, fail)
