"""A node that works, and a system at the end of a lane that does as it is told."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from bridges.lane import Lane
from bridges.outlet import OutgoingMessage
from messaging.bridge.schedule import Schedule
from messaging.bus.contract import LocalBus
from messaging.errors import RecadoError
from messaging.model import Content
from messaging.node import Node, running_node
from messaging.permissions import BACKEND
from messaging.replay import PublishOutcome
from messaging.settings.settings import Settings
from support.tasks import at_work

QUICK = Schedule(steps=(0.01,), most=0.02)


class System:
    """Gets parcels; ``answer`` says what happens to one, by returning or raising."""

    def __init__(self) -> None:
        self.got: list[OutgoingMessage] = []
        self.answer: Callable[[OutgoingMessage], None] = lambda parcel: None
        self._more = asyncio.Event()

    async def send(self, parcel: OutgoingMessage) -> None:
        self.answer(parcel)
        self.got.append(parcel)
        self._more.set()

    async def close(self) -> None:
        return

    async def has(self, count: int) -> list[OutgoingMessage]:
        async with asyncio.timeout(10):
            while len(self.got) < count:
                self._more.clear()
                await self._more.wait()
        return self.got

    @property
    def contents(self) -> list[str]:
        return [parcel.message.content for parcel in self.got]


@contextlib.asynccontextmanager
async def working(dsn: str) -> AsyncIterator[Node]:
    """A node over this database, at work."""
    async with running_node(Settings(), dsn, LocalBus(), keeps_house=False) as node:
        yield node


def serving(lane: Lane) -> contextlib.AbstractAsyncContextManager[asyncio.Task[None]]:
    return at_work(lane.run())


async def publish(node: Node, topic: str, *contents: str) -> None:
    """Each content is JSON text. Returns once all are stored."""
    aim = await node.actions.aim(BACKEND, topic)
    origins = [PublishOutcome() for _ in contents]
    for origin, content in zip(origins, contents, strict=True):
        node.actions.publish(aim, "api", Content(content), None, None, origin, None)
    for origin in origins:
        outcome = await origin.outcome
        if isinstance(outcome, RecadoError):
            raise outcome
