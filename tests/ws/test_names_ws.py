"""A topic and a user of one name, on a session: `#NAME` is the topic, `@NAME` the inbox."""

from __future__ import annotations

import asyncio

from websockets.asyncio.client import ClientConnection

from messaging.permissions import Caller
from support.ws import Running, asked, receive, running, send


async def said(link: ClientConnection, target: str, key: str) -> str | int:
    """The seq of a message to ``target``, or why there is none."""
    answer = await asked(link, action="message", topic_name=target, content=target, id=key)
    seq: str | int = answer["seq"] if answer.get("result") == "ok" else answer["code"]
    return seq


async def made_by(recado: Running, name: str, owner: str) -> None:
    user = await recado.node.actions.know(owner)
    await recado.node.actions.create_topic(Caller(user), name, user, "public")


async def test_a_live_session_learns_that_a_bare_name_is_in_doubt(database: str) -> None:
    """It is a member of another's topic when a user of the same name becomes known."""
    async with running(database) as recado, recado.client("ana") as ana:
        await receive(ana, "connected")
        await made_by(recado, "diego", "mal")
        assert (await asked(ana, action="subscribe", topic_name="#diego"))["result"] == "ok"
        assert await said(ana, "diego", "1") == 1
        async with recado.client("diego") as diego:
            await receive(diego, "connected")
            seqs = [1]
            async with asyncio.timeout(10):  # the sweep finds it
                while (seq := await said(ana, "diego", f"{len(seqs)}-again")) != "conflict":
                    assert seq == seqs[-1] + 1
                    seqs.append(seq)
            assert await said(ana, "#diego", "2") == seqs[-1] + 1
            assert await said(ana, "@diego", "3") == 1
            assert (await receive(diego, "message"))["content"] == "@diego"


async def test_a_session_that_comes_later_knows_it(database: str) -> None:
    async with running(database) as recado:
        await made_by(recado, "diego", "mal")
        await recado.topic("rosa", "omar", "mal")
        for name in ("diego", "rosa"):
            await recado.node.actions.know(name)
        async with recado.client("mal") as mal:
            assert await said(mal, "diego", "1") == "conflict"
            assert await said(mal, "rosa", "2") == 1  # a backend made it
            assert await said(mal, "#diego", "3") == 1


async def test_a_hash_means_the_topic_in_every_request(database: str) -> None:
    async with running(database) as recado:
        await recado.topic("news", "eva")
        await recado.node.actions.know("omar")
        async with recado.client("ana", "?ack=explicit") as ana:
            await receive(ana, "connected")
            assert (await asked(ana, action="subscribe", topic_name="#news"))["topic_name"] == "#news"
            assert await said(ana, "#news", "1") == 1
            await receive(ana, "message")
            await send(ana, action="ack", topic_name="#news", seq=1)  # is taken; beyond what there is none is
            assert (await asked(ana, action="ack", topic_name="#news", seq=9))["code"] == "bad_request"
            assert (await asked(ana, action="history", topic_name="#news"))["messages"][0]["content"] == "#news"
            assert (await asked(ana, action="invite", topic_name="#news", username="omar"))["result"] == "ok"
            assert (await asked(ana, action="unsubscribe", topic_name="#news"))["result"] == "ok"
            for target in ("#ana", "#@ana", "##news", "#"):
                assert await said(ana, target, "2") == "unknown_topic"


async def test_a_person_of_another_system_is_reached_by_both_names(database: str) -> None:
    async with running(database) as recado, recado.client("Mario Rossi") as mario, recado.client("ana") as ana:
        assert (await receive(mario, "connected"))["username"] == "Mario%20Rossi"
        for number, target in enumerate(("@Mario Rossi", "@Mario%20Rossi", "Mario Rossi", "Mario%20Rossi"), 1):
            assert await said(ana, target, f"{number}") == number
            pushed = await receive(mario, "message")
            assert (pushed["topic_name"], pushed["seq"]) == ("@Mario%20Rossi", number)
        assert await said(mario, "ana", "1") == 1
        assert (await receive(ana, "message"))["user_source"] == "Mario%20Rossi"
