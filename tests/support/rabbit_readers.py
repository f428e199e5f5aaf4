"""Readers of queues at work, and looks at what they have stored."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from bridges.config import Rabbit as RabbitConfig
from bridges.config import RabbitIn
from bridges.rabbitmq.bridges import is_inbox_queue
from bridges.rabbitmq.inlet import Inboxes, OneQueue, RabbitSource
from messaging.bridge.inlet import MAX_TRIES, Inlet
from messaging.model import Message
from messaging.node import Node
from messaging.settings.settings import Settings
from support.lanes import QUICK, working
from support.rabbit_server import Rabbit
from support.tasks import at_work
from support.waiting import until

LIMIT = 2048  # bytes of a content
LIMITED = Settings(max_frame=LIMIT)


@dataclass
class Office:
    """A node with what it reads from RabbitMQ."""

    node: Node
    rabbit: Rabbit

    async def know(self, *names: str) -> None:
        """Users whose queues are being read."""
        for name in names:
            await self.node.actions.know(name)
        for name in names:
            await until(partial(self.is_read, name))

    async def is_read(self, queue: str) -> bool:
        return await self.consumers(queue) > 0

    async def consumers(self, queue: str) -> int:
        async with self.rabbit.channel() as channel:
            declared = await channel.declare_queue(queue, durable=True)
            return declared.declaration_result.consumer_count or 0

    async def messages(self, topic: str) -> list[Message]:
        standing = await self.node.store.topic_view(topic)
        if standing is None:
            return []
        return await self.node.store.history(standing.topic.id, 0, 2**53, 5000, None, newest=False)

    async def has(self, topic: str, count: int, timeout: float = 20) -> list[Any]:
        """The contents of a topic, once there are so many."""
        found = await until(lambda: self.messages(topic), lambda found: len(found) >= count, timeout)
        return [json.loads(message.content) for message in found]

    async def buried(self, bridge: str, count: int) -> list[tuple[str, str]]:
        """Why, and what is left, of so many dead letters."""
        buried = await until(lambda: self.node.bridge_store.buried(bridge, 0, 1000), lambda found: len(found) >= count)
        letters = [each.letter for each in buried]
        return [(letter.reason, json.loads(letter.content or "null")) for letter in letters]

    async def is_drained(self, queue: str) -> bool:
        """Nothing waits, and nothing is unacknowledged: the reader was given all and gave all back."""
        return await self.rabbit.waiting(queue) == 0


@asynccontextmanager
async def reading(node: Node, source: RabbitSource, tries: int = MAX_TRIES) -> AsyncIterator[None]:
    """Its inlet at work. Cancelled, it gives back what it has not acknowledged."""
    inlet = Inlet(source.name, "rabbitmq", source, node, Settings(auth_mode="open"), schedule=QUICK, tries=tries)
    async with at_work(inlet.run()):
        yield


@asynccontextmanager
async def office(rabbit: Rabbit, dsn: str, config: RabbitConfig | None = None) -> AsyncIterator[Office]:
    """The users' queues, being read."""
    async with working(dsn) as node, reading(node, inboxes_of(node, rabbit, config)):
        yield Office(node, rabbit)


def inboxes_of(node: Node, rabbit: Rabbit, config: RabbitConfig | None = None) -> Inboxes:
    given = config or RabbitConfig()
    return Inboxes(rabbit.url, node.store, LIMITED, lambda user: is_inbox_queue(given, rabbit.url, user))


@asynccontextmanager
async def one_queue(rabbit: Rabbit, dsn: str, queue: str, topic: str, **more: Any) -> AsyncIterator[Office]:
    given = RabbitIn("mail", queue, topic, **more)
    async with working(dsn) as node, reading(node, OneQueue(given, rabbit.url, LIMITED), given.dead_after):
        yield Office(node, rabbit)


def offers(texts: Iterable[object], **more: object) -> list[bytes]:
    """As ProntoGram's backend writes them; it gives no ids."""
    fixed = {"sender": "ACMESky", "receiver": "someone", "send_time": "2026-05-01T12:00:00+00:00", **more}
    return [json.dumps({**fixed, "body": str(text)}).encode() for text in texts]
