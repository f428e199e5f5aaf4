"""All bridges of an installation, run by one process at a time, the leader; the others stand by.

What a leader writes late changes nothing: reports, pauses and dead letters name its term, cursors only rise, what an
inlet appends has a key. A bridge is registered as it is configured, which is the same for all.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from bridges.lane import Lane
from bridges.outlet import Outlet
from bridges.webhooks.platforms import PlatformLanes
from messaging.bridge.inlet import Inlet
from messaging.errors import Unavailable
from messaging.node import Node
from messaging.patterns import like
from messaging.retrying import retrying
from messaging.runtime.leader import Lease, run_as_leader

log = logging.getLogger(__name__)

MEASURE_EVERY = 10.0  # seconds
LEASE = "bridges"

BROKERS = ("nats", "rabbitmq")  # the kinds of bridges that the configuration names


@dataclass(frozen=True, slots=True)
class Out:
    """A bridge out, as configured: topics by a pattern, to an outlet."""

    name: str
    kind: str
    topics: str
    outlet: Callable[[], Outlet]


class Bridging:
    """Serves lanes and inlets while it is the leader."""

    def __init__(
        self, node: Node, outs: Iterable[Out], inlets: Iterable[Inlet], platforms: PlatformLanes | None = None
    ) -> None:
        self._node = node
        self._outs = list(outs)
        self._inlets = list(inlets)
        self._platforms = platforms

    async def run(self) -> None:
        """Until cancelled. Any failure that does not pass by itself ends it, and should end the process."""
        await run_as_leader(self._node.store.leases, LEASE, self._work)

    async def _work(self, lease: Lease) -> None:
        names = [out.name for out in self._outs] + [inlet.name for inlet in self._inlets]
        await self._node.bridge_store.disown(BROKERS, names)
        async with asyncio.TaskGroup() as tasks:
            for out in self._outs:
                tasks.create_task(self._serve(out, lease), name=f"bridge {out.name}")
            for inlet in self._inlets:
                tasks.create_task(inlet.run(lease), name=str(inlet))
            if self._platforms is not None:
                tasks.create_task(self._platforms.run(lease), name="platforms")
            tasks.create_task(self._measure(), name="bridges' figures")

    async def _serve(self, out: Out, lease: Lease) -> None:
        """Until cancelled. What is forgotten while it is configured begins anew, with what comes from then on."""
        while True:
            await self._serve_once(out, lease)
            log.warning("bridge %s was forgotten, but it is configured: it begins anew", out.name)

    async def _serve_once(self, out: Out, lease: Lease) -> None:
        register = partial(self._node.bridge_store.register, out.name, out.kind, like(out.topics))
        user_id = await retrying(register, f"bridge {out.name}")
        log.info("bridge %s: topics %s to %s", out.name, out.topics, out.kind)
        outlet = out.outlet()
        try:
            await Lane(user_id, outlet, self._node, lease=lease).run()
        finally:
            await outlet.close()

    async def _measure(self) -> None:
        """Lag, oldest age and dead letters of every bridge, from the store; and that bridges count as seen."""
        metrics = self._node.metrics
        while True:
            try:
                await self._node.bridge_store.touch()
                for report in await self._node.bridge_store.reports():
                    age = (datetime.now(UTC) - report.oldest).total_seconds() if report.oldest else 0.0
                    if report.lag is not None:
                        metrics.bridge_lag.labels(report.name).set(report.lag)
                        metrics.bridge_oldest.labels(report.name).set(max(0.0, age))
                    metrics.bridge_dead.labels(report.name).set(report.dead)
            except Unavailable as exc:
                log.debug("the figures of bridges wait for the database: %s", exc)
            await asyncio.sleep(MEASURE_EVERY)
