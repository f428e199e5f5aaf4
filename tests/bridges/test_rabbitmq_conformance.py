"""RabbitMQ keeps what every bridge out keeps."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from bridge_conformance import TIME, TOPIC, Broker, OutConformance

from bridges.config import RabbitOut
from bridges.outlet import Outlet
from bridges.rabbitmq.outlet import RabbitOutlet
from support.rabbit_server import Rabbit, fresh
from support.waiting import until

pytestmark = pytest.mark.faults


class Queues:
    """A queue for each topic, of this test alone. Looking at it leaves everything in it."""

    def __init__(self, rabbit: Rabbit) -> None:
        self._rabbit = rabbit
        self._prefix = fresh("conformance")

    def outlet(self) -> Outlet:
        return RabbitOutlet(RabbitOut("out", "orders.*", f"{self._prefix}.{{topic}}"), self._rabbit.url)

    async def start(self) -> None:
        await self._rabbit.start()
        await self.make()

    async def make(self) -> None:
        queue = f"{self._prefix}.{TOPIC}"
        await self._rabbit.put(queue)
        await self._rabbit.keeps(queue)

    async def kill(self) -> None:
        await self._rabbit.kill()

    def freeze(self) -> None:
        self._rabbit.freeze()

    def thaw(self) -> None:
        self._rabbit.thaw()

    async def got(self, topic: str, count: int) -> list[bytes]:
        queue = f"{self._prefix}.{topic}"
        await until(lambda: self._rabbit.waiting(queue), lambda found: found >= count, TIME)
        return await self._rabbit.look(queue)

    def poison(self) -> tuple[str, str]:
        return "orders.a|b", '"no queue has such a name"'


class TestRabbit(OutConformance):
    @pytest.fixture
    async def broker(self, rabbit: Rabbit) -> AsyncIterator[Broker]:
        queues = Queues(rabbit)
        await queues.make()
        yield queues
