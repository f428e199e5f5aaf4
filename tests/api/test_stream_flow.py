"""How a stream goes on, at its reader's pace, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from listener import NEWS, Event, contents, listening, news, publish, topic_id

from api.app import make_app
from api.routes import stream
from api.serving import serve
from messaging.node import Node
from support.doors import Door, Opener
from support.places import free_port

NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def test_silence_is_filled_with_comments(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT", 0.05)
    await news(door)
    async with listening(door) as listener:
        for _ in range(3):
            await listener.response.content.readuntil(b": still here\n\n")


async def test_a_server_that_ends_says_so_and_does_not_wait(door: Door, database: str) -> None:
    """`cleanup()` waits for requests under way: these end at once, and ask to come back."""
    async with asyncio.timeout(20), stoppable(door, database) as (door, stop):
        await news(door)
        async with listening(door) as listener, listening(door) as other:
            await publish(door, 1)
            assert contents(await listener.events(1)) == contents(await other.events(1)) == [1]
            async with asyncio.timeout(2):
                await stop()
            for each in (listener, other):
                closing = await each.event()
                assert (closing.name, closing.data["code"], closing.data["reconnect"]) == ("closing", 4012, True)
                await each.end()


@asynccontextmanager
async def stoppable(beside: Door, dsn: str) -> AsyncIterator[tuple[Door, Any]]:
    """A door that the test stops itself; what it publishes is stored by the other one's node, on the same bus."""
    port, node = free_port(), Node(beside.settings, dsn, beside.node.bus)
    await node.open()
    runner = await serve(make_app(node, beside.tokens, beside.settings), node, "127.0.0.1", port)
    node.actions = beside.node.actions
    try:
        yield replace(beside, url=f"http://127.0.0.1:{port}", node=node), runner.cleanup
    finally:
        await runner.cleanup()
        await node.close()


async def test_who_does_not_read_is_given_up_and_holds_up_nobody(open_door: Opener) -> None:
    door = await open_door(bounds={"stalled_after": 0.2})
    await news(door)
    items = [{"topic_name": "news", "content": "x" * 60_000} for _ in range(15)]
    port = int(door.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    writer.write(f"GET {NEWS}/stream?after=0 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    await reader.readuntil(b":0\n\n")
    async with listening(door, "?after=0") as listener:
        for _ in range(12):  # more than the kernel takes for who does not read
            await door.ask("POST", "/api/v1/messages/batch", json=items)
            await listener.events(15)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            while True:
                async with asyncio.timeout(10):
                    await asyncio.sleep(0.5)
                    await reader.readexactly(1024 * 1024)
    writer.close()


async def test_a_slow_reader_gets_everything(door: Door) -> None:
    await news(door)
    items = [{"topic_name": "news", "content": [number, "x" * 30_000]} for number in range(30)]
    for _ in range(4):
        await door.ask("POST", "/api/v1/messages/batch", json=items)
    async with listening(door, "?after=0") as listener:
        seqs = []
        for number in range(120):
            seqs.append((await listener.event()).data["seq"])
            await asyncio.sleep(0 if number % 10 else 0.02)
    assert seqs == list(range(1, 121))


async def test_who_left_makes_room(open_door: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT", 0.05)
    door = await open_door(max_connections_per_user=1)
    await news(door)
    ana = await door.token("ana")
    async with listening(door, token=ana) as listener:
        listener.response.close()
    async with asyncio.timeout(10):
        status = 0
        while status != 200:
            async with door.send("GET", f"{NEWS}/stream", token=ana) as response:
                status = response.status
                await asyncio.sleep(0.02)


async def test_a_head_request_has_no_stream(door: Door) -> None:
    await news(door)
    async with door.send("HEAD", f"{NEWS}/stream") as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
        assert await response.read() == b""


async def test_readers_at_one_place_share_their_reads(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    await news(door)
    reads = 0
    page = type(door.node.store).page

    async def counted(*args: Any) -> Any:
        nonlocal reads
        reads += 1
        return await page(*args)

    async with asyncio.timeout(20):
        tasks = [asyncio.create_task(first_event(door)) for _ in range(20)]
        while len(door.node.notifier._listeners.get(await topic_id(door), ())) < 20:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        monkeypatch.setattr(type(door.node.store), "page", counted)
        await publish(door, 1)
        found = await asyncio.gather(*tasks)
    assert [event.data["seq"] for event in found] == [1] * 20
    assert reads < 15


async def first_event(door: Door) -> Event:
    async with listening(door) as listener:
        return await listener.event()
