"""Accepting news beside all else that this database does."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec

from messaging.integrator.incoming import IncomingMessage
from messaging.model import Content, Membership, Message
from messaging.node import Node
from messaging.permissions import BACKEND


async def test_many_that_speak_at_once_leave_connections_for_others(node: Node) -> None:
    """Each waits for its turn: without a connection to wait on."""
    one = (await node.registry.register("one", "pull", None)).platform
    await node.registry.register("two", "pull", None)
    await node.integrator.take_room(one, "r", "R", "public", [{"two": [1]}])
    async with node.platforms.acceptance():  # somebody else holds the lock
        speaking = [
            asyncio.create_task(
                node.integrator.take_message(
                    one, IncomingMessage(room_platform=None, room="r", sender=1, text=str(number))
                )
            )
            for number in range(50)
        ]
        await asyncio.sleep(0)
        async with asyncio.timeout(1.5):  # less than those would wait for the lock
            assert [each.name for each in await node.platforms.platforms()] == ["one", "recado", "two"]
    assert [each.deliveries for each in await asyncio.gather(*speaking)] == [1] * 50


async def topics_of(node: Node, user: str) -> dict[str, Membership]:
    found = await node.store.memberships((await node.store.user(user)).id)
    return {membership.topic.name: membership for membership in found}


async def test_a_person_of_ours_is_named_in_rooms_as_it_is_called_outside(node: Node) -> None:
    """Its own messages reach the room's platforms; what is in its inbox does not."""
    one = (await node.registry.register("one", "pull", None)).platform
    await node.integrator.take_room(one, "r", "R", "private", [{"recado": ["Mario Rossi"], "one": [1]}])
    assert set(await topics_of(node, "Mario%20Rossi")) == {"@Mario%20Rossi", "one%3Ar"}
    assert set(await topics_of(node, "%bridge/recado")) == {"@%bridge/recado", "one%3Ar"}
    room = await node.actions.topic(BACKEND, "one%3Ar")
    for sender in ("Mario%20Rossi", "one%2F1"):  # the second is what the platform said itself
        await node.integrator.take_own(room.topic.id, Message(1, sender, Content('"ciao"'), datetime.now(UTC)))
    inbox = await node.store.topic_view("@%bridge/one")
    assert inbox is not None
    told: list[Any] = [
        msgspec.json.decode(each.content)
        for each in await node.store.history(inbox.topic.id, 0, 100, 100, None, newest=False)
    ]
    said = [each["data"] for each in told if each["type"] == "message.created"]
    assert [(each["senderId"], each["text"]) for each in said] == [("Mario Rossi", "ciao")]
    await node.integrator.take_room(one, "r", "R", "private", [{"one": [1]}])
    assert set(await topics_of(node, "Mario%20Rossi")) == {"@Mario%20Rossi"}
