"""Messages of one session to one topic are stored in the order sent, also across an `unavailable`."""

from __future__ import annotations

from typing import NoReturn

import pytest

from messaging.errors import Unavailable
from messaging.permissions import Caller
from support.log import connected, stored, value
from support.raw_ws import RawClient, raw_client, text
from support.waiting import until
from support.ws import running
from ws_server.publishes import Known, Order
from ws_server.session import Session


def publish(content: int, topic: str = "noticias") -> bytes:
    return text(action="message", topic_name=topic, content=content, id=str(content))


async def outcome(client: RawClient, id_: int) -> str:
    """The code of the error, or "ok"."""
    reply = await client.until(lambda: next((t for t in client.texts if t.get("id") == str(id_)), None))
    return str(reply.get("code") or reply["result"])


async def test_behind_an_unavailable_all_is_unavailable_until_the_client_can_know(database: str) -> None:
    """Its pong to a ping behind the refusal tells; other topics and other sessions are not concerned."""
    async with running(database) as recado, connected(database) as holder:
        await recado.topic("noticias", "omar", "eva")
        await recado.topic("deporte", "omar")
        recado.node.appender._patience = 0.5
        topic_id = await value(database, "SELECT id FROM recado.topics WHERE name = 'noticias'")
        async with (
            raw_client(recado.url, f"/{recado.token('omar')}") as omar,
            raw_client(recado.url, f"/{recado.token('eva')}") as eva,
        ):
            for client in (omar, eva):
                await client.greeted()
            async with holder.transaction():
                await holder.execute("SELECT FROM recado.heads WHERE topic_id = $1 FOR UPDATE", topic_id)
                omar.write(publish(1), publish(2))
                assert [await outcome(omar, n) for n in (1, 2)] == ["unavailable"] * 2
            recado.node.appender._patience = 10.0
            eva.write(publish(3))
            assert await outcome(eva, 3) == "ok"

            # The refusal may still be on its way to the client: what it has sent meanwhile does not overtake.
            omar.write(publish(4), publish(5, "deporte"), text(action="topics"), publish(6))
            assert [await outcome(omar, n) for n in (4, 5, 6)] == ["unavailable", "ok", "unavailable"]
            refused = next(n for n, each in enumerate(omar._log) if isinstance(each, dict) and each.get("id") == "2")
            behind = await omar.until(lambda: [each for each in omar._log[refused:] if isinstance(each, bytes)])
            omar.pong(behind[0])
            omar.write(publish(1), publish(2), publish(4))
            omar.texts.clear()
            assert [await outcome(omar, n) for n in (1, 2, 4)] == ["ok"] * 3
        contents = [content for _, content in await stored(database, topic_id)]
        assert [content for content in contents if content != 3] == [1, 2, 4]


async def at_hand(session: Session, name: str, other_than: int = 0) -> bool:
    aim = session.aims.get(name)
    return aim is not None and aim.topic.id != other_than


async def test_a_name_that_could_not_be_asked_for_is_refused_however_it_stands_later(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the client can know: though it is at hand by now, written otherwise, or another topic's."""
    async with running(database) as recado:
        await recado.topic("noticias", "eva")
        async with raw_client(recado.url, f"/{recado.token('omar')}") as omar:
            await omar.greeted()
            [session] = recado.door.hub.sessions()
            actions = recado.node.actions
            with monkeypatch.context() as away:

                async def standing(*_: object) -> NoReturn:
                    raise Unavailable

                away.setattr(actions._store, "topic_view", standing)
                omar.write(publish(1), publish(2, "@eva"))
                assert [await outcome(omar, n) for n in (1, 2)] == ["unavailable"] * 2
            await actions.subscribe(Caller(session.user, session.caller.grants), session.user, "noticias")
            await until(lambda: at_hand(session, "noticias"))
            omar.write(publish(3), publish(4, "eva"), publish(5, "@eva"))
            assert [await outcome(omar, n) for n in (3, 4, 5)] == ["unavailable"] * 3


async def test_a_topic_made_again_is_refused_like_the_one_before(database: str) -> None:
    async with running(database) as recado, connected(database) as holder:
        await recado.topic("noticias", "omar")
        recado.node.appender._patience = 0.5
        async with raw_client(recado.url, f"/{recado.token('omar')}") as omar:
            await omar.greeted()
            [session] = recado.door.hub.sessions()
            first = session.aims["noticias"].topic.id
            async with holder.transaction():
                await holder.execute("SELECT FROM recado.heads WHERE topic_id = $1 FOR UPDATE", first)
                omar.write(publish(1))
                assert await outcome(omar, 1) == "unavailable"
            recado.node.appender._patience = 10.0
            await recado.node.actions.delete_topic(session.caller, "noticias")
            await recado.topic("noticias", "omar")
            await until(lambda: at_hand(session, "noticias", other_than=first))
            omar.write(publish(2))
            assert await outcome(omar, 2) == "unavailable"


def test_a_pong_to_an_older_ping_tells_nothing() -> None:
    order = Order()
    order.broke(3, 7)
    assert order.wants_ping(3)
    assert order.known(3) is None
    assert not order.wants_ping(4)
    assert order.known(4) == Known((7,))


def test_a_second_refusal_waits_for_no_second_pong() -> None:
    """What is refused before the pong came was sent before it."""
    order = Order()
    order.broke(3, "omar")
    order.broke(4, "omar")
    known = order.known(4)
    assert known is not None
    with pytest.raises(Unavailable):
        order.check("omar")
    order.mend(known)
    order.check("omar")
