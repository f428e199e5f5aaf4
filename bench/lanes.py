"""A lane to NATS in the benchmark's own process, and what it is compared with."""

from __future__ import annotations

import asyncio

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
from messaging.node import Node
from messaging.permissions import BACKEND
from messaging.replay import Settled
from messaging.settings.settings import Settings


class Hand:
    """A bridge, and a client that publishes to the same server without one."""

    def __init__(self, dsn: str, url: str, kind: str) -> None:
        """``kind``: "core" or "stream", which is also what the subject's first word is."""
        self._url = url
        self._kind = kind
        self._subject = f"{kind}.bench"
        self._node = Node(Settings(jwt_secret=rig.SECRET), dsn, LocalBus())
        self._work: asyncio.Task[None] | None = None
        self._client: Client | None = None
        self._bridge = 0

    async def open(self) -> None:
        await self._node.open()
        self._work = asyncio.create_task(self._node.run(keeps_house=False))
        self._client = await nats.connect(self._url)
        if self._kind == "stream":
            await self._client.jetstream().add_stream(StreamConfig(name="BENCH", subjects=["stream.>"]))
        await self._node.actions.make_unowned(self._subject, "bench")
        self._bridge = await self._node.book.register(f"bench-{self._kind}", "nats", self._subject)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait([self._work])
        await self._node.close()

    async def fill(self, count: int, content: str) -> None:
        """Put so many before the bridge."""
        aim = await self._node.actions.aim(BACKEND, self._subject)
        checked = check_content(content.encode(), Settings())
        origins = [Settled() for _ in range(count)]
        for origin in origins:
            self._node.actions.publish(aim, "bench", checked, None, None, origin, None)
        for origin in origins:
            if isinstance(outcome := await origin.outcome, RecadoError):
                raise outcome

    async def catch_up(self, count: int, content: str) -> None:
        """Until the bridge's cursor is behind all of it."""

        async def origin() -> str:
            return "bench"

        outlet = NatsOutlet(NatsOut("bench", "*"), [self._url], origin, lambda subject: False, lambda: None)
        lane = asyncio.create_task(Lane(self._bridge, outlet, self._node).run())
        try:
            while (await self._node.book.reports(f"bench-{self._kind}"))[0].lag:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        finally:
            lane.cancel()
            await asyncio.wait([lane])
            await outlet.close()

    async def publish_alone(self, count: int, content: str) -> None:
        assert self._client is not None
        payload, stream = content.encode(), self._client.jetstream()
        for _ in range(count):
            if self._kind == "stream":
                await stream.publish(self._subject, payload)
            else:
                await self._client.publish(self._subject, payload)
                await self._client.flush()
