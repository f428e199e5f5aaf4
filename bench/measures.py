"""What is measured. Each returns plain numbers; what it is compared with runs in the same pass, not at another time."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

from bench import rig
from messaging.log.intake import LOOK_SECONDS

MEMBERS = 1000
SESSIONS = 2000
PUBLISHERS = 50
SIZE = 150  # bytes of content
BURST = 200  # messages
PASSES = 4
SETTLE = 2.0  # seconds
COMMITS = 200
# A topic's name, and whether each publisher adds its number to it.
TARGETS = {"50 topics": ("own", 1), "1 topic, 50 members": ("one", 0), "1 inbox, its owner away": ("@away0", 0)}

Say = Callable[[str], None]
Numbers = dict[str, Any]


async def memory(db: rig.Database, program: Path, say: Say) -> Numbers:
    """Idle sessions: each of a user of its own, in its inbox and one common topic."""
    say(f"memory: {SESSIONS} idle sessions")
    users = await db.users("idle", SESSIONS)
    await db.topic("idle", users)
    async with rig.server(db.dsn) as server:
        await asyncio.sleep(SETTLE)
        base = rig.memory(server.pid)
        async with rig.load(program, server.port, users) as load:
            await asyncio.sleep(SETTLE)
            return {
                "base_mib": base / 1024,
                "kib_per_session": (rig.memory(server.pid) - base) / SESSIONS,
                "handshakes_per_s": SESSIONS / load.took,
            }


async def fan_out(db: rig.Database, program: Path, say: Say) -> tuple[Numbers, Numbers]:
    """One topic, 1000 members, all live: single messages, and bursts; beside each a plain send(2) loop in C."""
    users = await db.users("member", MEMBERS)
    await db.topic("fan-out", users)
    async with rig.server(db.dsn) as server, rig.load(program, server.port, users) as load:
        await asyncio.sleep(SETTLE)
        size = round((await load.do("rounds", "fan-out", SIZE, 20))[3])
        async with (
            rig.raw_server(program, MEMBERS, size) as raw,
            rig.load(program, raw.port, users) as raw_load,
        ):
            singles, bursts = [], []
            for number in range(1, PASSES + 1):
                say(f"fan-out: pass {number} of {PASSES}")
                once = ("rounds", "fan-out", SIZE, 100)
                singles.append((await timed(server, load, *once), await timed(raw, raw_load, *once)))
                many = ("bursts", "fan-out", SIZE, BURST)
                bursts.append((await timed(server, load, *many, 10), await timed(raw, raw_load, *many, 1)))
    return beside(singles, size), beside(bursts, size)


async def timed(server: rig.Server, load: rig.Load, *command: object) -> Numbers:
    """One pass, and what it cost the server."""
    used, start = rig.cpu_seconds([server.pid]), time.perf_counter()
    p50, p99, rate, _, load_cores = await load.do(*command)
    cores = (rig.cpu_seconds([server.pid]) - used) / (time.perf_counter() - start)
    return {
        "p50_ms": p50,
        "p99_ms": p99,
        "deliveries_per_s": rate,
        "cpu_us_per_delivery": cores / rate * 1e6,
        "load_cores": load_cores,
    }


def beside(pairs: list[tuple[Numbers, Numbers]], size: int) -> Numbers:
    """Medians over the passes, and the median of each pass' own ratio."""
    ours, raw = (merged(list(side)) for side in zip(*pairs, strict=True))
    ratio = median(mine["deliveries_per_s"] / theirs["deliveries_per_s"] for mine, theirs in pairs)
    return {"recado": ours, "raw": raw, "ratio_to_raw": ratio, "frame_bytes": size}


def merged(passes: list[Numbers]) -> Numbers:
    return {name: median(numbers[name] for numbers in passes) for name in passes[0]}


class RawInserts:
    """What publishes are compared with: one INSERT a transaction, over one connection, into the same kind of table."""

    def __init__(self, db: rig.Database) -> None:
        self._sql = db.sql
        self._seq = 0

    async def open(self) -> None:
        await self._sql.execute("CREATE TABLE IF NOT EXISTS public.raw (LIKE recado.messages INCLUDING ALL)")
        await self._sql.execute("TRUNCATE public.raw")

    async def rate(self, seconds: float) -> float:
        insert = await self._sql.prepare("INSERT INTO public.raw VALUES (1, $1, 'bench', $2, now(), NULL)")
        content = '"' + "x" * SIZE + '"'
        start, before = time.perf_counter(), self._seq
        while time.perf_counter() - start < seconds:
            self._seq += 1
            await insert.fetch(self._seq, content)
        return (self._seq - before) / (time.perf_counter() - start)


@asynccontextmanager
async def publishing(db: rig.Database, program: Path) -> AsyncIterator[tuple[rig.Server, rig.Load]]:
    """A server, and clients that are members of a topic of their own each, and of one together; one user is away."""
    users = await db.users("publisher", PUBLISHERS)
    await db.users("away", 1)
    await db.topic("one", users)
    for number, user in enumerate(users):
        await db.topic(f"own{number}", [user])
    async with rig.server(db.dsn) as server, rig.load(program, server.port, users) as load:
        await asyncio.sleep(SETTLE)
        yield server, load


async def publish(db: rig.Database, program: Path, say: Say) -> tuple[Numbers, list[Numbers]]:
    """Publishes with an id, each answered after its COMMIT: one alone; then 50 connections, 1 to 32 in flight each."""
    inserts = RawInserts(db)
    await inserts.open()
    cases = [(text, target, depth) for text, target in TARGETS.items() for depth in (1, 8, 32)]
    passes: list[list[Numbers]] = [[] for _ in cases]
    async with publishing(db, program) as (server, load):
        say("latency of a single publish")
        rate, p50, p99, _ = await load.do("publish", "own", 1, 1, SIZE, 1, 3.0)
        for number in (1, 2, 3):
            for (text, target, depth), results in zip(cases, passes, strict=True):
                say(f"publish: {text}, {depth} in flight each, pass {number} of 3")
                command = ("publish", *target, PUBLISHERS, SIZE, depth, 1.0)
                results.append(await one_publish(db, server, load, command, inserts))
    rows = [
        {"to": text, "in_flight": depth} | merged(results)
        for (text, _, depth), results in zip(cases, passes, strict=True)
    ]
    return {"p50_ms": p50, "p99_ms": p99, "per_s": rate}, rows


async def sql_commit(db: rig.Database, say: Say) -> Numbers:
    """An application's COMMIT, from its being sent until a member on a WebSocket has the message."""
    say("a commit in SQL")
    [user] = await db.users("watcher", 1)
    await db.topic("sql", [user])
    times = []
    async with rig.server(db.dsn) as server, rig.member(server.port, user) as member:
        for number in range(COMMITS):
            # Or each would fall on the same place between two looks.
            await asyncio.sleep(random.uniform(0, 2 * LOOK_SECONDS))
            transaction = db.sql.transaction()
            await transaction.start()
            await db.sql.execute("SELECT recado.publish('sql', 'bench', to_jsonb($1::int))", number)
            start = time.perf_counter()
            await transaction.commit()
            await anext(member)
            times.append((time.perf_counter() - start) * 1000)
    times.sort()
    return {"p50_ms": median(times), "p99_ms": times[COMMITS * 99 // 100]}


async def one_publish(
    db: rig.Database, server: rig.Server, load: rig.Load, command: tuple[object, ...], inserts: RawInserts
) -> Numbers:
    raw = await inserts.rate(0.5)
    database = await db.processes()
    used, start = (rig.cpu_seconds([server.pid]), rig.cpu_seconds(database)), time.perf_counter()
    rate, p50, p99, load_cores = await load.do(*command)
    done = rate * (time.perf_counter() - start)
    return {
        "per_s": rate,
        "p50_ms": p50,
        "p99_ms": p99,
        "raw_inserts_per_s": raw,
        "ratio_to_raw": rate / raw,
        "server_us_per_message": (rig.cpu_seconds([server.pid]) - used[0]) / done * 1e6,
        "database_us_per_message": (rig.cpu_seconds(database) - used[1]) / done * 1e6,
        "load_cores": load_cores,
    }
