"""The lanes of all platforms, and the imports of their users. Platforms come, change and go while this runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, assert_never

from bridges.lane import Lane
from bridges.outlet import OutgoingMessage, Outlet, Undeliverable
from bridges.webhooks.client import PlatformHttpClient
from bridges.webhooks.importing import Importer
from bridges.webhooks.outlet import WebhookOutlet
from messaging.bridge.schedule import Pace, Schedule
from messaging.errors import RecadoError, Unavailable
from messaging.integrator.events import Platform, Style
from messaging.node import Node
from messaging.retrying import retrying
from messaging.runtime.leader import Lease
from messaging.settings.settings import Settings

log = logging.getLogger(__name__)

LOOK_EVERY = 2.0  # seconds in which a new platform is noticed
PER_SECOND = 50.0  # pushes to one platform: one that comes back is not thrown over again
KEEP_FOR = 7 * 86400.0  # seconds; what could not be pushed by then is a dead letter

Task = Literal["pushes", "import", "rooms"]
_TASKS: dict[Style, frozenset[Task]] = {
    "paths": frozenset({"pushes", "import"}),
    "webhook": frozenset({"pushes"}),
    "own": frozenset({"rooms"}),
    "pull": frozenset(),  # it asks by itself
}


@dataclass(frozen=True, slots=True, order=True)
class Job:
    """One thing that is done for one platform, until it is forgotten or wants it otherwise."""

    platform_id: int
    task: Task


def jobs_for(platforms: Iterable[Platform]) -> set[Job]:
    """What is to be done for these platforms. Pure."""
    return {Job(platform.id, task) for platform in platforms for task in _TASKS[platform.style]}


class RoomsOutlet:
    """Takes what Recado's own users write into rooms to the platforms of those rooms: into their inboxes."""

    def __init__(self, node: Node) -> None:
        self._store = node.store
        self._integrator = node.integrator

    async def send(self, outgoing: OutgoingMessage) -> None:
        """Raises Undeliverable; Unavailable where our own database is away."""
        view = await self._store.topic_view(outgoing.topic, None)
        if view is None:
            return  # deleted since: with it went who would have heard of it
        try:
            await self._integrator.take_own(view.topic.id, outgoing.message)
        except RecadoError as exc:
            if exc.retryable:
                raise
            raise Undeliverable(str(exc)) from exc

    async def close(self) -> None:
        return


class PlatformLanes:
    """Does what there is to do for every platform there is."""

    def __init__(
        self, node: Node, settings: Settings, *, schedule: Schedule | None = None,
        client: Callable[[], PlatformHttpClient] | None = None, look_every: float = LOOK_EVERY,
    ) -> None:  # fmt: skip
        """``client``: makes what asks one platform."""
        self._node = node
        self._schedule = schedule
        self._client = client or (lambda: PlatformHttpClient(settings.integrator_allow_nets))
        self._look_every = look_every
        self._running: dict[Job, asyncio.Task[None]] = {}
        self._lease: Lease | None = None

    async def run(self, lease: Lease | None = None) -> None:
        """Until cancelled. A failure that does not pass by itself, of any platform's lane, ends all of it."""
        self._lease = lease
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    await self._look(tasks)
                    await asyncio.sleep(self._look_every)
        finally:
            self._running.clear()

    async def _look(self, tasks: asyncio.TaskGroup) -> None:
        """Begin what is new, end what is no more. Without the database all stays as it is."""
        try:
            wanted = jobs_for(await self._node.platforms.platforms())
        except Unavailable as exc:
            log.warning("platforms are looked for later: %s", exc)
            return
        self._running = {job: task for job, task in self._running.items() if not task.done()}
        for job, task in self._running.items():
            if job not in wanted and not task.cancelling():
                task.cancel()
        for job in sorted(wanted - self._running.keys()):
            self._running[job] = tasks.create_task(self._do(job), name=f"platform {job.platform_id}: {job.task}")

    async def _do(self, job: Job) -> None:
        match job.task:
            case "import":
                await self._import(job.platform_id)
            case "rooms":
                await self._serve(job.platform_id, RoomsOutlet(self._node), Pace())
            case "pushes":
                outlet = WebhookOutlet(job.platform_id, self._node.platforms, self._client())
                await self._serve(job.platform_id, outlet, Pace(PER_SECOND))
            case _:
                assert_never(job.task)

    async def _serve(self, platform_id: int, outlet: Outlet, pace: Pace) -> None:
        lane = Lane(
            platform_id, outlet, self._node, schedule=self._schedule, pace=pace, keep_for=KEEP_FOR, lease=self._lease
        )
        try:
            await lane.run()
        finally:
            await outlet.close()

    async def _import(self, platform_id: int) -> None:
        client = self._client()
        importer = Importer(platform_id, self._node.platforms, self._node.integrator, client)
        try:
            await retrying(importer.run, "an import")
        finally:
            await client.close()
