"""Rule 4: a cursor moves only on confirmation, and only upwards.

The clients here answer no ping by themselves. Whether a cursor moved is read from the database after a flush, so that
"it did not move" is an observation and not a guess about time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from support.log import draft, rows
from support.raw_ws import PONG, RawClient, frame, raw_client, text
from support.waiting import until
from support.ws import Running, running

TOPIC = "noticias"


@asynccontextmanager
async def topic_of_two(database: str) -> AsyncIterator[Running]:
    """A door, and a topic of diego, who reads, and omar, who writes."""
    async with running(database) as recado:
        await recado.topic(TOPIC, "omar", "diego")
        yield recado


@asynccontextmanager
async def reader(recado: Running, query: str = "", user: str = "diego") -> AsyncIterator[RawClient]:
    async with raw_client(recado.url, f"/{recado.token(user)}{query}") as client:
        await client.greeted()
        yield client


async def publish(recado: Running, *contents: Any, topic: str = TOPIC) -> None:
    """Publish as omar, who is not there: these are not his session's own messages."""
    standing = await recado.node.store.topic_view(topic)
    assert standing is not None
    told = _Told(len(contents))
    for content in contents:
        recado.node.appender.submit(draft(standing.topic.id, content, sender="omar"), told)
    await told.all


class _Told:
    def __init__(self, count: int) -> None:
        self.left = count
        self.all: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_result(self, context: Any, outcome: Any) -> None:
        self.left -= 1
        if not self.left:
            self.all.set_result(None)

    def on_batch_end(self) -> None:
        pass


async def cursors(recado: Running, user: str = "diego", topic: str = TOPIC, *, flush: bool = True) -> dict[str, int]:
    """By device, what is stored."""
    if flush:
        await recado.node.cursors.flush()
    found = await rows(
        recado.node._dsn,
        "SELECT c.device, c.seq FROM recado.cursors AS c JOIN recado.topics AS t ON t.id = c.topic_id"
        " JOIN recado.memberships AS m ON m.topic_id = t.id AND m.id = c.membership_id"
        " JOIN recado.users AS u ON u.id = m.user_id WHERE u.name = $1 AND t.name = $2",
        user, topic,
    )  # fmt: skip
    return dict(found)


async def moved(recado: Running, client: RawClient, **more: Any) -> dict[str, int]:
    """The cursors, once all that the client has sent so far was handled."""
    await client.handled()
    return await cursors(recado, **more)


# --- pongs -----------------------------------------------------------------------------------------


async def test_the_pong_of_our_ping_moves_the_cursor(database: str) -> None:
    async with topic_of_two(database) as recado, reader(recado) as diego:
        await publish(recado, "a", "b")
        ping = await diego.ping_behind(2)
        assert [each["seq"] for each in diego.texts[1:]] == [1, 2]  # what is confirmed came before the ping
        assert await moved(recado, diego) == {"": 0}
        diego.pong(ping)
        assert await moved(recado, diego) == {"": 2}


async def test_nothing_moves_without_a_pong(database: str) -> None:
    """What was written, read by the peer's kernel, even replied to in other ways, is not confirmed: it comes again."""
    async with topic_of_two(database) as recado:
        async with reader(recado) as diego:
            await publish(recado, "a")
            await diego.ping_behind(1)
            diego.write(text(action="message", topic_name=TOPIC, content="thanks", id="1", ref="m"))
            await diego.answer("m")
            assert await moved(recado, diego) == {"": 0}
            diego.reset()
        async with reader(recado) as diego:
            assert (await diego.message(1))["content"] == "a"
            assert await cursors(recado) == {"": 0}


async def test_other_pongs_confirm_nothing(database: str) -> None:
    """Before the ping, unsolicited; after it, with another payload, a part of it, none; after the right one, again."""
    async with topic_of_two(database) as recado, reader(recado) as diego:
        diego.pong(b"")
        diego.pong(bytes(8))
        await publish(recado, "a")
        await diego.message(1)
        for payload in (b"", b"recado", bytes(8)):
            diego.pong(payload)
        assert await moved(recado, diego) == {"": 0}
        ping = await diego.ping_behind(1)
        assert len(ping) >= 8
        flipped = bytes([ping[0] ^ 1]) + ping[1:]
        for payload in (b"", ping[:-1], ping + b"x", ping[:4], flipped, ping[::-1], ping * 2):
            diego.pong(payload)
        assert await moved(recado, diego) == {"": 0}
        diego.pong(ping)
        assert await moved(recado, diego) == {"": 1}

        await publish(recado, "b")
        second = await diego.ping_behind(2)
        assert second != ping
        diego.pong(ping)  # the first one's, doubled
        assert await moved(recado, diego) == {"": 1}
        diego.pong(second)
        assert await moved(recado, diego) == {"": 2}


async def test_a_late_pong_confirms_its_own_record_alone(database: str) -> None:
    """What was sent after the ping, and even read by then, is the next ping's. Only one ping is outstanding."""
    async with topic_of_two(database) as recado, reader(recado) as diego, reader(recado, user="omar") as omar:
        await recado.topic("deporte", "omar", "diego")
        await publish(recado, "a")
        first = await diego.ping_behind(1)
        await publish(recado, "b", "c")
        await publish(recado, "x", topic="deporte")
        await diego.message(3)
        await diego.until(lambda: any(each.get("topic_name") == "deporte" for each in diego.texts))
        await omar.ping_behind(3)  # whoever is pinged is pinged by now
        await diego.handled()
        assert diego.pings[-1] == first

        diego.pong(first)
        assert await moved(recado, diego) == {"": 1}
        assert await cursors(recado, topic="deporte") == {"": 0}
        second = await diego.ping_behind(3)
        diego.pong(second)
        assert await moved(recado, diego) == {"": 3}
        assert await cursors(recado, topic="deporte") == {"": 1}


async def test_the_pong_of_a_chunk_confirms_the_chunk(database: str) -> None:
    """Who was away and is served from the store: piece by piece, each confirmed before the next is sent."""
    async with topic_of_two(database) as recado:
        await publish(recado, *("x" * 1000 for _ in range(60)))
        async with reader(recado) as diego:
            number = confirmed = 0
            while confirmed < 60:
                number += 1
                ping = await diego.ping(number)
                read = [each["seq"] for each in diego.texts if each["action"] == "message"]
                assert read == list(range(1, len(read) + 1))
                assert await moved(recado, diego) == {"": confirmed}
                diego.pong(ping)
                confirmed = len(read)
                assert await moved(recado, diego) == {"": confirmed}
            assert number > 1


async def test_a_gap_is_confirmed_like_a_message(database: str) -> None:
    async with topic_of_two(database) as recado:
        await publish(recado, "a", "b", "c")
        await rows(database, "DELETE FROM recado.messages WHERE seq <= 2 RETURNING 1")
        async with reader(recado) as diego:
            ping = await diego.ping_behind(3)
            gap, message = diego.texts[1:]
            assert (gap["action"], gap["from"], gap["to"], message["seq"]) == ("gap", 1, 2, 3)
            assert await moved(recado, diego) == {"": 0}
            diego.pong(ping)
            assert await moved(recado, diego) == {"": 3}


# --- acks ------------------------------------------------------------------------------------------


async def test_from_the_first_ack_on_pongs_move_nothing(database: str) -> None:
    async with topic_of_two(database) as recado, reader(recado) as diego:
        await publish(recado, "a")
        diego.pong(await diego.ping_behind(1))
        assert await moved(recado, diego) == {"": 1}  # so far it is a pong that moves
        await publish(recado, "b", "c", "d")
        ping = await diego.ping_behind(4)
        diego.write(text(action="ack", topic_name=TOPIC, seq=2))
        diego.pong(ping)  # of a ping that was in flight, with 3 and 4 in its record
        assert await moved(recado, diego) == {"": 2}
        await publish(recado, "e")
        diego.pong(await diego.ping_behind(5))  # pings go on: they tell that the peer is there
        assert await moved(recado, diego) == {"": 2}
        diego.write(text(action="ack", topic_name=TOPIC, seq=5))
        assert await moved(recado, diego) == {"": 5}


async def test_an_ack_that_waits_its_turn_counts_from_its_arrival(database: str) -> None:
    """Requests that need the database stand before it; the pong behind it moves nothing any more."""
    async with topic_of_two(database) as recado, reader(recado) as diego:
        await publish(recado, "a", "b")
        ping = await diego.ping_behind(2)
        waiting = [text(action="history", topic_name=TOPIC) for _ in range(20)]
        diego.write(*waiting, text(action="ack", topic_name=TOPIC, seq=1), frame(PONG, ping))
        assert await moved(recado, diego) == {"": 1}


async def test_a_refused_ack_ends_the_first_tier_as_well(database: str) -> None:
    """Who acknowledges by itself does not want pongs to do it, even if it counts wrongly."""
    async with topic_of_two(database) as recado, reader(recado) as diego:
        await publish(recado, "a")
        ping = await diego.ping_behind(1)
        diego.write(text(action="ack", topic_name=TOPIC, seq=9, ref="r"), frame(PONG, ping))
        assert (await diego.answer("r"))["code"] == "bad_request"
        assert await moved(recado, diego) == {"": 0}


async def test_a_connection_that_acknowledges_from_the_start(database: str) -> None:
    async with topic_of_two(database) as recado:
        async with reader(recado, "?ack=explicit") as diego:
            await publish(recado, "a", "b")
            diego.pong(await diego.ping_behind(2))
            assert await moved(recado, diego) == {"": 0}
            diego.write(text(action="ack", topic_name=TOPIC, seq=1))
            assert await moved(recado, diego) == {"": 1}
        async with reader(recado, "?ack=explicit") as diego:
            assert (await diego.message(2))["content"] == "b"


async def test_an_ack_above_what_the_connection_was_sent_moves_nothing(database: str) -> None:
    async with topic_of_two(database) as recado, reader(recado) as diego:
        await publish(recado, "a", "b")
        await diego.message(2)
        for seq in (3, 2**53 - 1):
            diego.write(text(action="ack", topic_name=TOPIC, seq=seq, ref=f"r{seq}"))
            refusal = await diego.answer(f"r{seq}")
            assert (refusal["action"], refusal["code"], refusal["topic_name"]) == ("error", "bad_request", TOPIC)
        for none in (0, -1, 2**53, 1.5, "1", None):
            diego.write(text(action="ack", topic_name=TOPIC, seq=none, ref=f"r{none}"))
            assert (await diego.answer(f"r{none}"))["code"] == "bad_request"
        diego.write(text(action="ack", topic_name="deporte", seq=1, ref="x"))
        assert (await diego.answer("x"))["code"] == "unknown_topic"
        assert await moved(recado, diego) == {"": 0}
        diego.write(text(action="ack", topic_name=TOPIC, seq=2))
        assert await moved(recado, diego) == {"": 2}


async def test_an_ack_of_what_is_in_the_topic_but_was_not_sent_is_refused(database: str) -> None:
    """The reader takes one chunk, and answers no ping: what lies behind it is in the log alone."""
    async with topic_of_two(database) as recado:
        await publish(recado, *("x" * 1000 for _ in range(200)))
        async with reader(recado) as diego:
            await diego.ping(1)
            sent = max(each["seq"] for each in diego.texts if each["action"] == "message")
            assert sent < 200
            for seq in (sent + 1, 200):
                diego.write(text(action="ack", topic_name=TOPIC, seq=seq, ref=f"r{seq}"))
                assert (await diego.answer(f"r{seq}"))["code"] == "bad_request"
            assert await moved(recado, diego) == {"": 0}
            diego.write(text(action="ack", topic_name=TOPIC, seq=sent))
            assert await moved(recado, diego) == {"": sent}


@pytest.mark.parametrize("answered", [True, False], ids=["behind the answer", "in one piece with the handshake"])
async def test_an_ack_right_behind_the_handshake_is_judged_once_the_session_is_open(
    database: str, answered: bool
) -> None:
    async with topic_of_two(database) as recado:
        await publish(recado, *("x" * 1000 for _ in range(200)))
        ack = text(action="ack", topic_name=TOPIC, seq=200, ref="early")
        async with raw_client(recado.url, f"/{recado.token('diego')}", *([] if answered else [ack])) as diego:
            diego.write(*([ack] if answered else []))
            assert (await diego.answer("early"))["code"] == "bad_request"
            assert await moved(recado, diego) == {"": 0}


async def test_acks_are_cumulative_and_never_go_back(database: str) -> None:
    async with topic_of_two(database) as recado, reader(recado) as diego:
        await publish(recado, *range(5))
        await diego.message(5)
        for seq, cursor in ((1, 1), (4, 4), (2, 4), (4, 4), (3, 4), (5, 5), (1, 5)):
            diego.write(text(action="ack", topic_name=TOPIC, seq=seq))
            assert await moved(recado, diego) == {"": cursor}


# --- devices ---------------------------------------------------------------------------------------


async def test_each_device_has_its_cursor(database: str) -> None:
    async with topic_of_two(database) as recado:
        async with reader(recado, "?device=phone") as phone, reader(recado, "?device=desk") as desk:
            await publish(recado, "a")
            phone.pong(await phone.ping_behind(1))
            await desk.ping_behind(1)
            assert await moved(recado, phone) == {"phone": 1, "desk": 0}
        async with reader(recado, "?device=desk") as desk:
            assert (await desk.message(1))["content"] == "a"
        async with reader(recado, "?device=phone") as phone:
            await publish(recado, "b")
            assert [each["seq"] for each in [await phone.message(2)]] == [2]
            assert [each["seq"] for each in phone.texts if each["action"] == "message"] == [2]


async def test_two_connections_of_one_device_move_it_upwards_only(database: str) -> None:
    """Each by its own tier: the one that lags behind, by pong or by ack, takes nothing back."""
    async with topic_of_two(database) as recado, reader(recado) as slow, reader(recado) as fast:
        await publish(recado, "a")
        late = await slow.ping_behind(1)
        await publish(recado, "b", "c")
        await fast.message(3)
        fast.write(text(action="ack", topic_name=TOPIC, seq=3))
        assert await moved(recado, fast) == {"": 3}
        slow.pong(late)
        assert await moved(recado, slow) == {"": 3}
        slow.write(text(action="ack", topic_name=TOPIC, seq=2))
        assert await moved(recado, slow) == {"": 3}


async def test_a_connection_that_lags_takes_nothing_back_within_one_flush(database: str) -> None:
    async with topic_of_two(database) as recado, reader(recado) as slow, reader(recado) as fast:
        await publish(recado, "a")
        late = await slow.ping_behind(1)
        await publish(recado, "b")
        await fast.message(2)
        fast.write(text(action="ack", topic_name=TOPIC, seq=2))
        await fast.handled()
        slow.pong(late)
        assert await moved(recado, slow) == {"": 2}


# --- on the way to the store -----------------------------------------------------------------------


async def test_a_moved_cursor_is_stored_within_half_a_second(database: str) -> None:
    """Nobody helps. The best of five, for the machine may be busy."""
    loop = asyncio.get_running_loop()
    took = []
    async with topic_of_two(database) as recado, reader(recado) as diego:
        for n in range(1, 6):
            await publish(recado, n)
            ping = await diego.ping_behind(n)
            began = loop.time()
            diego.pong(ping)

            async def stored(n: int = n) -> bool:
                return await cursors(recado, flush=False) == {"": n}

            await until(stored)
            took.append(loop.time() - began)
    assert min(took) <= 0.5


@pytest.mark.parametrize("tier", ["pong", "ack"])
async def test_cursors_are_stored_before_the_close_frame_goes_out(database: str, tier: str) -> None:
    """Who sees the close frame finds the cursor in the store: a new connection, anywhere, starts behind it."""
    async with topic_of_two(database) as recado, reader(recado) as diego:
        await publish(recado, "a")
        ping = await diego.ping_behind(1)
        await until(lambda: idle(recado))
        confirmation = frame(PONG, ping) if tier == "pong" else text(action="ack", topic_name=TOPIC, seq=1)
        diego.write(confirmation, text(action="disconnect"))
        await diego.until(lambda: diego.closed)
        assert diego.closed == 1000
        assert await cursors(recado, flush=False) == {"": 1}


async def test_cursors_are_stored_before_a_restart_closes(database: str) -> None:
    async with topic_of_two(database) as recado, reader(recado) as diego:
        await publish(recado, "a")
        ping = await diego.ping_behind(1)
        await until(lambda: idle(recado))
        diego.pong(ping)
        await diego.handled()
        draining = asyncio.create_task(recado.door.drain())
        await diego.until(lambda: diego.closed)
        assert diego.closed == 4012
        assert await cursors(recado, flush=False) == {"": 1}
        diego.reset()
        await draining


async def idle(recado: Running) -> bool:
    """No flush is near: one that is under way would hide that there is none before the close frame."""
    return not recado.node.cursors._some.is_set()


async def test_who_comes_back_on_this_node_starts_where_it_ended(database: str) -> None:
    """Even where it simply vanished right after its pong, before any flush."""
    async with topic_of_two(database) as recado:
        async with reader(recado) as diego:
            await publish(recado, "a")
            diego.pong(await diego.ping_behind(1))
            await diego.handled()
            diego.reset()
        async with reader(recado) as diego:
            await publish(recado, "b")
            await diego.message(2)
            assert [each["seq"] for each in diego.texts if each["action"] == "message"] == [2]


async def test_confirmations_wait_while_the_database_is_away(database: str) -> None:
    """A failed flush loses none of them, and ends nothing."""
    async with topic_of_two(database) as recado, reader(recado) as diego:
        await publish(recado, "a", "b")
        ping = await diego.ping_behind(2)
        await rows(
            database,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        diego.pong(ping)

        async def stored() -> bool:
            return await cursors(recado, flush=False) == {"": 2}

        await until(stored)


async def test_leaving_ends_the_cursor_and_nothing_brings_it_back(database: str) -> None:
    """A confirmation that comes after the membership has ended is of nothing; joining again starts at the head."""
    async with topic_of_two(database) as recado, reader(recado) as diego:
        await publish(recado, "a", "b")
        ping = await diego.ping_behind(2)
        diego.write(text(action="unsubscribe", topic_name=TOPIC, ref="u"), frame(PONG, ping))
        await diego.answer("u")
        assert await moved(recado, diego) == {}
        await publish(recado, "c")
        diego.write(text(action="subscribe", topic_name=TOPIC, ref="s"))
        await diego.answer("s")
        assert await cursors(recado) == {"": 3}
        await publish(recado, "d")
        assert (await diego.message(4))["content"] == "d"
        assert await cursors(recado) == {"": 3}
