"""ProntoGram's page behind its queue: `prontogram_page.py AMQP_URL USER` prints what the browser would be sent.

It declares the queue of its user, durable and with no arguments, takes without acknowledging, and hands the JSON on as
Python writes it. The browser drops what names another receiver.
"""

from __future__ import annotations

import asyncio
import json
import sys

import aio_pika
from aio_pika.abc import AbstractIncomingMessage


async def main() -> None:
    url, user = sys.argv[1:]
    connection = await aio_pika.connect(url)
    channel = await connection.channel()
    queue = await channel.declare_queue(user, durable=True)

    async def show(message: AbstractIncomingMessage) -> None:
        offer = json.loads(message.body)
        if offer["receiver"] == user:
            print(json.dumps({name: offer[name] for name in ("sender", "receiver", "body", "send_time")}), flush=True)

    await queue.consume(show, no_ack=True)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
