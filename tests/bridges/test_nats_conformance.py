"""NATS with JetStream keeps what every bridge out keeps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from bridge_conformance import TIME, Broker, OutConformance

from bridges.outlet import Outlet
from support.nats_server import Nats, outlet_to


class JetStream(Nats):
    """One stream for all."""

    def outlet(self) -> Outlet:
        return outlet_to(self.url)

    async def got(self, topic: str, count: int) -> list[bytes]:
        async with asyncio.timeout(TIME):
            return [message.data for message in await self.stored("ORDERS", topic, count)]

    def poison(self) -> tuple[str, str]:
        return "orders..", '"the topic makes no subject"'


class TestJetStream(OutConformance):
    @pytest.fixture
    async def broker(self, tmp_path: Path) -> AsyncIterator[Broker]:
        server = JetStream(folder=tmp_path)
        await server.start()
        await server.make_stream("ORDERS", "orders.>")
        try:
            yield server
        finally:
            await server.kill()
