"""Rule 10: every append's outcome is known, or nothing is sent behind it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from messaging.log.housekeeping import Housekeeping
from messaging.settings.settings import Settings
from messaging.store.append import WriterForgotten
from support.log import HOLD_COMMIT, Desk, connected, desk, draft, rows, run, stored, told, value, waits_for_lock
from support.postgres_proxy import Cut, proxied
from support.spare_postgres import Spare, spare_postgres
from support.waiting import until

SOON = 0.3  # seconds after which a line without an answer is given up, where a test waits for that


@pytest.fixture(scope="module")
async def spare() -> AsyncIterator[Spare]:
    async with spare_postgres() as found:
        yield found


@asynccontextmanager
async def stopped(pid: int) -> AsyncIterator[None]:
    """A backend that does nothing any more, as on a machine that hangs; its line stays open."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def commits_held(dsn: str) -> AsyncIterator[None]:
    """No append commits meanwhile."""
    async with connected(dsn) as holder:
        await holder.execute("SELECT pg_advisory_lock(42)")
        yield
        await holder.execute("SELECT pg_advisory_unlock(42)")


async def backend(node: Desk) -> int:
    """The process that serves this node's appends."""
    connection = await node.writer._connected()
    return int(connection.get_server_pid())


async def fence(node: Desk) -> int:
    return int(await value(node.dsn, "SELECT fence FROM recado.writers WHERE writer = $1", node.writer._writer))


async def raised(node: Desk, above: int = 0) -> bool:
    return await fence(node) > above


# --- the answer is not heard -----------------------------------------------------------------------


@pytest.mark.parametrize("cut", ["after", "before"])
async def test_an_append_without_an_answer_is_asked_for(database: str, cut: Cut) -> None:
    """Committed: receipts. Not committed: appended again. In both cases stored once, with and without a key."""
    async with proxied(database) as (dsn, proxy), desk(dsn) as ana:
        topic_id = await ana.topic("noticias")
        assert await ana.publish(topic_id, "before") == [1]
        proxy.cut, seen = cut, proxy.seen

        drafts = [draft(topic_id, "a", "a"), draft(topic_id, "b"), draft(topic_id, "a", "a")]
        assert await ana.publish_all(drafts) == [2, 3, 2]
        assert (proxy.cuts, proxy.seen - seen) == (1, 1 if cut == "after" else 2)
        assert await ana.publish(topic_id, "later") == [4]
        assert await stored(database, topic_id) == [(1, "before"), (2, "a"), (3, "b"), (4, "later")]
        assert [(notice.first, notice.last) for notice in ana.notices] == [(1, 1), (2, 3), (4, 4)]


async def test_of_a_batch_that_stored_nothing_each_hears_why(database: str) -> None:
    async with proxied(database) as (dsn, proxy), desk(dsn) as ana:
        topic_id = await ana.topic("noticias")
        await ana.store.know(["omar"])
        omar = (await ana.store.user("omar")).id
        assert await ana.publish(topic_id, "old", key="old") == [1]
        proxy.cut = "after"
        refused = [
            draft(topic_id, "old", "old"), draft(topic_id, "b", "old"), draft(topic_id, "c", member=omar),
            draft(10**9, "d"),
        ]  # fmt: skip
        assert await ana.publish_all(refused) == [1, "conflict", "not_a_member", "unknown_topic"]
        assert proxy.cuts == 1


@pytest.mark.parametrize("what", ["purged", "deleted"])
async def test_what_was_stored_and_has_gone_since_was_stored(database: str, what: str) -> None:
    """The log does not tell any more; the answer does."""
    async with proxied(database) as (dsn, proxy), desk(dsn) as ana:
        topic_id = await ana.topic("noticias")
        assert await ana.publish(topic_id, "first") == [1]
        proxy.statement, proxy.cut = b"recado.append(", "after"
        await run(
            database,
            "CREATE FUNCTION gone() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            + ("DELETE FROM recado.messages;" if what == "purged" else f"PERFORM recado.delete_topic({topic_id});")
            + " RETURN NULL; END $$;"
            "CREATE TRIGGER gone AFTER UPDATE ON recado.writers FOR EACH STATEMENT EXECUTE FUNCTION gone()",
        )
        assert await ana.publish(topic_id, "a") == [2]
        assert proxy.cuts == 1
        assert await value(database, "SELECT count(*) FROM recado.messages WHERE seq = 2") == (what == "deleted")


async def test_committed_and_crashed(spare: Spare) -> None:
    """The server dies after the COMMIT and before its answer has arrived."""
    dsn = await spare.database()
    async with proxied(dsn) as (line, proxy), desk(line) as ana:
        topic_id = await ana.topic("noticias")
        assert await ana.publish(topic_id, "before") == [1]
        proxy.cut = "after"
        proxy.gate.clear()
        answer = ana.submit(draft(topic_id, "a"))
        await proxy.at_gate.wait()
        pid = await backend(ana)
        proxy.gate.set()
        await until(lambda: has_cut(proxy))
        await spare.kill(pid) if await alive(dsn, pid) else await spare.crash()
        assert told(await answer) == 2
        assert await stored(dsn, topic_id) == [(1, "before"), (2, "a")]


async def has_cut(proxy: Any) -> bool:
    return bool(proxy.cuts)


async def alive(dsn: str, pid: int) -> bool:
    return bool(await value(dsn, "SELECT count(*) FROM pg_stat_activity WHERE pid = $1", pid))


# --- the statement is late -------------------------------------------------------------------------


async def test_a_statement_that_had_not_begun_is_refused_when_it_comes(database: str) -> None:
    """Its line was given up, its batch appended again on another: when its server wakes up, it stores nothing."""
    async with desk(database, answer_time=SOON) as ana:
        topic_id = await ana.topic("noticias")
        assert await ana.publish(topic_id, "before") == [1]
        pid = await backend(ana)
        async with stopped(pid):
            assert await ana.publish(topic_id, "a") == [2]
            assert await ana.publish(topic_id, "b") == [3]
        await until(lambda: ended(database, pid))
        assert await stored(database, topic_id) == [(1, "before"), (2, "a"), (3, "b")]


async def ended(dsn: str, pid: int) -> bool:
    return not await alive(dsn, pid)


async def test_a_statement_that_had_begun_is_waited_for(database: str) -> None:
    """It holds its writer's row: nobody is told anything, nothing is sent behind it, before it has ended."""
    await run(database, HOLD_COMMIT)
    async with desk(database, answer_time=SOON) as ana:
        topic_id = await ana.topic("noticias")
        pid = await backend(ana)
        async with commits_held(database):
            answer = ana.submit(draft(topic_id, "a"))
            assert await waits_for_lock(database, "recado.append") == pid
            async with stopped(pid):
                await waits_for_lock(database, "recado.raise_fence")
                behind = ana.submit(draft(topic_id, "b"))
        assert [told(each) for each in await asyncio.gather(answer, behind)] == [1, 2]
        assert await stored(database, topic_id) == [(1, "a"), (2, "b")]


async def test_what_has_no_outcome_in_time_is_unavailable_and_its_order_holds(database: str) -> None:
    """Whoever waits behind it is told so too; when it was stored after all, its readers get it."""
    await run(database, HOLD_COMMIT)
    async with desk(database, answer_time=SOON, patience=1.0) as ana:
        topic_id = await ana.topic("noticias")
        async with commits_held(database):
            first = ana.submit(draft(topic_id, "a", "a"))
            await waits_for_lock(database, "recado.raise_fence")
            behind = ana.submit(draft(topic_id, "b"))
            assert [told(each) for each in await asyncio.gather(first, behind)] == ["unavailable"] * 2
            assert not ana.notices
        assert await ana.publish(topic_id, "a", key="a") == [1]
        assert await ana.publish(topic_id, "c") == [2]
        assert await stored(database, topic_id) == [(1, "a"), (2, "c")]
        assert [(notice.first, notice.last) for notice in ana.notices] == [(1, 1), (2, 2)]


async def test_an_append_waits_for_its_standby_and_is_not_repeated(spare: Spare) -> None:
    """It is in the log of this server, but not acknowledged: asking waits as long as it does."""
    dsn = await spare.database()
    async with desk(dsn, answer_time=SOON, patience=1.0) as ana:
        topic_id = await ana.topic("noticias")
        assert await ana.publish(topic_id, "before") == [1]
        await spare.set("synchronous_standby_names", "*")
        try:
            assert await ana.publish(topic_id, "a", key="a") == ["unavailable"]
        finally:
            await spare.set("synchronous_standby_names", "")
        assert await ana.publish(topic_id, "a", key="a") == [2]
        assert await ana.publish(topic_id, "b") == [3]
        assert await stored(dsn, topic_id) == [(1, "before"), (2, "a"), (3, "b")]


# --- the fence -------------------------------------------------------------------------------------


async def test_a_raise_without_an_answer_is_made_again(database: str) -> None:
    async with proxied(database) as (dsn, proxy), desk(dsn) as ana:
        topic_id = await ana.topic("noticias")
        assert await ana.publish(topic_id, "before") == [1]
        proxy.cut = "after"
        answer = ana.submit(draft(topic_id, "a"))
        await until(lambda: has_cut(proxy))
        proxy.statement, proxy.cut = b"recado.raise_fence(", "after"
        assert told(await answer) == 2
        assert await ana.publish(topic_id, "b") == [3]
        assert await stored(database, topic_id) == [(1, "before"), (2, "a"), (3, "b")]


async def test_a_raise_that_is_executed_late_costs_a_try_and_no_message(database: str) -> None:
    async with desk(database) as ana:
        topic_id = await ana.topic("noticias")
        assert await ana.publish(topic_id, "a") == [1]
        await value(database, "SELECT recado.raise_fence(0, $1, 0, 1)", ana.writer._writer)
        assert await ana.publish(topic_id, "b") == [2]
        assert await fence(ana) == ana.writer._fence == 2
        assert await stored(database, topic_id) == [(1, "a"), (2, "b")]


async def test_a_database_that_knows_an_older_fence_is_raised_above_ours(database: str) -> None:
    """As a standby does that became the primary before the last raise had reached it."""
    async with desk(database) as ana:
        topic_id = await ana.topic("noticias")
        await ana.publish(topic_id, "a")
        for _ in range(2):
            await value(database, "SELECT recado.raise_fence(0, $1, 0, 1)", ana.writer._writer)
            await ana.publish(topic_id, "a")
        before = ana.writer._fence
        await run(database, "UPDATE recado.writers SET fence = 0")
        assert await ana.publish(topic_id, "b") == [4]
        assert await fence(ana) == ana.writer._fence == before + 1
        assert [content for _, content in await stored(database, topic_id)] == ["a", "a", "a", "b"]


async def test_a_writer_whose_row_has_gone_stops_its_process(database: str) -> None:
    store = None
    with pytest.raises(ExceptionGroup) as failure:
        async with desk(database) as ana:
            store = ana.store
            topic_id = await ana.topic("noticias")
            assert await ana.publish(topic_id, "a") == [1]
            await run(database, "DELETE FROM recado.writers")
            ana.submit(draft(topic_id, "b"))
            await asyncio.wait([ana.work])
            ana.appender._idle.set()
    assert store is not None
    assert failure.value.subgroup(WriterForgotten) is not None
    assert await value(database, "SELECT count(*) FROM recado.messages") == 1


# --- beside others ---------------------------------------------------------------------------------


async def test_the_line_of_held_topics_has_an_outcome_of_its_own(database: str) -> None:
    """Its answer is lost while the main line goes on."""
    async with proxied(database) as (dsn, proxy), desk(dsn) as ana, connected(database) as holder:
        held, free = await ana.topic("held"), await ana.topic("free")
        async with holder.transaction():
            await holder.execute("SELECT FROM recado.heads WHERE topic_id = $1 FOR UPDATE", held)
            answers = [ana.submit(draft(held, n)) for n in range(3)]
            assert await ana.publish(free, "a") == [1]
            proxy.cut = "after"
        assert [told(each) for each in await asyncio.gather(*answers)] == [1, 2, 3]
        assert await ana.publish(free, "b") == [2]
        assert proxy.cuts == 1
        assert await stored(database, held) == [(1, 0), (2, 1), (3, 2)]


async def test_an_append_beside_one_within_a_larger_transaction(database: str) -> None:
    """An acceptance holds the head until its COMMIT; it has no writer, and numbers as all do."""
    async with desk(database) as ana, connected(database) as other:
        topic_id = await ana.topic("noticias")
        async with other.transaction():
            await other.execute(
                "SELECT recado.append(0, NULL, 0, 0, ARRAY[$1::bigint], ARRAY[NULL::bigint], '{x}', ARRAY[NULL],"
                " ARRAY[NULL::bytea], '{1}', ARRAY[NULL::integer])",
                topic_id,
            )
            answer = ana.submit(draft(topic_id, 2))
            await waits_for_lock(database, "recado.append")
        assert told(await answer) == 2
        assert await stored(database, topic_id) == [(1, 1), (2, 2)]
        assert await value(database, "SELECT count(*) FROM recado.answers WHERE writer <> $1", ana.writer._writer) == 0


async def test_an_append_costs_the_same_under_a_long_foreign_transaction(database: str) -> None:
    """Which keeps every version of a row that is updated: the writer's is not."""
    async with desk(database) as ana, connected(database) as foreign:
        topic_id = await ana.topic("noticias")
        async with foreign.transaction(isolation="repeatable_read"):
            await foreign.fetchval("SELECT count(*) FROM recado.messages")
            for _ in range(10):
                await ana.publish(topic_id, "x")
            before = await pages_of_an_append(database, ana, topic_id)
            for _ in range(500):
                await ana.publish(topic_id, "x")
            after = await pages_of_an_append(database, ana, topic_id)
            assert after <= before * 1.5
        row = await rows(database, "SELECT ctid::text FROM recado.writers WHERE writer = $1", ana.writer._writer)
        assert row == [("(0,1)",)], "another version of the row was made"


async def pages_of_an_append(dsn: str, node: Desk, topic_id: int) -> int:
    """How many pages an append of this writer reads, once its plans are made. It is rolled back."""
    async with connected(dsn) as connection:
        for _ in range(2):
            transaction = connection.transaction()
            await transaction.start()
            plan = await connection.fetchval(
                "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT recado.append(0, $1::uuid, 0, 1000000,"
                " ARRAY[$2::bigint], ARRAY[NULL::bigint], '{x}', ARRAY['k'], ARRAY['\\x00'::bytea], '{1}',"
                " ARRAY[NULL::integer])",
                node.writer._writer, topic_id,
            )  # fmt: skip
            await transaction.rollback()
    root = json.loads(plan)[0]["Plan"]
    return int(root["Shared Hit Blocks"] + root["Shared Read Blocks"])


async def test_answers_that_were_heard_go(database: str) -> None:
    async with desk(database) as ana:
        topic_id = await ana.topic("noticias")
        for n in range(600):
            await ana.publish(topic_id, n)

        async def few() -> bool:
            return int(await value(database, "SELECT count(*) FROM recado.answers")) < 300

        await until(few)
    assert await value(database, "SELECT count(*) FROM recado.answers") == 0
    assert await value(database, "SELECT count(*) FROM recado.writers") == 0


async def test_the_writers_of_a_process_that_has_been_gone_for_a_week_go(database: str) -> None:
    async with desk(database) as ana:
        await ana.publish(await ana.topic("noticias"), "a")
        made = "INSERT INTO recado.writers VALUES (0, gen_random_uuid(), 0, '{}', now() - interval '{} days');"
        await run(
            database,
            "INSERT INTO recado.nodes VALUES ('alive', now());"
            + made.format("alive", 30) + made.format("gone", 8) + made.format("gone", 6)
            + "INSERT INTO recado.answers SELECT slot, writer, 99, '{}' FROM recado.writers",
        )  # fmt: skip
        await Housekeeping(ana.store, Settings()).round()
        left = "SELECT DISTINCT node FROM recado.writers JOIN recado.answers USING (slot, writer) ORDER BY node"
        assert [node for (node,) in await rows(database, left)] == ["alive", "gone", "test"]
        assert await value(database, "SELECT count(*) FROM recado.writers") == 3


async def test_while_no_host_is_the_primary_it_is_waited_for(database: str, caplog: pytest.LogCaptureFixture) -> None:
    """As in a failover: each host answers, and none is what target_session_attrs asks for."""
    async with desk(database) as ana:
        topic_id = await ana.topic("a")
        ana.writer._dsn = database.replace("target_session_attrs=any", "target_session_attrs=standby")
        assert ana.writer._dsn != database
        answer = ana.submit(draft(topic_id, "a"))

        async def failed() -> bool:
            return "append failed, trying again" in caplog.text or ana.work.done()

        await until(failed)
        assert not ana.work.done()
        ana.writer._dsn = database
        assert told(await answer) == 1
