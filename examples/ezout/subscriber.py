"""A plain NATS subscriber, as there are many: it knows nothing of Recado.

python examples/ezout/subscriber.py nats://127.0.0.1:4222
"""

from __future__ import annotations

import asyncio
import json
import sys

import nats
from nats.aio.msg import Msg
from shops import TOPICS


async def show(message: Msg) -> None:
    step = json.loads(message.data)
    print(
        f"{TOPICS[message.subject]:7}{step['action']:9}{step['product_name']:7}{step['basket_total']:6.2f}", flush=True
    )


async def main(url: str) -> None:
    client = await nats.connect(url, max_reconnect_attempts=-1)
    await client.subscribe("updates.store.*", cb=show)
    await client.flush()
    print("listening", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "nats://127.0.0.1:4222"))
