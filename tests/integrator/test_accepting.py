"""Accepting news beside all else that this database does."""

from __future__ import annotations

import asyncio

from test_platforms_file import node  # noqa: F401 (a fixture)

from messaging.integrator.talk import Said
from messaging.node import Node


async def test_many_that_speak_at_once_leave_connections_for_others(node: Node) -> None:  # noqa: F811
    """Each waits for its turn: without a connection to wait on."""
    one = (await node.registry.register("one", "pull", None)).platform
    await node.registry.register("two", "pull", None)
    await node.integrator.take_room(one, "r", "R", "public", [{"two": [1]}])
    async with node.platforms.acceptance():  # somebody else holds the lock
        speaking = [
            asyncio.create_task(node.integrator.take_message(one, Said(None, "r", 1, str(number))))
            for number in range(50)
        ]
        await asyncio.sleep(0)
        async with asyncio.timeout(1.5):  # less than those would wait for the lock
            assert [each.name for each in await node.platforms.platforms()] == ["one", "recado", "two"]
    assert [each.deliveries for each in await asyncio.gather(*speaking)] == [1] * 50
