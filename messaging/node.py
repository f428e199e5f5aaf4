"""One process's share of the domain, put together: the store, the appender, the confirmations, what may be done.

Every composition root (the doors' own, and the one command's) opens `running_node` and hands its parts to the doors.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from messaging.actions import Actions
from messaging.auth.tickets import Tickets
from messaging.bus.contract import Bus
from messaging.bus.seal import Seal
from messaging.integrator.accepting import Integrator
from messaging.integrator.pulling import Pulling
from messaging.integrator.registry import Registry
from messaging.integrator.store import PlatformStore
from messaging.limits.connections import Connections
from messaging.limits.descriptors import descriptors_for_peers
from messaging.limits.limits import Limits
from messaging.limits.under_way import UnderWay
from messaging.log.appender import Appender
from messaging.log.housekeeping import Housekeeping
from messaging.log.intake import Intake
from messaging.observability.metrics import Metrics
from messaging.readers.cursors import Cursors
from messaging.readers.notifier import Notifier
from messaging.readers.pending import Pending
from messaging.replay import BridgeOperations
from messaging.runtime.nodes import Nodes
from messaging.settings.settings import Settings
from messaging.store.bridges import BridgeStore
from messaging.store.intake import IntakeStore
from messaging.store.migrations import migrate
from messaging.store.store import Store


class Node:
    """The domain of one process: `running_node` is its life. `open`, then `run`, then `settle` and `close`."""

    def __init__(self, settings: Settings, dsn: str, bus: Bus) -> None:
        self._settings = settings
        self._dsn = dsn
        self.name = secrets.token_hex(16)  # new at each start: no two processes ever had the same
        self.bus = bus
        self.metrics = Metrics()
        reached = self.metrics.reached
        self.connections = Connections(
            settings.max_connections_per_address, descriptors_for_peers(), settings.trusted_proxies, reached
        )
        self.under_way = UnderWay(settings.max_connections_per_user, reached)
        self.store = Store(dsn)
        self.nodes = Nodes(self.store.pool, self.name, clock=self.store.clock)
        self.metrics.clock_offset.set_function(lambda: self.store.clock.seconds)
        self._writers = self.store.log_writer(self.name), self.store.log_writer(self.name)
        self.appender = Appender(*self._writers, bus.tell, self.metrics)
        self._housekeeping = Housekeeping(self.store, settings)
        self._intake = Intake(IntakeStore(self.store.pool), self.store.leases, settings, bus.tell, self.metrics)
        self.cursors = Cursors(self.store, self._housekeeping.seen)
        self.store.epochs.attach(self.cursors.forget)
        self.actions = Actions(self.store, self.appender, bus, settings, Limits(settings, self.metrics))
        self.tickets = Tickets(self.store)
        self.pending = Pending(self.store, self.cursors)
        self.bridge_store = BridgeStore(self.store.pool)
        self.bridges = BridgeOperations(self.bridge_store, self.store, self.appender, self.actions, bus, settings)
        self.platforms = PlatformStore(self.store.pool)
        self.registry = Registry(self.platforms, self.bridge_store, bus)
        self.integrator = Integrator(self.platforms, bus)
        self.notifier = Notifier(bus, self.store)
        self.pulling = Pulling(self.store, self.cursors, self.notifier, self.under_way)
        self.tasks = asyncio.TaskGroup()  # of all that is at work here, the doors' work too: `works`
        self.works: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Bring the database up to date and connect.

        Raises:
            SettingsError, Unavailable, MigrationError, NotDurable: each says what to do.
        """
        await migrate(self._dsn, unsafe=self._settings.unsafe_durability)
        await self.store.open()
        await self.tickets.open()
        await self._open_bus()
        if self._settings.platforms_file is not None:
            await self.registry.load(self._settings.platforms_file)

    async def _open_bus(self) -> None:
        secret = await self.store.shared_value("bus_secret", secrets.token_hex(32))
        self.bus.open(Seal(self.name, bytes.fromhex(secret)), self.nodes.look, self.metrics.bus_refused.inc)
        self.nodes.attach(self.bus.know)
        await self.nodes.renew()

    async def run(self, *, keeps_house: bool) -> None:
        """Work until cancelled. Any failure that does not pass by itself ends it, and should end the process."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.appender.run(), name="appender")
            tasks.create_task(self.cursors.run(), name="cursors")
            tasks.create_task(self.store.epochs.run(), name="epochs")
            tasks.create_task(self.nodes.run(), name="nodes")
            tasks.create_task(self.bus.run(), name="bus")
            tasks.create_task(self.notifier.run(), name="notifier")
            if keeps_house:
                tasks.create_task(self._housekeeping.run(), name="housekeeping")
                tasks.create_task(self._intake.run(), name="intake")

    async def settle(self) -> bool:
        """Wait until nothing is in flight and every confirmation is stored; False if a third of a stop did not do."""
        try:
            async with asyncio.timeout(self._settings.stop_seconds / 3):
                await self.appender.drain()
                await self.cursors.settle()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        for writer in self._writers:
            await writer.close()
        await self.nodes.leave()
        await self.store.close()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A door's work beside the node's own: until all is settled, and where it fails, everything ends."""
        task = self.tasks.create_task(work)
        self.works.append(task)
        return task


@asynccontextmanager
async def running_node(
    settings: Settings, dsn: str, bus: Bus, *, keeps_house: bool, settled: Callable[[bool], None] = lambda _: None
) -> AsyncIterator[Node]:
    """A node at work, for a block that serves and, at its end, drains its doors: nothing comes in any more.

    Then what is in flight is stored, and ``settled`` told whether all of it was; then all work that was started is
    cancelled, the doors' too; then the lines to the database are closed. Where the block fails, or the node does, or a
    door, nothing is waited for.

    Raises:
        SettingsError, Unavailable, MigrationError, NotDurable: the start failed.
    """
    node = Node(settings, dsn, bus)
    try:
        await node.open()
        async with node.tasks:
            node.start(node.run(keeps_house=keeps_house))
            yield node
            settled(await node.settle())
            for work in node.works:
                work.cancel()
    finally:
        await node.close()
