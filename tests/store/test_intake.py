"""Publishing from SQL: a commit sends, a rollback does not; the intake loses, doubles and holds up nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from conftest import ROOT
from messaging.errors import Unavailable
from messaging.log import intake
from messaging.log.intake import draft_of
from messaging.settings.settings import Settings
from messaging.store.intake import IntakeStore, Posted
from messaging.store.leases import LeaseTimes
from support.intake import PUBLISH, contents, dead, taking_in, until_empty
from support.log import connected, desk, rows, run, value, waits_for_lock
from support.postgres_proxy import proxied
from support.ws import SECRET, receive, running

QUICK = LeaseTimes(length=2.0, margin=1.0, renew_every=0.2, request=0.4, ask_every=0.05)

# --- a transaction ---------------------------------------------------------------------------------


async def test_a_commit_sends_and_a_rollback_does_not(database: str) -> None:
    """To a member on a WebSocket; nothing is heard of what was rolled back, before or after."""
    async with running(database) as recado, connected(database) as shop:
        await recado.topic("orders", "ana", "bob")
        async with recado.client("bob") as bob:
            await receive(bob, "connected")
            async with shop.transaction():
                await shop.execute("CREATE TABLE public.orders AS SELECT 17 AS id")
                await shop.execute(PUBLISH, "orders", "shop", '{"order": 17}')
            first = await receive(bob, "message")
            aborted = shop.transaction()
            await aborted.start()
            await shop.execute(PUBLISH, "orders", "shop", '"never"')
            await aborted.rollback()
            await shop.execute("SELECT recado.publish('orders', 'shop', jsonb_build_object('order', 18))")
            second = await receive(bob, "message")
    assert (first["content"], first["user_source"], first["seq"]) == ({"order": 17}, "shop", 1)
    assert (second["content"], second["seq"]) == ({"order": 18}, 2)


async def test_an_inbox_is_written_to_by_its_name(database: str) -> None:
    """With the lifetime that inbox messages have here, or one of its own; content is kept byte for byte."""
    async with desk(database) as node, taking_in(node, inbox_ttl=60):
        await node.store.know(["ana"])
        await value(database, PUBLISH, "@ana", "shop", '{ "a" :1.0}')
        await value(database, "SELECT recado.publish('@ana', 'shop', '1', ttl => 5)")
        await until_empty(database)
        found = await rows(
            database, "SELECT content, extract(epoch FROM expires_at - sent_at)::int FROM recado.messages ORDER BY seq"
        )
    assert found == [('{ "a" :1.0}', 60), ("1", 5)]


async def test_ten_thousand_of_one_transaction_arrive_in_order(database: str) -> None:
    """In several batches; every notice continues the one before."""
    async with desk(database) as node:
        topic_id = await node.topic("orders")
        async with taking_in(node):
            await run(
                database, "SELECT recado.publish('orders', 'shop', to_jsonb(g)) FROM generate_series(1, 10000) AS g"
            )
            await until_empty(database)
        assert await contents(database, topic_id) == list(range(1, 10001))
    ranges = [(notice.first, notice.last) for notice in node.notices]
    assert len(ranges) >= 10
    assert [first for first, _ in ranges] == [1, *(last + 1 for _, last in ranges[:-1])]
    assert ranges[-1][1] == 10000


async def test_a_batch_is_bounded_in_bytes(database: str) -> None:
    async with desk(database) as node, connected(database) as shop:
        topic_id = await node.topic("orders")
        big = '"' + "x" * 100_000 + '"'
        for _ in range(30):
            await shop.fetchval(PUBLISH, "orders", "shop", big)
        async with taking_in(node, max_frame=131072):
            await until_empty(database)
        assert len(await contents(database, topic_id)) == 30
    assert len(node.notices) == 3


async def test_an_open_transaction_blocks_nobody_and_commits_late(database: str) -> None:
    """Its rows have the lower ids: they come when they are committed, whole and in order."""
    async with desk(database) as node, connected(database) as slow, connected(database) as quick:
        topic_id = await node.topic("orders")
        async with taking_in(node):
            transaction = slow.transaction()
            await transaction.start()
            await slow.execute(PUBLISH, "orders", "slow", "1")
            for number in (2, 3):
                await quick.execute(PUBLISH, "orders", "quick", str(number))
            await until_empty(database)
            await node.publish(topic_id, 4)  # nor does it hold the head
            await slow.execute(PUBLISH, "orders", "slow", "5")
            assert await contents(database, topic_id) == [2, 3, 4]
            await transaction.commit()
            await until_empty(database)
        assert await contents(database, topic_id) == [2, 3, 4, 1, 5]


async def test_a_locked_topic_waits_in_order_and_the_others_go_on(database: str) -> None:
    async with desk(database) as node, connected(database) as other, connected(database) as shop:
        locked, free = await node.topic("locked"), await node.topic("free")
        transaction = other.transaction()
        await transaction.start()
        await other.execute("SELECT FROM recado.heads WHERE topic_id = $1 FOR UPDATE", locked)
        async with taking_in(node):
            for number in range(4):
                await shop.execute(PUBLISH, "locked" if number % 2 == 0 else "free", "shop", str(number))
            await until_empty(database, but=2)
            assert await contents(database, free) == [1, 3]
            await shop.execute(PUBLISH, "locked", "shop", "4")
            await transaction.rollback()
            await until_empty(database)
        assert await contents(database, locked) == [0, 2, 4]


# --- what can't be appended ------------------------------------------------------------------------


async def test_what_cannot_be_appended_becomes_a_dead_letter_and_holds_up_nobody(database: str) -> None:
    """A topic that has gone, content over this installation's MAX_FRAME, another use of a key."""
    async with desk(database) as node, connected(database) as shop:
        gone, topic_id = await node.topic("gone"), await node.topic("orders")
        keyed = "SELECT recado.publish('orders', 'shop', $1, 'order-17')"
        async with shop.transaction():
            await shop.execute(PUBLISH, "gone", "shop", '"lost"')
            await shop.execute(PUBLISH, "orders", "shop", "1")
            await shop.execute(PUBLISH, "orders", "shop", '"' + "x" * 2000 + '"')
            for content in ("2", "2", "3"):
                await shop.execute(keyed, content)
            await shop.execute(PUBLISH, "orders", "shop", "4")
        await node.store.delete_topic(gone)
        async with taking_in(node, max_frame=1024):
            await until_empty(database)
        assert await contents(database, topic_id) == [1, 2, 4]
    letters = await dead(database)
    assert [letter[:5] for letter in letters] == [
        ("intake", "gone", 0, "shop", '"lost"'),
        ("intake", "orders", 0, "shop", '"' + "x" * 2000 + '"'),
        ("intake", "orders", 0, "shop", "3"),
    ]
    assert [word in letter[5] for word, letter in zip(("deleted", "1024", "key"), letters, strict=True)] == [True] * 3


async def test_a_topic_made_again_under_its_name_is_another_one(database: str) -> None:
    async with desk(database) as node:
        first = await node.topic("orders")
        await value(database, PUBLISH, "orders", "shop", "1")
        await node.store.delete_topic(first)
        second = await node.topic("orders")
        async with taking_in(node):
            await until_empty(database)
        assert await contents(database, second) == []
    assert len(await dead(database)) == 1


async def test_what_the_database_refuses_is_found_and_its_neighbours_go_in(database: str) -> None:
    async with desk(database) as node:
        topic_id = await node.topic("orders")
        await run(database, "ALTER TABLE recado.messages ADD CHECK (content <> '7')")
        await run(database, "SELECT recado.publish('orders', 'shop', to_jsonb(g)) FROM generate_series(1, 20) AS g")
        async with taking_in(node):
            await until_empty(database)
        assert await contents(database, topic_id) == [number for number in range(1, 21) if number != 7]
    [letter] = await dead(database)
    assert letter[4] == "7"
    assert "refuses" in letter[5]


# --- failures --------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_a_commit_without_an_answer_loses_and_doubles_nothing(database: str, cut: Any) -> None:
    async with proxied(database) as (dsn, proxy), desk(dsn) as node:
        topic_id = await node.topic("orders")
        await run(database, "SELECT recado.publish('orders', 'shop', to_jsonb(g)) FROM generate_series(1, 5) AS g")
        proxy.statement, proxy.cut = b"COMMIT;", cut
        async with taking_in(node):
            await until_empty(database)
            await value(database, PUBLISH, "orders", "shop", "6")
            await until_empty(database)
        assert proxy.cuts == 1
        assert await contents(database, topic_id) == [1, 2, 3, 4, 5, 6]


async def test_a_node_killed_between_taking_and_commit_loses_and_doubles_nothing(database: str) -> None:
    """It waits for a head with the rows in its hands; another node takes them in."""
    environ = {**os.environ, "DATABASE_URL": database, "JWT_SECRET": SECRET, "WS_PORT": "0"}
    async with desk(database) as node, connected(database) as holder:
        topic_id = await node.topic("orders")
        transaction = holder.transaction()
        await transaction.start()
        await holder.execute("SELECT FROM recado.heads WHERE topic_id = $1 FOR UPDATE", topic_id)
        await run(database, "SELECT recado.publish('orders', 'shop', to_jsonb(g)) FROM generate_series(1, 50) AS g")
        victim = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ws_server", cwd=ROOT, env=environ, stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            await waits_for_lock(database, "recado.append(")
        finally:
            victim.send_signal(signal.SIGKILL)
            await victim.wait()
        await transaction.rollback()
        await run(database, "UPDATE recado.leases SET until = now()")  # as after some seconds
        async with taking_in(node):
            await until_empty(database)
        assert await contents(database, topic_id) == list(range(1, 51))


async def test_two_nodes_take_in_at_once_and_nothing_is_doubled(database: str) -> None:
    async with desk(database) as one, desk(database) as two:
        topic_id = await one.topic("orders")
        async with taking_in(one), taking_in(two), connected(database) as shop:
            for number in range(200):
                await shop.execute(PUBLISH, "orders", "shop", str(number))
            await until_empty(database)
        assert await contents(database, topic_id) == list(range(200))


async def test_a_leader_that_fell_silent_is_followed_and_nothing_is_doubled(database: str) -> None:
    """In the middle of its transaction, before its COMMIT."""
    async with proxied(database) as (dsn, proxy), desk(dsn) as silent, desk(database) as other:
        for node in (silent, other):
            node.store.leases.times = QUICK
        topic_id = await other.topic("orders")
        async with taking_in(silent):
            await value(database, PUBLISH, "orders", "shop", "1")
            await until_empty(database)
            proxy.statement = b"COMMIT;"
            proxy.gate.clear()
            await value(database, PUBLISH, "orders", "shop", "2")
            await proxy.at_gate.wait()
            proxy.swallows = True
            async with taking_in(other):
                await until_empty(database)
                await value(database, PUBLISH, "orders", "shop", "3")
                await until_empty(database)
            proxy.swallows = False
            proxy.gate.set()
        assert await contents(database, topic_id) == [1, 2, 3]


async def test_what_a_leader_takes_after_its_term_is_refused(database: str) -> None:
    async with desk(database) as node:
        topic_id = await node.topic("orders")
        await value(database, PUBLISH, "orders", "shop", "1")
        store = IntakeStore(node.store.pool)
        late = await node.store.leases.take("intake", "late")
        await node.store.leases.give_back("intake", "late")
        term = await node.store.leases.take("intake", "next")
        assert late is not None and term == late + 1
        rows_ = await store.waiting(10, 1000, (), "")
        drafts = [draft_of(posted, "public", Settings()) for posted in rows_]
        with pytest.raises(Unavailable):
            async with store.taking(rows_, late) as taking:
                await taking.append(drafts)
        assert await contents(database, topic_id) == []
        async with store.taking(rows_, term) as taking:
            await taking.append(drafts)
        assert await contents(database, topic_id) == [1]


async def test_of_two_that_take_the_same_rows_one_has_them(database: str) -> None:
    """Whatever their leases say: the rows themselves decide."""
    async with desk(database) as node:
        topic_id = await node.topic("orders")
        await run(database, "SELECT recado.publish('orders', 'shop', to_jsonb(g)) FROM generate_series(1, 20) AS g")
        store = IntakeStore(node.store.pool)
        term = await node.store.leases.take("intake", "both")
        assert term is not None
        rows_ = await store.waiting(100, 10000, (), "")
        drafts = [draft_of(posted, "public", Settings()) for posted in rows_]

        async def second() -> None:
            async with store.taking(rows_[10:], term) as taking:
                await taking.append(drafts[10:])

        async with store.taking(rows_, term) as taking:
            waiting = asyncio.ensure_future(second())
            await waits_for_lock(database, "recado.intake_take(")
            await taking.append(drafts)
        with pytest.raises(Unavailable):
            await waiting
        assert await contents(database, topic_id) == list(range(1, 21))


async def test_no_transaction_is_open_while_nothing_is_there(database: str) -> None:
    async with desk(database) as node, connected(database) as looking:
        topic_id = await node.topic("orders")
        async with taking_in(node):
            await value(database, PUBLISH, "orders", "shop", "1")
            await until_empty(database)
            for _ in range(50):
                assert not await looking.fetchval(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND state = 'idle in transaction'"
                )
        assert await contents(database, topic_id) == [1]


# --- many at once ----------------------------------------------------------------------------------


@pytest.mark.parametrize("same", [True, False])
async def test_doubles_cost_no_batch_each_and_no_line_of_the_log(
    database: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, same: bool
) -> None:
    """Of one (topic, sender, key), with the same content or each with another; another application hardly waits."""
    batches = []
    taking = IntakeStore.taking

    def counted(self: IntakeStore, posted: Sequence[Posted], term: int) -> Any:
        batches.append({each.sender for each in posted})
        return taking(self, posted, term)

    monkeypatch.setattr(IntakeStore, "taking", counted)
    async with desk(database) as node:
        crowded, topic_id = await node.topic("crowded"), await node.topic("orders")
        content = "'1'::jsonb" if same else "to_jsonb(g)"
        await run(
            database, f"SELECT recado.publish('crowded', 'crowd', {content}, 'k') FROM generate_series(1, 3000) AS g"
        )
        await value(database, PUBLISH, "orders", "shop", "17")
        async with taking_in(node):
            await until_empty(database)
        assert await contents(database, crowded) == [1]
        assert await contents(database, topic_id) == [17]
        assert len(await dead(database)) == (0 if same else 2999)
    assert "shop" in batches[0]
    assert len(batches) <= 5
    assert len(caplog.records) <= 5


async def test_a_double_shares_the_fate_of_the_first(database: str) -> None:
    """In one batch: of a stored one, of one that is there already, of one that is dead."""
    async with desk(database) as node, connected(database) as shop:
        topic_id = await node.topic("orders")
        await node.publish(topic_id, "old", key="old", sender="shop")
        keyed = "SELECT recado.publish('orders', 'shop', $2, $1)"
        async with shop.transaction():
            for key, contents_ in (("new", "112"), ("old", ['"old"', "3"]), ("none", "4")):
                for content in contents_:
                    await shop.execute(keyed, key, content)
        async with taking_in(node):
            await until_empty(database)
        assert await contents(database, topic_id) == ["old", 1, 4]
    assert [(letter[4], "key" in letter[5]) for letter in await dead(database)] == [("2", True), ("3", True)]


async def test_each_source_has_its_share_of_a_batch_and_a_transaction_keeps_its_order(database: str) -> None:
    """A transaction that publishes as several senders is one source: the one it began as."""
    async with desk(database) as node, connected(database) as shop:
        await node.topic("orders")
        async with shop.transaction():
            for sender in ("crowd", "crowd", "crowd", "crowd", "late"):
                await shop.execute(PUBLISH, "orders", sender, "1")
        async with shop.transaction():
            with contextlib.suppress(ZeroDivisionError):
                async with shop.transaction():
                    await shop.execute(PUBLISH, "orders", "undone", "1")
                    raise ZeroDivisionError
            await shop.execute(PUBLISH, "orders", "bank", "1")
        await shop.execute(PUBLISH, "orders", "late", "1")
        store = IntakeStore(node.store.pool)
        found = {most: await store.waiting(most, 1000, (), "") for most in (1, 4, 6, 12)}
        sources = {most: [(each.source, each.sender) for each in batch] for most, batch in found.items()}
    assert sources == {
        1: [("bank", "bank")],
        4: [("crowd", "crowd"), ("bank", "bank"), ("late", "late")],
        6: [("crowd", "crowd")] * 2 + [("bank", "bank"), ("late", "late")],
        12: [("crowd", "crowd")] * 4 + [("bank", "bank"), ("late", "late")],
    }
    assert all(batch == sorted(batch, key=lambda each: each.id) for batch in found.values())


async def test_more_sources_than_a_batch_has_rows_take_turns(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "MAX_TAKEN_ROWS", 3)
    async with desk(database) as node:
        topic_id = await node.topic("orders")
        for flood in ("a", "b", "c"):
            await run(
                database, f"SELECT recado.publish('orders', '{flood}', '0'::jsonb) FROM generate_series(1, 20) AS g"
            )
        await value(database, PUBLISH, "orders", "z", "1")
        async with taking_in(node):
            await until_empty(database)
        found = await contents(database, topic_id)
    assert len(found) == 61
    assert found.index(1) < 6, "in the second batch"


@pytest.mark.parametrize("analyzed", ["empty", "of one source"])
async def test_a_look_costs_what_it_finds_whatever_is_known_of_the_table(database: str, analyzed: str) -> None:
    """Not what lies behind: neither by a scan of the table, nor along the rows of another source."""
    flood = "SELECT recado.publish('orders', 'flood', '1'::jsonb) FROM generate_series(1, 5000)"
    async with desk(database) as node, connected(database) as looking:
        await node.topic("orders")
        look = "SELECT * FROM recado.intake_waiting(100, 1000000, '{}', '')"
        await run(database, "ANALYZE recado.intake" if analyzed == "empty" else f"{flood}; ANALYZE recado.intake")
        await looking.fetch(look)  # what is planned now stays planned
        await run(database, flood)
        await value(database, PUBLISH, "orders", "shop", "1")
        reads = "SELECT seq_tup_read, idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'intake'"
        async with looking.transaction():
            before = await looking.fetchrow(reads)
            batch = await looking.fetch(look)
            after = await looking.fetchrow(reads)
    assert [row["source"] for row in batch] == ["flood"] * 50 + ["shop"]
    assert before["seq_tup_read"] == after["seq_tup_read"]
    assert after["idx_tup_fetch"] - before["idx_tup_fetch"] <= 60
