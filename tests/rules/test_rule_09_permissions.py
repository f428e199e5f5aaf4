"""Rule 9: what you may not see does not exist for you; who was removed gets nothing any more."""

from __future__ import annotations

from typing import Any

import pytest

from messaging.permissions import BACKEND
from support.log import connected
from support.members import Log, Publisher, read_to_mark, read_until
from support.ws import receive, running, send

REQUESTS: list[dict[str, Any]] = [
    {"action": "subscribe"},
    {"action": "suscribe"},
    {"action": "unsubscribe"},
    {"action": "invite", "username": "ana"},
    {"action": "invite", "username": "diego"},
    {"action": "invite", "username": "nobody"},
    {"action": "message", "content": 1, "id": "1"},
    {"action": "message", "content": 1},
    {"action": "ack", "seq": 1},
    {"action": "ack", "seq": 1000},
    {"action": "history"},
    {"action": "history", "after": 0, "before": 5, "limit": 1},
]


async def ask(link: Any, **frame: Any) -> dict[str, Any]:
    """The reply to a request, whatever its shape."""
    await send(link, **frame, ref="ask")
    while True:
        reply: dict[str, Any] = await receive(link)
        if reply.get("ref") == "ask":
            return reply


@pytest.mark.parametrize("hidden", ["secreto", "@ana", "dejado"])
async def test_a_hidden_topic_answers_like_an_absent_one(database: str, hidden: str) -> None:
    """A private topic of others, another's inbox, and a private topic that one has left: byte for byte the same."""
    async with running(database) as recado:
        await recado.topic("secreto", "ana", kind="private")
        await recado.topic("dejado", "ana", "diego", kind="private")
        await Publisher(recado).publish("secreto", range(3))
        await Publisher(recado).publish("dejado", range(3))
        await recado.node.actions.unsubscribe(BACKEND, await recado.node.actions.user("diego"), "dejado")
        async with recado.client("diego") as diego:
            await receive(diego, "connected")
            for request in REQUESTS:
                if hidden == "@ana" and request["action"] == "message":
                    continue  # anybody may write to an inbox
                there = await ask(diego, **request, topic_name=hidden)
                absent = await ask(diego, **request, topic_name="@absent" if hidden[0] == "@" else "absent")
                assert there.pop("topic_name") == hidden
                absent.pop("topic_name")
                assert there == absent
                assert there["code"] == "unknown_topic"
                assert there.get("result", "error") == "error"


async def test_joining_again_as_a_member_changes_nothing(database: str) -> None:
    async with running(database) as recado, connected(database) as db:
        await recado.topic("noticias", "ana", "diego")
        await Publisher(recado).publish("noticias", range(3))
        membership = "SELECT id, joined_seq, role, invited_by FROM recado.memberships ORDER BY id"
        before = await db.fetch(membership)
        async with recado.client("diego") as diego:
            await read_until(diego, Log(), "noticias", 3)
            assert (await ask(diego, action="subscribe", topic_name="noticias"))["result"] == "ok"
            assert (await ask(diego, action="invite", topic_name="noticias", username="ana"))["result"] == "ok"
            assert (await ask(diego, action="invite", topic_name="noticias", username="diego"))["result"] == "ok"
            log = await read_to_mark(diego, Log(), "m")
            assert not log.others and not log.entries  # neither invited nor anything again
        assert await db.fetch(membership) == before


async def test_after_a_removal_none_of_the_later_frames(database: str) -> None:
    """Removed while connected, on the same node: `removed` comes at once by its notice, then nothing."""
    async with running(database, sweep_every=3600.0) as recado:
        await recado.topic("secreto", "omar", "diego", "ana", kind="private")
        await recado.topic("aparte", "omar", "diego")
        press = Publisher(recado)
        async with recado.client("diego") as diego, recado.client("ana") as ana:
            log = Log()
            await press.publish("secreto", ["before"])
            await read_until(diego, log, "secreto", 1)
            await recado.node.actions.unsubscribe(BACKEND, await recado.node.actions.user("diego"), "secreto")
            assert await receive(diego, "removed") == {"action": "removed", "topic_name": "secreto"}
            await press.publish("secreto", [f"after {n}" for n in range(50)])
            await read_until(ana, Log(), "secreto", 51)
            await press.publish("aparte", ["mark"])
            log = await read_until(diego, Log(), "aparte", 1)
            assert "secreto" not in log.entries
            for frame in (
                {"action": "history"},
                {"action": "message", "content": "still here?", "id": "x"},
                {"action": "ack", "seq": 1},
                {"action": "unsubscribe"},
                {"action": "invite", "username": "ana"},
                {"action": "subscribe"},
            ):
                assert (await ask(diego, **frame, topic_name="secreto"))["code"] == "unknown_topic"
        async with recado.client("diego") as diego:
            log = await read_to_mark(diego, Log(), "m")
            assert "secreto" not in log.entries


async def test_a_removed_member_that_is_behind_gets_no_more_pages(database: str) -> None:
    """Its notice is lost and the sweep is off: the page read itself, joined with the membership, gives nothing."""
    from support.raw_members import RawClient

    async with running(database, sweep_every=3600.0) as recado, connected(database) as db:
        await recado.topic("secreto", "omar", "diego", kind="private")
        await Publisher(recado).publish("secreto", [{"n": n, "x": "y" * 1000} for n in range(1, 201)])
        async with await RawClient.connect(f"{recado.url}/{recado.token('diego')}") as diego:
            while not (diego.pings and any(frame["action"] == "message" for frame in diego.frames)):
                await diego.read(pong=False)  # a first chunk, unconfirmed
            await db.execute(
                "SELECT recado.leave_topic(t.id, u.id) FROM recado.topics t, recado.users u"
                " WHERE t.name = 'secreto' AND u.name = 'diego'"
            )
            seen = [frame["seq"] for frame in diego.frames if frame["action"] == "message"]
            assert seen and seen[-1] < 50
            diego.frames.clear()
            await diego.answer()
            assert await diego.next() == {"action": "removed", "topic_name": "secreto"}
            await diego.request(action="topics", ref="r")
            assert (await diego.next())["action"] == "topics"


async def test_who_joins_again_finds_nothing_of_before_pending(database: str) -> None:
    """Where history begins then is a scenario of all doors."""
    async with running(database) as recado:
        await recado.topic("secreto", "omar", "diego", kind="private")
        await Publisher(recado).publish("secreto", range(5))
        await recado.node.actions.unsubscribe(BACKEND, await recado.node.actions.user("diego"), "secreto")
        await recado.node.actions.invite(BACKEND, "secreto", "diego")
        async with recado.client("diego") as diego:
            log = await read_to_mark(diego, Log(), "m")
            assert "secreto" not in log.entries
