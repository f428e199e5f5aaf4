"""A node of its own that publishes, for tests of several processes: ``publishers.py DSN NODE PUBLISHERS COUNT TOPIC…``

Every publisher sends COUNT messages to each topic, one after another, each with a key that the publishers of the same
number on other nodes use, too; some at once a second time. Prints one JSON array of [topic, content, seq].
"""

from __future__ import annotations

import asyncio
import json
import random
import sys

from support.log import Desk, desk, draft, told


async def publish(node: Desk, number: int, count: int, topic_ids: list[int]) -> list[tuple[int, str, int | str]]:
    receipts: list[tuple[int, str, int | str]] = []
    for n in range(count):
        drafts = []
        for topic_id in random.sample(topic_ids, len(topic_ids)):
            drafts += [draft(topic_id, f"{number}/{n}", f"k{n}", sender=f"u{number}")] * random.choice((1, 1, 2))
        answers = await asyncio.gather(*(node.submit(each) for each in drafts))
        receipts += [
            (each.topic_id, json.loads(each.content), told(answer))
            for each, answer in zip(drafts, answers, strict=True)
        ]
    return receipts


async def main(dsn: str, numbers: range, count: int, topic_ids: list[int]) -> None:
    async with desk(dsn) as node:
        print("ready", flush=True)
        sys.stdin.readline()
        lists = await asyncio.gather(*(publish(node, number, count, topic_ids) for number in numbers))
    print(json.dumps([receipt for receipts in lists for receipt in receipts]))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], range(*map(int, sys.argv[2:4])), int(sys.argv[4]), [int(a) for a in sys.argv[5:]]))
