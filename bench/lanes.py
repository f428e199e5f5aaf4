"""A lane to NATS in the benchmark's own process, and what it is compared with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import nats
from nats.aio.client import Client
from nats.js.api import StreamConfig

from bench import rig
from bridges.config import NatsOut
from bridges.lane import Lane
from bridges.nats.outlet import NatsOutlet
from messaging.bus.contract import LocalBus
from messaging.errors import RecadoError
from messaging.log.content import check_content
from messaging.node import Node, running_node
from messaging.permissions import BACKEND
from messaging.replay import PublishOutcome
from messaging.settings.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Hand:
    """A bridge, and a client that publishes to the same server without one.

    ``kind``: "core" or "stream", which is also what the subject's first word is.
    """

    url: str
    kind: str
    node: Node
    client: Client
    bridge: int

    @property
    def subject(self) -> str:
        return f"{self.kind}.bench"

    async def fill(self, count: int, content: str) -> None:
        """Put so many before the bridge."""
        aim = await self.node.actions.aim(BACKEND, self.subject)
        checked = check_content(content.encode(), Settings())
        origins = [PublishOutcome() for _ in range(count)]
        for origin in origins:
            self.node.actions.publish(aim, "bench", checked, None, None, origin, None)
        for origin in origins:
            if isinstance(outcome := await origin.outcome, RecadoError):
                raise outcome

    async def catch_up(self, count: int, content: str) -> None:
        """Until the bridge's cursor is behind all of it."""

        async def origin() -> str:
            return "bench"

        outlet = NatsOutlet(NatsOut("bench", "*"), [self.url], origin, lambda subject: False, lambda: None)
        lane = asyncio.create_task(Lane(self.bridge, outlet, self.node).run())
        try:
            while (await self.node.bridge_store.reports(f"bench-{self.kind}"))[0].lag:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        finally:
            lane.cancel()
            await asyncio.wait([lane])
            await outlet.close()

    async def publish_alone(self, count: int, content: str) -> None:
        payload, stream = content.encode(), self.client.jetstream()
        for _ in range(count):
            if self.kind == "stream":
                await stream.publish(self.subject, payload)
            else:
                await self.client.publish(self.subject, payload)
                await self.client.flush()


@asynccontextmanager
async def hand(dsn: str, url: str, kind: str) -> AsyncIterator[Hand]:
    async with running_node(Settings(jwt_secret=rig.SECRET), dsn, LocalBus(), keeps_house=False) as node:
        client = await nats.connect(url)
        try:
            if kind == "stream":
                await client.jetstream().add_stream(StreamConfig(name="BENCH", subjects=["stream.>"]))
            await node.actions.make_unowned(f"{kind}.bench", "bench")
            bridge = await node.bridge_store.register(f"bench-{kind}", "nats", f"{kind}.bench")
            yield Hand(url=url, kind=kind, node=node, client=client, bridge=bridge)
        finally:
            await client.close()
