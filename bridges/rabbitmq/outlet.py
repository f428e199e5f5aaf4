"""From a lane to RabbitMQ: confirmed, mandatory, persistent, to queues that are declared first.

A confirm means that the server has the message in a durable queue, and no more: a server that is killed within a second
of making a queue can lose it with all that is in it, confirms or not. What must not be lost that way belongs into a
queue of long standing, or a quorum queue made by its owner.
"""

from __future__ import annotations

import asyncio

import aio_pika
from aio_pika.exceptions import DeliveryError, PublishError

from bridges.config import RabbitOut
from bridges.outlet import OutgoingMessage, Unreachable
from bridges.rabbitmq.connection import ANSWER_TIME, TROUBLE, AmqpConnection, reason
from bridges.rabbitmq.messages import Letter, letter_of

REMEMBERED = 100_000  # queues that need not be declared before each message


class RabbitOutlet:
    """The end of one bridge out."""

    def __init__(self, out: RabbitOut, url: str) -> None:
        self._out = out
        self._line = AmqpConnection(url, out.name)
        self._declared: set[str] = set()

    async def send(self, outgoing: OutgoingMessage) -> None:
        """See `Outlet`. The id is the message's `message_id`, the same at every try."""
        letter = letter_of(self._out, outgoing)
        message = aio_pika.Message(
            letter.body, message_id=outgoing.id, timestamp=outgoing.message.sent_at, content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )  # fmt: skip
        try:
            async with asyncio.timeout(ANSWER_TIME):
                await self._hand_over(letter, message)
        except DeliveryError as exc:  # the line is in order: a queue is full, or goes whenever it is made
            raise Unreachable(f"RabbitMQ does not take it: {exc}") from exc
        except TROUBLE as exc:
            self._line.drop()
            raise Unreachable(reason(exc)) from exc

    async def _hand_over(self, letter: Letter, message: aio_pika.Message) -> None:
        if letter.queue not in self._declared:
            await self._declare(letter.queue)
        try:
            await self._line.publish(letter.queue, message)
        except PublishError:  # somebody has deleted the queue
            await self._declare(letter.queue)
            await self._line.publish(letter.queue, message)

    async def _declare(self, queue: str) -> None:
        await self._line.declare(queue)
        if len(self._declared) >= REMEMBERED:
            self._declared.clear()
        self._declared.add(queue)

    async def close(self) -> None:
        await self._line.close()
