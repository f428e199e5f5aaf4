"""A lane reads in order from its cursor, and knows four kinds of trouble."""

import asyncio
import itertools
from datetime import UTC, datetime
from typing import Any

import pytest

from bridges.lane import Lane
from bridges.outlet import Gone, OutgoingMessage, Undeliverable, Unreachable, original
from messaging.model import Changed, Content, Membership, Message, Topic
from messaging.node import Node
from messaging.store.bridges import State
from support.lanes import QUICK, System, publish, serving, working
from support.waiting import until


async def bridge(node: Node, like: str = "news.%") -> int:
    return await node.bridge_store.register("paper", "test", like)


async def topic(node: Node, name: str) -> None:
    await node.actions.know("ana")
    await node.store.create_topic(name, "public", await node.store.user("ana"))


async def test_in_order_from_the_first_message_of_a_topic_made_later(database: str) -> None:
    async with working(database) as node:
        system = System()
        async with serving(Lane(await bridge(node), system, node, schedule=QUICK)):
            await topic(node, "news.today")
            await publish(node, "news.today", *(str(n) for n in range(200)))
            await system.has(200)
        assert system.contents == [str(n) for n in range(200)]
        assert len({parcel.id for parcel in system.got}) == 200


async def test_a_topic_that_was_there_before_is_sent_from_now_on(database: str) -> None:
    async with working(database) as node:
        await topic(node, "news.old")
        await publish(node, "news.old", '"before"')
        system = System()
        async with serving(Lane(await bridge(node), system, node, schedule=QUICK)):
            await publish(node, "news.old", '"after"')
            await system.has(1)
        assert system.contents == ['"after"']


async def test_what_was_confirmed_is_not_sent_again_by_the_next_lane(database: str) -> None:
    async with working(database) as node:
        user_id = await bridge(node)
        await topic(node, "news.today")
        system = System()
        async with serving(Lane(user_id, system, node, schedule=QUICK)):
            await publish(node, "news.today", "1", "2", "3")
            await system.has(3)
        await node.settle()
        async with serving(Lane(user_id, system, node, schedule=QUICK)):
            await publish(node, "news.today", "4")
            await system.has(4)
        assert system.contents == ["1", "2", "3", "4"]


async def test_a_system_with_a_problem_gets_the_same_message_until_it_takes_it(database: str) -> None:
    async with working(database) as node:
        await topic(node, "news.today")
        user_id = await bridge(node)
        system, tried = System(), []

        def down(parcel: OutgoingMessage) -> None:
            tried.append((parcel.id, parcel.message.content))
            if len(tried) < 8:
                raise Unreachable("it is down")

        system.answer = down
        async with serving(Lane(user_id, system, node, schedule=QUICK)):
            await publish(node, "news.today", "1", "2")
            await system.has(2)
        assert len(set(tried[:8])) == 1, "no other message before it"
        assert system.contents == ["1", "2"]
        [report] = await node.bridge_store.reports()
        assert (report.state, report.attempts) == ("up", 0)


async def test_while_it_is_down_the_operator_sees_why_and_how_much_waits(database: str) -> None:
    async with working(database) as node:
        await topic(node, "news.today")
        user_id = await bridge(node)
        system, seen = System(), asyncio.Event()

        def down(parcel: OutgoingMessage) -> None:
            if parcel.tries == 3:
                seen.set()
            raise Unreachable("connection refused")

        system.answer = down
        async with serving(Lane(user_id, system, node, schedule=QUICK)):
            await publish(node, "news.today", "1", "2")
            await asyncio.wait_for(seen.wait(), 10)
        [report] = await node.bridge_store.reports("paper")
        assert (report.state, report.reason, report.lag) == ("waiting", "connection refused", 2)
        assert report.attempts >= 3 and report.oldest is not None


async def test_a_bad_message_is_buried_and_stops_nobody(database: str) -> None:
    async with working(database) as node:
        await topic(node, "news.today")
        user_id = await bridge(node)
        system = System()

        def picky(parcel: OutgoingMessage) -> None:
            if parcel.message.content == "2":
                raise Undeliverable("422: no number")

        system.answer = picky
        async with serving(Lane(user_id, system, node, schedule=QUICK)):
            await publish(node, "news.today", "1", "2", "3")
            await system.has(2)
            assert system.contents == ["1", "3"]
            [buried] = await node.bridge_store.buried("paper", 0, 10)
            letter = buried.letter
            assert (letter.content, letter.reason, letter.topic) == ("2", "422: no number", "news.today")
            system.answer = lambda parcel: None
            assert (await node.bridges.replay("paper", None)).count == 1
            await system.has(3)
        again = system.got[2]
        assert (again.message.content, again.topic, again.message.seq) == ("2", "news.today", 2)
        assert again.id not in {parcel.id for parcel in system.got[:2]}
        assert await node.bridge_store.buried("paper", 0, 10) == []


async def test_paused_it_keeps_and_resumed_it_goes_on_at_once(database: str) -> None:
    async with working(database) as node:
        await topic(node, "news.today")
        user_id = await bridge(node)
        system = System()
        await node.bridges.pause("paper", True)
        async with serving(Lane(user_id, system, node, schedule=QUICK)):
            await publish(node, "news.today", "1", "2")
            await node.bridges.pause("paper", False)
            await system.has(2)
        assert system.contents == ["1", "2"]


async def test_who_wants_no_more_is_paused_and_what_comes_is_kept(database: str) -> None:
    async with working(database) as node:
        await topic(node, "news.today")
        user_id = await bridge(node)
        system, gone = System(), asyncio.Event()

        def leaving(parcel: OutgoingMessage) -> None:
            gone.set()
            raise Gone("410")

        system.answer = leaving
        async with serving(Lane(user_id, system, node, schedule=QUICK)):
            await publish(node, "news.today", "1")
            await asyncio.wait_for(gone.wait(), 10)
            await until(node.bridge_store.reports, lambda found: found[0].paused)
            system.answer = lambda parcel: None
            await publish(node, "news.today", "2")
            await node.bridges.pause("paper", False)
            await system.has(2)
        assert system.contents == ["1", "2"]


async def test_a_pause_between_tries_ends_when_somebody_asks(database: str) -> None:
    """With pauses of minutes: only the poke can have ended them."""
    async with working(database) as node:
        await topic(node, "news.today")
        user_id = await bridge(node)
        system, tried = System(), asyncio.Event()

        def down(parcel: OutgoingMessage) -> None:
            tried.set()
            if parcel.tries == 0:
                raise Unreachable("down")

        system.answer = down
        async with serving(Lane(user_id, system, node)):
            await publish(node, "news.today", "1")
            await asyncio.wait_for(tried.wait(), 10)
            while not system.got:
                node.bus.tell(Changed(user_id))
                await asyncio.sleep(0.01)


async def test_a_forgotten_bridge_ends_its_lane(database: str) -> None:
    async with working(database) as node:
        user_id = await bridge(node)
        lane = asyncio.ensure_future(Lane(user_id, System(), node).run())
        await node.bridges.forget("paper")
        await asyncio.wait_for(lane, 10)


async def test_what_expired_first_is_a_dead_letter_not_silence(database: str) -> None:
    async with working(database) as node:
        await topic(node, "news.today")
        user_id = await bridge(node)
        await publish(node, "news.today", "1", "2", "3")
        async with node.store.pool.connection() as connection:
            await connection.execute("DELETE FROM recado.messages WHERE seq <= 2")
        system = System()
        async with serving(Lane(user_id, system, node, schedule=QUICK)):
            await system.has(1)
        assert system.contents == ["3"]
        [buried] = await node.bridge_store.buried("paper", 0, 10)
        assert buried.letter.content is None and "1 to 2" in buried.letter.reason


async def test_a_topic_that_never_ends_starves_no_other(database: str) -> None:
    """Page by page: between two pages of one topic, every other that has something gets its turn."""
    async with working(database) as node:
        for name in ("news.flood", "news.drop"):
            await topic(node, name)
        user_id = await bridge(node)
        big = '"' + "x" * 30_000 + '"'
        system = System()
        await publish(node, "news.flood", *[big] * 9)
        await publish(node, "news.drop", '"drop"')
        async with serving(Lane(user_id, system, node, schedule=QUICK)):
            await system.has(10)
        assert system.contents.index('"drop"') < 9


async def test_a_database_that_goes_away_costs_time_and_no_message(database: str) -> None:
    async with working(database) as node:
        await topic(node, "news.today")
        user_id = await bridge(node)
        system = System()
        async with serving(Lane(user_id, system, node, schedule=QUICK)):
            for n in range(4):
                await publish(node, "news.today", *(str(20 * n + k) for k in range(20)))
                async with node.store.pool.connection() as connection:
                    await connection.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
            await system.has(80)
        assert list(dict.fromkeys(system.contents)) == [str(n) for n in range(80)]


async def test_what_fails_for_long_is_failing_until_it_is_up(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("messaging.bridge.health.FAILING_AFTER", 0.1)
    async with working(database) as node:
        await topic(node, "news.today")
        user_id = await bridge(node)
        system, failed_on, states = System(), asyncio.Event(), []
        report = node.bridge_store.report

        async def noted(user_id: int, state: State, *rest: Any) -> None:
            states.append(state)
            if states.count("failing") > 20:  # for longer than it took to become so
                failed_on.set()
            await report(user_id, state, *rest)

        def down(parcel: OutgoingMessage) -> None:
            raise Unreachable("down")

        monkeypatch.setattr(node.bridge_store, "report", noted)
        system.answer = down
        async with serving(Lane(user_id, system, node, schedule=QUICK)):
            await publish(node, "news.today", "1")
            await asyncio.wait_for(failed_on.wait(), 10)
            system.answer = lambda parcel: None
            await system.has(1)
        assert [state for state, _ in itertools.groupby(states)] == ["waiting", "failing", "up"]


async def test_topics_made_all_the_time_leave_time_for_sending(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With many topics it takes long to read what a bridge belongs to: that is not done between any two messages."""
    async with working(database) as node:
        await topic(node, "news.today")
        user_id = await bridge(node)
        system, memberships, looks = System(), node.store.memberships, 0

        async def slowly(user_id: int) -> list[Membership]:
            nonlocal looks
            looks += 1
            await asyncio.sleep(0.05)
            return await memberships(user_id)

        monkeypatch.setattr(node.store, "memberships", slowly)
        system.answer = lambda parcel: node.bus.tell(Changed(user_id))
        async with serving(Lane(user_id, system, node, schedule=QUICK)):
            for n in range(20):
                await topic(node, f"news.{n}")
                await publish(node, "news.today", f'"today {n}"')
                await publish(node, f"news.{n}", f'"first of {n}"')
            await system.has(40)
        assert looks <= 5, "of 20 changes, each told at once"


async def test_after_a_restore_a_lane_sends_what_comes_from_its_restored_cursor_on(database: str) -> None:
    """It knows a position beyond that; what takes those seqs now was never sent."""
    async with working(database) as node:
        system = System()
        async with serving(Lane(await bridge(node), system, node, schedule=QUICK)):
            await topic(node, "news.today")
            await publish(node, "news.today", "1", "2", "3")
            await system.has(3)
            await node.cursors.flush()
            async with node.store.pool.connection() as line:
                await line.execute("UPDATE recado.heads SET last_seq = 1 WHERE last_seq = 3")
                await line.execute("DELETE FROM recado.messages WHERE seq > 1")
                await line.execute("UPDATE recado.cursors SET seq = 1 WHERE seq = 3")
            await node.store.epochs.restored(node.store.epochs.identity)
            await publish(node, "news.today", '"another 2"')
            await system.has(4)
        assert system.contents == ["1", "2", "3", '"another 2"']


def test_the_id_of_a_message_outlives_a_renumbering_of_its_topic() -> None:
    said = Message(5, "omar", Content("1"), datetime.now(UTC))
    assert "7.5" == original(Topic(7, "noticias", "public", "omar"), said)
    assert "3.5" == original(Topic(7, "noticias", "public", "omar", origin=3), said)
