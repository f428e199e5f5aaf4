"""What docs/operations.md tells an operator to do, done: its SQL, and the metrics that it lists."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import asyncpg
from page_blocks import block
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from api.observing import observing
from conftest import ROOT
from messaging.observability.metrics import Metrics
from support.log import run
from support.ws import receive, running, send

TEXT = (ROOT / "docs" / "operations.md").read_text()


def names(metrics: Iterable[Metric]) -> set[str]:
    return {metric.name + ("_total" if metric.type == "counter" else "") for metric in metrics}


def test_every_metric_is_listed() -> None:
    registry = CollectorRegistry()
    observing(registry)
    rows = [line.split("|")[1] for line in TEXT.splitlines() if line.startswith("| `recado_")]
    listed = set(re.findall(r"`(recado_\w+)", " ".join(rows)))
    assert names(Metrics().registry.collect()) | names(registry.collect()) == listed


async def test_a_partitioned_log_serves_as_before(database: str) -> None:
    async with running(database) as door:
        await door.topic("t", "ana", "bob")
        async with door.client("ana") as ana:
            await send(ana, action="message", topic_name="t", content=1, id="one")
            assert (await receive(ana, "message"))["seq"] == 1
    await run(database, block("operations.md", "PARTITION BY HASH"))
    async with running(database) as door, door.client("bob") as bob, door.client("ana") as ana:
        assert (await receive(bob, "message"))["content"] == 1
        await send(ana, action="message", topic_name="t", content=1, id="one", ref="again")
        while (answer := await receive(ana, "message")).get("ref") != "again":
            pass
        assert answer["seq"] == 1, "keys were kept"
        await send(ana, action="message", topic_name="t", content=2, id="two")
        assert (await receive(bob, "message"))["seq"] == 2
        await send(bob, action="unsubscribe", topic_name="t")
        await receive(bob, "unsubscribe")
        await send(bob, action="subscribe", topic_name="t")
        assert (await receive(bob, "subscribe"))["result"] == "ok"


async def test_raised_heads_are_told_as_one_gap(database: str) -> None:
    async with running(database) as door:
        await door.topic("t", "ana", "bob")
        async with door.client("ana") as ana:
            await send(ana, action="message", topic_name="t", content=1, id="one")
            await receive(ana, "message")
    await run(database, block("operations.md", "UPDATE recado.heads"))
    async with running(database) as door, door.client("bob") as bob, door.client("ana") as ana:
        await send(ana, action="message", topic_name="t", content=2, id="two")
        frames: list[Any] = []
        while not frames or frames[-1].get("content") != 2:
            frame = await receive(bob)
            if frame.get("topic_name") == "t":
                frames.append(frame)
        assert [frame["action"] for frame in frames] == ["message", "gap", "message"]
        assert (frames[1]["from"], frames[1]["to"], frames[2]["seq"]) == (2, 1_000_001, 1_000_002)


async def test_the_other_statements_are_right(database: str) -> None:
    async with running(database) as door:
        await door.topic("t", "ana", "bob")
        async with door.client("bob"), door.client("ana") as ana:
            await receive(ana, "connected")
    connection = await asyncpg.connect(database)
    try:
        await connection.execute(block("operations.md", "autovacuum_vacuum_scale_factor"))
        await connection.execute(
            "UPDATE recado.heads SET last_seq = 5 FROM recado.topics WHERE id = topic_id AND name = 't'"
        )
        rows = await connection.fetch(block("operations.md", "pending DESC"))
        assert {(row["topic"], row["member"], row["pending"]) for row in rows[:2]} == {("t", "ana", 5), ("t", "bob", 5)}
    finally:
        await connection.close()
