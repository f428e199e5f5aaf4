"""All bridges of an installation, run by one process at a time: another one stands by."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from bridges.lane import Lane
from bridges.outlet import Outlet
from messaging.errors import Unavailable
from messaging.inlet import Inlet
from messaging.node import Node
from messaging.patterns import like
from messaging.retrying import retrying
from messaging.store_turn import take_turns

log = logging.getLogger(__name__)

MEASURE_EVERY = 10.0  # seconds
_LOCK = 0x5245_4341_444F + 2

BROKERS = ("nats", "rabbitmq")  # the kinds of bridges that the configuration names

Run = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Out:
    """A bridge out, as configured: topics by a pattern, to an outlet."""

    name: str
    kind: str
    topics: str
    outlet: Callable[[], Outlet]


class Bridging:
    """Serves lanes and inlets while it has the turn."""

    def __init__(
        self, node: Node, dsn: str, outs: Iterable[Out], inlets: Iterable[Inlet], runs: Iterable[Run] = ()
    ) -> None:
        """``runs``: what else works in this turn, each until cancelled: platforms."""
        self._node = node
        self._dsn = dsn
        self._outs = list(outs)
        self._inlets = list(inlets)
        self._runs = list(runs)

    async def run(self) -> None:
        """Until cancelled. Any failure that does not pass by itself ends it, and should end the process."""
        await take_turns(self._dsn, _LOCK, self._work)

    async def _work(self) -> None:
        names = [out.name for out in self._outs] + [inlet.name for inlet in self._inlets]
        await self._node.book.disown(BROKERS, names)
        async with asyncio.TaskGroup() as tasks:
            for out in self._outs:
                tasks.create_task(self._serve(out), name=f"bridge {out.name}")
            for inlet in self._inlets:
                tasks.create_task(inlet.run(), name=str(inlet))
            for run in self._runs:
                tasks.create_task(run())
            tasks.create_task(self._measure(), name="bridges' figures")

    async def _serve(self, out: Out) -> None:
        """Until cancelled. What is forgotten while it is configured begins anew, with what comes from then on."""
        while True:
            await self._serve_once(out)
            log.warning("bridge %s was forgotten, but it is configured: it begins anew", out.name)

    async def _serve_once(self, out: Out) -> None:
        user_id = await self._registered(out)
        log.info("bridge %s: topics %s to %s", out.name, out.topics, out.kind)
        outlet = out.outlet()
        try:
            await Lane(user_id, outlet, self._node).run()
        finally:
            await outlet.close()

    async def _registered(self, out: Out) -> int:
        register = partial(self._node.book.register, out.name, out.kind, like(out.topics))
        return await retrying(register, f"bridge {out.name}")

    async def _measure(self) -> None:
        """Lag, oldest age and dead letters of every bridge, from the store; and that bridges count as seen."""
        metrics = self._node.metrics
        while True:
            try:
                await self._node.book.touch()
                for report in await self._node.book.reports():
                    age = (datetime.now(UTC) - report.oldest).total_seconds() if report.oldest else 0.0
                    if report.lag is not None:
                        metrics.bridge_lag.labels(report.name).set(report.lag)
                        metrics.bridge_oldest.labels(report.name).set(max(0.0, age))
                    metrics.bridge_dead.labels(report.name).set(report.dead)
            except Unavailable as exc:
                log.debug("the figures of bridges wait for the database: %s", exc)
            await asyncio.sleep(MEASURE_EVERY)
