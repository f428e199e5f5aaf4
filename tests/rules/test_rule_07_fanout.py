"""Rule 7: the fan-out loop never awaits; one check and one write per recipient, no task and no queue."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any
from unittest.mock import Mock

import pytest

import ws_server.feeds.hub
from support.members import Publisher
from support.raw_members import RawClient
from support.waiting import until
from support.ws import Running, running
from ws_server.protocol import entry_frames

MANY = 300


@pytest.fixture
async def crowd(database: str) -> Any:
    async with running(database, max_connections_per_user=MANY + 1) as recado, AsyncExitStack() as stack:
        await recado.topic("noticias", "omar", "diego", "ana")
        await asyncio.sleep(0)
        tasks = asyncio.all_tasks()
        urls = [f"{recado.url}/{recado.token('diego')}"] * (MANY - 1)
        crowd = [await stack.enter_async_context(await RawClient.connect(url)) for url in urls[: MANY // 2]]
        # The one that stalls is served in the midst of the others.
        stalled = await stack.enter_async_context(await RawClient.connect(f"{recado.url}/{recado.token('ana')}", 8192))
        await stalled.next("connected")
        crowd += [await stack.enter_async_context(await RawClient.connect(url)) for url in urls[MANY // 2 :]]
        for link in crowd:
            await link.next("connected")
        yield recado, crowd, stalled, tasks


def writes(recado: Running) -> tuple[float, float]:
    """Messages delivered to live sessions, and in how many writes."""
    value = recado.node.metrics.registry.get_sample_value
    return value("recado_deliveries_total") or 0.0, value("recado_delivery_writes_total") or 0.0


async def test_one_that_stalls_holds_up_nobody(crowd: Any) -> None:
    recado, others, stalled, _ = crowd
    press = Publisher(recado)
    fell_behind = recado.node.metrics.fell_behind
    last = 0
    while not fell_behind._value.get():  # until the sockets of the one are full, and its buffer
        last = await press.publish("noticias", ["y" * 4000] * 10)
        await asyncio.gather(*(reach(link, last) for link in others))
    before = writes(recado)
    mark = await press.publish("noticias", ["mark"])
    assert writes(recado)[0] - before[0] == len(others)  # written to everybody before the publisher could go on
    async with asyncio.timeout(5):
        await asyncio.gather(*(reach(link, mark) for link in others))
    session = next(session for session in recado.door.hub.sessions() if session.user.name == "ana")
    assert session.behind and not session.closing
    await reach(stalled, mark)  # and once it reads, it gets everything, too


async def reach(link: RawClient, last: int) -> None:
    """Read on, by +1, until the seq is there."""
    async with asyncio.timeout(20):
        await read_on(link, last)


async def read_on(link: RawClient, last: int) -> None:
    at = getattr(link, "at", 0)
    while at < last:
        await link.read()
        assert not link.ended
        for frame in link.frames:
            if frame["action"] == "message":
                assert frame["seq"] == at + 1
                at += 1
        link.frames.clear()
    link.at = at  # type: ignore[attr-defined]


async def test_no_task_per_session_but_the_library_s(crowd: Any) -> None:
    recado, others, stalled, before = crowd
    await Publisher(recado).publish("noticias", range(50))
    await asyncio.gather(*(reach(link, 50) for link in (*others, stalled)))

    def new() -> list[Any]:
        return [task for task in asyncio.all_tasks() - before - {asyncio.current_task()} if not task.done()]

    await until(lambda: len(new()) <= MANY)  # what was under way for a moment is over
    assert len(new()) == MANY
    assert all("websockets" in task.get_coro().cr_code.co_filename for task in new())


async def test_a_batch_is_one_write_per_recipient(crowd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    recado, others, stalled, _ = crowd
    encoding = Mock(wraps=entry_frames)
    monkeypatch.setattr(ws_server.feeds.hub, "entry_frames", encoding)
    before = writes(recado)
    tasks = asyncio.all_tasks()
    await Publisher(recado).publish("noticias", range(100))  # one batch: all are handed over in one step
    delivered = writes(recado)
    assert delivered[0] - before[0] == 100 * MANY
    assert delivered[1] - before[1] == MANY
    assert encoding.call_count == 1  # the frames of a message are made once, however many get it
    assert not [task for task in asyncio.all_tasks() - tasks if task is not asyncio.current_task()]
    await asyncio.gather(*(reach(link, 100) for link in (*others, stalled)))


async def test_delivering_is_one_synchronous_step(crowd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the first and the last recipient nothing else runs: everybody is at the same seq, always."""
    recado, others, stalled, _ = crowd
    turns: list[int] = []
    loop = asyncio.get_running_loop()
    deliver = ws_server.feeds.hub.Hub.deliver
    count = 0

    def other_work() -> None:
        nonlocal count
        count += 1
        if not done:
            loop.call_soon(other_work)

    def delivering(*args: Any) -> Any:
        start = count
        result = deliver(*args)
        assert result is None  # no coroutine, nothing to wait for
        turns.append(count - start)
        return result

    done: list[bool] = []
    monkeypatch.setattr(ws_server.feeds.hub.Hub, "deliver", delivering)
    loop.call_soon(other_work)
    await Publisher(recado).publish("noticias", range(20))
    done.append(True)
    assert turns and not any(turns)
    await asyncio.gather(*(reach(link, 20) for link in (*others, stalled)))
