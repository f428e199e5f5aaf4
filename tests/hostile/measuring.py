"""One row: before, under and after an attack; what was measured, and whether that is as it should be."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from hostile.bystander import EVERY, Bystander, percentile
from hostile.rig import STOP_SECONDS, Rig, Server

WARM_UP = 2.0  # seconds in which pools fill before the baseline is taken
WORSE = 3.0  # times the worse baseline that p99 may be under the attack
ALWAYS_GOOD = 0.25  # seconds: what p99 may be anyway
AFTER_SILENCE = 10.0  # seconds from a silence on within which receipts come again
MEMORY = 64.0  # MiB beyond the baseline
DESCRIPTORS = 10  # beyond the baseline: a pool of database lines that has grown
WAIT = 60.0  # seconds that what is still unanswered at the end is waited for

Attack = Callable[[], Awaitable[None]]


@dataclass
class Phase:
    """When it was (by the loop's clock), the most memory (MiB) that the servers had in it, and their descriptors."""

    start: float
    end: float
    memory: float
    descriptors: int


@dataclass
class Found:
    """What one row gives. Times are seconds that receipts took: before, under, after."""

    times: list[list[float]] = field(default_factory=list)
    memory: float = math.nan
    checks: list[tuple[bool, str]] = field(default_factory=list)

    def check(self, good: bool, text: str) -> None:
        self.checks.append((bool(good), text))

    @property
    def holds(self) -> bool:
        return bool(self.times) and all(good for good, _ in self.checks)


class Arrivals:
    """How long what was put in somewhere took to come out elsewhere; both in one order."""

    def __init__(self) -> None:
        self._put: list[float] = []
        self._came: list[float] = []

    def put(self) -> None:
        self._put.append(asyncio.get_running_loop().time())

    def come(self, count: int = 1) -> None:
        self._came += [asyncio.get_running_loop().time()] * count

    @property
    def came(self) -> int:
        return len(self._came)

    def worst(self) -> float:
        """Seconds of the slowest; infinite where one has not come, not a number where none was put in."""
        came = self._came + [math.inf] * len(self._put)
        return max((end - start for start, end in zip(self._put, came, strict=False)), default=math.nan)


class Row:
    """One attack under way: what it is done to, who is hurt, and what was found."""

    def __init__(self, rig: Rig, seconds: float) -> None:
        self.rig = rig
        self.found = Found()
        self.silent_since: float | None = None  # by the loop's clock; None: the attack silences nothing
        self.over = 0.0  # when the last phase was, by the loop's clock; then the servers end
        self._seconds = seconds
        self._servers: list[Server] = []  # those that are measured

    @asynccontextmanager
    async def bystander(
        self, server: Server, topic: str = "plaza", *, every: float | None = EVERY
    ) -> AsyncIterator[Bystander]:
        """A member of a topic, connected to ``server``. With ``every`` None it only reads."""
        user = f"reader-of-{topic}" if every is None else f"writer-of-{topic}"
        await self.rig.topic(topic, user)
        found = Bystander(server.url, self.rig.token(user), topic, every)
        running = asyncio.create_task(found.run())
        try:
            async with asyncio.timeout(20):
                await found.ready.wait()
            yield found
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    @asynccontextmanager
    async def arrivals(self, topic: str, before: int) -> AsyncIterator[Arrivals]:
        """What comes into a topic that has ``before`` messages."""
        found = Arrivals()

        async def watch() -> None:
            while True:
                found.come(await self.rig.stored(topic) - before - found.came)
                await asyncio.sleep(0.05)

        watching = asyncio.create_task(watch())
        try:
            yield found
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching

    async def measure(self, attack: Attack, *others: Bystander, least: float = 0.0) -> None:
        """Baseline; the attack, cancelled when its time (``least`` at least) is over; after. Then all servers end.

        ``others``: the bystanders, of whom the first gives the row's figures. What an attack has silenced stays so.
        """
        self._servers = self.rig.servers[:]
        await asyncio.sleep(WARM_UP)
        before = await self._phase(self._seconds)
        under = asyncio.ensure_future(attack())
        during = await self._phase(max(self._seconds, least))
        under.cancel()
        with suppress(asyncio.CancelledError):
            await under
        after = await self._phase(self._seconds)
        self.over = after.end
        for bystander in others:
            bystander.stop()
        async with asyncio.TaskGroup() as tasks:
            for bystander in others:
                tasks.create_task(bystander.settled(WAIT))
        phases = before, during, after
        self.found.times = [others[0].times(each.start, each.end) for each in phases]
        for bystander in others:
            self._judge(bystander, *phases)
        self.found.memory = max(during.memory, after.memory) - before.memory
        self.found.check(self.found.memory <= MEMORY, f"memory {self.found.memory:+.0f} MiB")
        more = self._descriptors() - before.descriptors
        self.found.check(more <= DESCRIPTORS, f"{more:+d} descriptors")
        await self._end()

    async def _phase(self, seconds: float) -> Phase:
        loop = asyncio.get_running_loop()
        start, memory = loop.time(), 0.0
        while (now := loop.time()) < start + seconds:
            memory = max(memory, sum(server.memory() for server in self._servers))
            await asyncio.sleep(min(0.5, start + seconds - now))
        return Phase(start, loop.time(), memory, self._descriptors())

    def _descriptors(self) -> int:
        return sum(server.descriptors() for server in self._servers)

    def _judge(self, bystander: Bystander, before: Phase, during: Phase, after: Phase) -> None:
        usual, later = (percentile(bystander.times(each.start, each.end), 0.99) for each in (before, after))
        limit = max(WORSE * usual, ALWAYS_GOOD)
        start = during.start
        if self.silent_since is not None:
            took = bystander.last_slow(self.silent_since, limit)
            self.found.check(took <= AFTER_SILENCE, f"{bystander.topic}: receipts {took:.1f} s after the silence")
            start = self.silent_since + AFTER_SILENCE
        under = percentile(bystander.times(start, during.end), 0.99)
        most = max(WORSE * max(usual, later), ALWAYS_GOOD)
        self.found.check(not under > most, f"{bystander.topic}: p99 {under * 1000:.0f} ms (at most {most * 1000:.0f})")
        # Else an attack that outlasts itself would make its own yardstick longer.
        self.found.check(later <= limit, f"{bystander.topic}: p99 after it {later * 1000:.0f} ms")
        for what in (f"{bystander.unanswered()} unanswered", f"{len(bystander.lost())} acknowledged and not given",
                     f"{len(bystander.refused)} refused"):  # fmt: skip
            if not what.startswith("0 "):
                self.found.check(False, f"{bystander.topic}: {what}")

    async def _end(self) -> None:
        """SIGTERM to all at once."""
        for server in self._servers:
            if server.has_ended:
                self.found.check(False, f"a process ended by itself: {server.log.strip().splitlines()[-1:]}")
        ended = await asyncio.gather(*(server.end() for server in self._servers))
        if not all(ended):
            self.found.check(False, f"SIGTERM did not end {ended.count(False)} within {STOP_SECONDS:.0f} s")


async def every(seconds: float, work: Callable[[int], Coroutine[None, None, None]]) -> None:
    """Do ``work`` (1), ``work`` (2) … so often, each beside the others, until cancelled."""
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as tasks:
        due, number = loop.time(), 0
        while True:
            number += 1
            tasks.create_task(work(number))
            due += seconds
            await asyncio.sleep(max(0.0, due - loop.time()))
