"""Section 2 of the protocol, word for word: every action, reply, push, error and shape; how to come in; health."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

import ws_server.server
from messaging.permissions import BACKEND
from support.members import Log, Publisher, cursor, read_until, until_confirmed
from support.waiting import until
from support.ws import Running, receive, running, send

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)\Z")


@pytest.fixture
async def recado(database: str) -> Any:
    async with running(database) as recado:
        yield recado


async def ask(link: Any, **frame: Any) -> dict[str, Any]:
    """The reply to a request; pushes on the way are left out."""
    await send(link, **frame)
    while True:
        reply: dict[str, Any] = await receive(link)
        if reply.get("ref") == frame.get("ref", "never"):
            return reply


# --- actions and their replies ---------------------------------------------------------------------


@pytest.mark.parametrize("action", ["subscribe", "suscribe"])
async def test_subscribe(recado: Running, action: str) -> None:
    await recado.topic("noticias", "omar")
    async with recado.client("diego") as diego:
        await receive(diego, "connected")
        await send(diego, action=action, topic_name="noticias")
        done = {"action": "subscribe", "topic_name": "noticias", "result": "ok"}
        assert await receive(diego) == done
        await send(diego, action=action, topic_name="noticias", ref="again")
        assert await receive(diego) == {**done, "ref": "again"}
        await send(diego, action=action, topic_name="absent", ref="r")
        refused = await receive(diego)
        assert set(refused) == {"action", "topic_name", "result", "code", "message", "ref"}
        assert (refused["action"], refused["result"], refused["code"]) == ("subscribe", "error", "unknown_topic")
        assert (refused["topic_name"], refused["message"], refused["ref"]) == ("absent", "Topic not found", "r")


async def test_unsubscribe(recado: Running) -> None:
    await recado.topic("noticias", "omar", "diego")
    async with recado.client("diego") as diego, recado.client("diego") as other:
        await receive(other, "connected")
        await receive(diego, "connected")
        await send(diego, action="unsubscribe", topic_name="noticias", ref="r")
        done = {"action": "unsubscribe", "topic_name": "noticias", "result": "ok", "ref": "r"}
        assert await receive(diego) == done
        # Another session of the same user hears that it belongs no more; the one that asked has its reply.
        assert await receive(other) == {"action": "removed", "topic_name": "noticias"}
        await send(diego, action="unsubscribe", topic_name="noticias")
        refused = await receive(diego)
        assert (refused["action"], refused["result"], refused["code"]) == ("unsubscribe", "error", "not_a_member")
        assert refused["message"].startswith("You are not a member of this topic but you can subscribe")


async def test_invite(recado: Running) -> None:
    await recado.topic("secreto", "omar", kind="private")
    await Publisher(recado).publish("secreto", ["before"])
    await recado.node.actions.know("absent")
    async with recado.client("omar") as omar, recado.client("diego") as one, recado.client("diego") as two:
        for link in (omar, one, two):
            await receive(link, "connected")
        await receive(omar, "message")
        await send(omar, action="invite", topic_name="secreto", username="diego", ref="r")
        done = {"action": "invite", "topic_name": "secreto", "result": "ok", "ref": "r"}
        assert await receive(omar) == done
        invited = {"action": "invited", "topic_name": "secreto", "user_source": "omar"}
        assert await receive(one) == invited and await receive(two) == invited
        await send(omar, action="message", topic_name="secreto", content="after")
        for link in (one, two):
            assert (await receive(link))["content"] == "after"  # what follows, and nothing of before
        await receive(omar, "message")
        assert (await ask(omar, action="invite", topic_name="secreto", username="absent", ref="2"))["result"] == "ok"
        reply = await ask(omar, action="invite", topic_name="secreto", username="nobody", ref="3")
        assert (reply["action"], reply["result"], reply["code"]) == ("invite", "error", "unknown_user")
    async with recado.client("absent") as absent:
        await receive(absent, "connected")
        names = {topic["topic_name"] for topic in (await ask(absent, action="topics", ref="t"))["topics"]}
        assert names == {"@absent", "secreto"}


async def test_message(recado: Running) -> None:
    await recado.topic("noticias", "omar", "diego")
    async with recado.client("omar") as omar, recado.client("diego") as diego:
        await receive(omar, "connected")
        await receive(diego, "connected")
        content = {"text": "hola", "n": [1, 2.5, None, True]}
        await send(omar, action="message", topic_name="noticias", content=content, id="k1", ref="r")
        receipt = {"action": "message", "result": "ok", "topic_name": "noticias", "id": "k1", "seq": 1, "ref": "r"}
        assert await receive(omar) == receipt
        for link in (omar, diego):  # the sender, being a member, too
            push = await receive(link)
            sent_at = push.pop("sent_at")
            assert push == {
                "action": "message", "topic_name": "noticias", "content": content, "user_source": "omar", "seq": 1,
            }  # fmt: skip
            assert RFC3339.match(sent_at)
            assert abs(datetime.fromisoformat(sent_at) - datetime.now(UTC)) < timedelta(minutes=1)
        # The same again: its original seq, and nobody gets it twice.
        await send(omar, action="message", topic_name="noticias", content=content, id="k1", ref="r")
        assert await receive(omar) == receipt
        # Other content under that id.
        await send(omar, action="message", topic_name="noticias", content="other", id="k1", ref="r2")
        error = await receive(omar)
        assert set(error) == {"action", "topic", "code", "message", "topic_name", "id", "ref"}
        assert (error["action"], error["topic"], error["code"]) == ("error", "error", "conflict")
        assert (error["topic_name"], error["id"], error["ref"]) == ("noticias", "k1", "r2")
        # Without an id: no reply at all, only the echo.
        await send(omar, action="message", topic_name="noticias", content="no id", ref="r3")
        echo = await receive(omar)
        assert (echo["seq"], echo["content"]) == (2, "no id") and "ref" not in echo
        assert (await receive(diego))["seq"] == 2


async def test_direct_message(recado: Running) -> None:
    async with recado.client("omar") as omar, recado.client("diego") as diego:
        await receive(omar, "connected")
        await receive(diego, "connected")
        for seq, target in ((1, "@diego"), (2, "diego")):
            await send(omar, action="message", topic_name=target, content="psst", id=str(seq))
            receipt = await receive(omar)
            assert receipt == {
                "action": "message", "result": "ok", "topic_name": target, "id": str(seq), "seq": seq,
            }  # fmt: skip
            push = await receive(diego)
            assert (push["topic_name"], push["user_source"], push["seq"]) == ("@diego", "omar", seq)
        reply = await ask(omar, action="message", topic_name="@nobody", content=1, ref="r")
        assert (reply["action"], reply["code"], reply["topic_name"]) == ("error", "unknown_user", "@nobody")
        await send(diego, action="message", topic_name="@diego", content="note to myself")
        assert (await receive(diego))["user_source"] == "diego"


async def test_ack_on_an_explicit_connection(recado: Running) -> None:
    """Pongs move nothing there; an ack does, cumulatively, and answers nothing; above what was sent it is refused."""
    await recado.topic("noticias", "omar", "diego")
    await Publisher(recado).publish("noticias", range(1, 6))
    async with recado.client("diego", "?device=app&ack=explicit") as diego:
        await read_until(diego, Log(), "noticias", 5)
        session = next(iter(recado.door.hub.sessions()))
        await until(lambda: not session.due and not session.ledger.outstanding)  # its pong has come
        assert await cursor(recado, "diego", "noticias", "app") == 0
        await send(diego, action="ack", topic_name="noticias", seq=3)
        assert (await ask(diego, action="topics", ref="r"))["action"] == "topics"  # no reply came before it
        assert await cursor(recado, "diego", "noticias", "app") == 3
        await send(diego, action="ack", topic_name="noticias", seq=2)  # never backwards
        error = await ask(diego, action="ack", topic_name="noticias", seq=6, ref="above")
        assert (error["code"], error["ref"], error["topic_name"]) == ("bad_request", "above", "noticias")
        assert await cursor(recado, "diego", "noticias", "app") == 3
    async with recado.client("diego", "?device=app&ack=explicit") as diego:
        assert (await receive(diego))["pending"] == 2
        assert (await read_until(diego, Log(), "noticias", 5)).seqs("noticias") == [4, 5]


async def test_the_first_ack_ends_the_power_of_pongs(recado: Running) -> None:
    await recado.topic("noticias", "omar", "diego")
    press = Publisher(recado)
    async with recado.client("diego") as diego:
        log = Log()
        await press.publish("noticias", range(1, 4))
        await read_until(diego, log, "noticias", 3)
        await until_confirmed(recado, "diego", "noticias", 3)  # by the pong
        await press.publish("noticias", [4])
        await read_until(diego, log, "noticias", 4)
        await send(diego, action="ack", topic_name="noticias", seq=4)
        await until_confirmed(recado, "diego", "noticias", 4)
        await press.publish("noticias", [5])
        await read_until(diego, log, "noticias", 5)
        session = next(iter(recado.door.hub.sessions()))
        await until(lambda: not (session.due or session.ledger.outstanding or recado.door.hub.moved))
        assert await cursor(recado, "diego", "noticias") == 4


async def test_history(recado: Running) -> None:
    await recado.topic("noticias", "omar")
    await Publisher(recado).publish("noticias", range(1, 131))
    async with recado.client("omar", "?ack=explicit&device=h") as omar:
        await read_until(omar, Log(), "noticias", 130)
        page = await ask(omar, action="history", topic_name="noticias", ref="r")
        assert set(page) == {"action", "topic_name", "messages", "more", "epoch", "ref"}
        assert (page["action"], page["topic_name"], page["more"]) == ("history", "noticias", True)
        assert [message["seq"] for message in page["messages"]] == list(range(81, 131))  # 50, the newest, ascending
        first = page["messages"][0]
        assert set(first) == {"content", "user_source", "seq", "sent_at"}
        assert (first["content"], first["user_source"]) == (81, "press") and RFC3339.match(first["sent_at"])


async def test_topics(recado: Running) -> None:
    await recado.topic("noticias", "omar", "diego")
    await recado.topic("secreto", "diego", kind="private")
    await Publisher(recado).publish("noticias", range(3))
    async with recado.client("diego", "?ack=explicit&device=t") as diego:
        await read_until(diego, Log(), "noticias", 3)
        await send(diego, action="ack", topic_name="noticias", seq=1)
        await recado.node.cursors.flush()
        await send(diego, action="topics", ref="r")
        reply = await receive(diego, "topics")
        assert set(reply) == {"action", "topics", "more", "ref"}
        assert all(topic.pop("epoch") for topic in reply["topics"])
        by_name = {topic.pop("topic_name"): topic for topic in reply["topics"]}
        assert by_name["secreto"] == {"kind": "private", "role": "owner", "last_seq": 0, "cursor": 0, "pending": 0}
        assert by_name["@diego"] == {"kind": "direct", "role": "owner", "last_seq": 0, "cursor": 0, "pending": 0}
        noticias = by_name["noticias"]
        assert (noticias["kind"], noticias["role"], noticias["last_seq"]) == ("public", "member", 3)
        assert noticias["pending"] == 3 - noticias["cursor"]


async def test_disconnect(recado: Running) -> None:
    """Close 1000, behind everything that was asked before it."""
    await recado.topic("noticias", "omar")
    async with recado.client("omar") as omar:
        await receive(omar, "connected")
        for number in range(10):
            await send(omar, action="message", topic_name="noticias", content=number, id=str(number))
        await send(omar, action="disconnect")
        receipts = 0
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                receipts += (await receive(omar)).get("result") == "ok"
        assert receipts == 10
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1000


# --- pushes ----------------------------------------------------------------------------------------


async def test_connected_comes_first_then_what_is_pending(recado: Running) -> None:
    await recado.topic("noticias", "omar", "diego")
    await recado.topic("deporte", "omar", "diego")
    await Publisher(recado).publish("noticias", range(1, 4))
    await Publisher(recado).publish("deporte", range(1, 3))
    await Publisher(recado).publish("@diego", ["psst"])
    async with recado.client("diego") as diego:
        assert await receive(diego) == {"action": "connected", "username": "diego", "topics": 3, "pending": 6}
        log = Log()
        for _ in range(6):
            log.take(await receive(diego))
        assert (log.seqs("noticias"), log.seqs("deporte"), log.seqs("@diego")) == ([1, 2, 3], [1, 2], [1])
        assert not log.others


async def test_removed_when_the_topic_is_deleted(recado: Running) -> None:
    await recado.topic("noticias", "omar", "diego")
    async with recado.client("diego") as diego:
        await receive(diego, "connected")
        await recado.node.actions.delete_topic(BACKEND, "noticias")
        assert await receive(diego) == {"action": "removed", "topic_name": "noticias"}
        assert (await ask(diego, action="history", topic_name="noticias", ref="r"))["code"] == "unknown_topic"
        # Made again under its name it is another topic, from seq 1.
        await recado.topic("noticias", "omar", "diego")
        await Publisher(recado).publish("noticias", ["new"])
        assert (await read_until(diego, Log(), "noticias", 1)).contents("noticias") == ["new"]


async def test_heartbeat_on_request_only(recado: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ws_server.server, "HEARTBEAT", 0.05)
    async with recado.client("diego", "?heartbeat=1") as diego, recado.client("diego") as other:
        assert (await receive(diego))["action"] == "connected"
        for _ in range(4):
            assert await receive(diego) == {"action": "heartbeat"}
        await receive(other, "connected")
        await send(other, action="topics")
        assert (await receive(other))["action"] == "topics"


async def test_errors_carry_back_what_they_can(recado: Running) -> None:
    async with recado.client("diego") as diego:
        await receive(diego, "connected")
        await send(diego, action="dance", topic_name="t", id="i", ref="r")
        error = await receive(diego)
        assert error == {
            "action": "error", "topic": "error", "code": "unknown_action", "message": "Unknown action received",
            "topic_name": "t", "id": "i", "ref": "r",
        }  # fmt: skip
        await diego.send("not json")
        error = await receive(diego)
        assert set(error) == {"action", "topic", "code", "message"} and error["code"] == "bad_json"
        assert error["message"].startswith("No action received")
        await send(diego, topic_name="t")
        assert (await receive(diego))["message"] == "No action received"
        await send(diego, action="subscribe", ref="r")
        error = await receive(diego)
        assert (error["action"], error["code"], error["ref"]) == ("error", "bad_request", "r")


# --- coming in -------------------------------------------------------------------------------------


async def test_where_a_token_may_stand(recado: Running) -> None:
    token = recado.token("diego")
    options: list[tuple[str, dict[str, Any]]] = [
        (f"/{token}", {}),
        ("/", {"additional_headers": {"Authorization": f"Bearer {token}"}}),
        ("/", {"additional_headers": {"Authorization": f"bearer  {token} "}}),
        ("/?device=phone", {"subprotocols": [Subprotocol("bearer"), Subprotocol(token)]}),
    ]
    for path, more in options:
        async with connect(recado.url + path, proxy=None, **more) as link:
            assert (await receive(link))["username"] == "diego"
            assert link.subprotocol == ("bearer" if "subprotocols" in more else None)  # the token is not echoed
            assert link.response is not None and token not in str(link.response.headers)


@pytest.mark.parametrize("device", ["a b", "a%00", "..", "x" * 129, "é"])
async def test_a_device_that_is_no_name_is_refused(recado: Running, device: str) -> None:
    from urllib.parse import quote

    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"{recado.url}/{recado.token('diego')}?device={quote(device)}", proxy=None):
            pass
    assert refused.value.response.status_code == 400
    assert json.loads(refused.value.response.body or b"")["code"] == "bad_request"


async def test_who_connects_is_known_from_then_on(recado: Running) -> None:
    async with recado.client("nuevo/user|1") as link:
        assert (await receive(link))["username"] == "nuevo/user|1"
    assert (await recado.node.actions.user("nuevo/user|1")).name == "nuevo/user|1"


# --- health ----------------------------------------------------------------------------------------


async def get(recado: Running, path: str) -> tuple[int, str, str]:
    def fetch() -> tuple[int, str, str]:
        try:
            with urllib.request.urlopen(recado.url.replace("ws:", "http:") + path, timeout=10) as response:
                return response.status, response.headers["Content-Type"], response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers["Content-Type"], error.read().decode()

    return await asyncio.to_thread(fetch)


async def test_health_on_the_same_port(recado: Running) -> None:
    async with recado.client("diego") as diego:
        await receive(diego, "connected")
        for path in ("/healthz", "/readyz"):
            status, kind, body = await get(recado, path)
            assert (status, kind, json.loads(body)) == (200, "application/json", {"status": "ok"})
        status, kind, body = await get(recado, "/metrics")
        assert status == 200 and kind.startswith("text/plain")
        assert "recado_sessions 1.0" in body and "recado_appended_total" in body


async def test_not_ready_without_the_database_yet_healthy(recado: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    from messaging.errors import Unavailable

    async def ping() -> None:
        raise Unavailable

    monkeypatch.setattr(recado.node.store, "ping", ping)
    status, _, body = await get(recado, "/readyz")
    assert status == 503 and json.loads(body)["status"] == "unavailable"
    assert (await get(recado, "/healthz"))[0] == 200


async def test_everybody_may_join_the_first_topic(recado: Running) -> None:
    """An empty database starts with one public topic, `general`."""
    async with recado.client("diego") as diego, recado.client("ana") as ana:
        for link in (diego, ana):
            assert (await ask(link, action="subscribe", topic_name="general", ref="s"))["result"] == "ok"
        await send(diego, action="message", topic_name="general", content="hola")
        assert (await receive(ana, "message"))["content"] == "hola"
