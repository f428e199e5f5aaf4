"""Customers: each fills a basket in one of three shops and checks out; every step is posted to Recado.

python examples/ezout/customers.py --url http://127.0.0.1:5001 --customers 5
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
from shops import SHOPS

GOODS = [(1, "caffè", 1.2, "036000291452"), (2, "bread", 2.5, "012345678905"), (3, "olives", 4.75, "042100005264")]
ACTIONS = {"add": 1, "checkout": 2}


def visit(shop: str, items: int) -> Iterator[dict[str, Any]]:
    """What one customer does: some items, then the checkout."""
    session, shopper, total = str(uuid.uuid4()), str(uuid.uuid4()), 0.0
    for place in range(items + 1):
        action = "add" if place < items else "checkout"
        number, name, price, code = random.choice(GOODS) if action == "add" else (0, "", 0.0, "")
        total = round(total + price, 2)
        yield {
            "session_id": session, "shop_id": shop, "shopper_id": shopper, "action_id": ACTIONS[action],
            "create_time": datetime.now(UTC).isoformat(), "action": action, "product_name": name,
            "product_id": number, "product_price": price, "UPC": code, "category_id": "food", "basket_total": total,
        }  # fmt: skip


async def shop_at(http: aiohttp.ClientSession, url: str, city: str, patience: float) -> int:
    """Post each step, once: with an Idempotency-Key a retry is harmless. How many there were."""
    steps = 0
    for step in visit(SHOPS[city], random.randint(2, 4)):
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        async with http.post(f"{url}/publish/{SHOPS[city]}", json=step, headers=headers) as answer:
            answer.raise_for_status()
        steps += 1
        await asyncio.sleep(random.uniform(0, patience))
    return steps


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:5001", help="of Recado's API")
    parser.add_argument("--customers", type=int, default=6)
    parser.add_argument("--patience", type=float, default=0.5, help="seconds between two steps, at most")
    options = parser.parse_args()
    key = os.environ.get("API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    cities = [list(SHOPS)[number % len(SHOPS)] for number in range(options.customers)]
    async with aiohttp.ClientSession(headers=headers) as http:
        steps = await asyncio.gather(*(shop_at(http, options.url, city, options.patience) for city in cities))
    print(f"{sum(steps)} steps, then all customers had left")


if __name__ == "__main__":
    asyncio.run(main())
