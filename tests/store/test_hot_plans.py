"""No plan of a hot statement depends on statistics: what was empty at ANALYZE and grows is still looked up by key."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

from messaging.store.pool import connect
from messaging.store.queries import load_queries
from support.log import connected, desk, draft, rows, run

CUSTOM_PLANS = 5  # after so many, PostgreSQL may settle for a plan for all arguments
GROWING = {
    "messages", "keys", "cursors", "memberships", "heads", "answers", "writers", "users", "topics", "devices", "intake",
}  # fmt: skip


async def plans_of(dsn: str, statement: str, *args: Any) -> list[str]:
    """The plans of a statement and of all that ran inside it, once it has a plan for all arguments."""
    found: list[str] = []
    connection = await connect(dsn)
    try:
        connection.add_log_listener(lambda _, message: found.append(message.message))
        await connection.execute(
            "LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on;"
            " SET auto_explain.log_level = 'notice'; SET client_min_messages = 'notice'"
        )
        for _ in range(CUSTOM_PLANS + 1):
            found.clear()
            transaction = connection.transaction()
            await transaction.start()
            await connection.fetch(statement, *args)
            await transaction.rollback()
    finally:
        await connection.close()
    return found


def reads_whole(plan: str) -> list[str]:
    """What a plan reads from end to end, of what grows."""
    lines = plan.splitlines()
    found = []
    for place, line in enumerate(lines):
        node = re.search(r"(Seq Scan|Index Only Scan|Index Scan|Bitmap Heap Scan)\b.* on (\w+)", line)
        if node is None or node[2] not in GROWING:
            continue
        indent = len(line) - len(line.lstrip())
        below = []
        for other in lines[place + 1 :]:
            if len(other) - len(other.lstrip()) <= indent or "->" in other:
                break
            below.append(other)
        if node[1] == "Seq Scan" or ("Index" in node[1] and not any("Index Cond" in each for each in below)):
            found.append(line.strip())
    return found


def statements(topic_id: int, user_id: int, membership: int) -> dict[str, tuple[Any, ...]]:
    """What is on the way of a message, by name."""
    return {
        "append_batch": (
            0, None, 0, 0, [topic_id], [user_id], ["x"], ["k"], [b"0"], ["1"], [None]
        ),
        "cursors_move": ([topic_id], [membership], [""], [7]),
        "device_see": (user_id, "", 16, timedelta(days=30), b"x", 0.0),
        "heads_free": ([topic_id],),
        "heads_of": ([topic_id],),
        "history_after": (topic_id, 0, 100, 10, membership, 1000),
        "history_before": (topic_id, 0, 100, 10, membership, 1000),
        "intake_take": ([7], None),
        "intake_waiting": (10, 1000, [], ""),
        "memberships_of_user": (user_id, 0, 500),
        "page_read": (topic_id, 3, 1000, [membership], True, 10),
        "positions_of_user": (user_id, "", 0, topic_id),
        "topic_by_name": ("noticias", user_id),
        "topics_page": (user_id, "", "", 100),
        "topic_join": (topic_id, user_id, "member", None),
        "tokens_revoked": ([b"x"],),
        "user_by_name": ("u7", b"x", 0.0),
        "users_changed": ([user_id],),
        "users_know": (["u7", "new"],),
    }  # fmt: skip


# Functions that keep the plans of their first call.
PINNED = ("append_batch", "cursors_move", "intake_take", "intake_waiting")


@pytest.mark.parametrize("grown", [False, True], ids=["small", "grown"])
async def test_what_is_on_the_way_of_a_message_is_looked_up_whatever_statistics_say(database: str, grown: bool) -> None:
    """Small: what keeps its plans must have the right ones from the start. Grown: whatever ANALYZE saw before."""
    await run(database, "ANALYZE")
    async with desk(database) as ana:
        topic_id = await ana.topic("noticias", *(f"u{n}" for n in range(50)))
        user_id = (await ana.store.user("u7")).id
        membership = await ana.membership("u7", topic_id)
        await ana.store.see_device(user_id, "")
        if grown:
            await ana.store.know([f"many{n}" for n in range(2000)])
            for batch in range(20):
                await ana.publish_all(
                    [draft(topic_id, n, f"{batch}.{n}", sender="u7", member=user_id) for n in range(400)]
                )
        whole = {}
        for name, args in statements(topic_id, user_id, membership.id).items():
            plans = await plans_of(database, load_queries()[name], *args)
            assert plans, "no plan was told"
            found = [line for plan in plans for line in reads_whole(plan)]
            if found and (grown or name in PINNED):
                whole[name] = found
    assert whole == {}


def test_a_plan_that_reads_an_index_whole_is_found() -> None:
    plan = """Nested Loop Left Join
  ->  Function Scan on unnest b
  ->  Index Scan using keys_pkey on keys k
        Filter: (topic_id = 1)
  ->  Index Scan using heads_pkey on heads h
        Index Cond: (topic_id = 1)
  ->  Seq Scan on memberships m"""
    assert reads_whole(plan) == ["->  Index Scan using keys_pkey on keys k", "->  Seq Scan on memberships m"]


async def test_every_function_looks_in_pg_catalog_alone(database: str) -> None:
    """Else what somebody makes in `public`, where roles of an application may, would run as Recado's role."""
    found = await rows(
        database,
        "SELECT p.oid::regprocedure::text, p.proconfig FROM pg_proc AS p WHERE p.pronamespace = 'recado'::regnamespace",
    )
    assert found
    loose = [name for name, settings in found if not any(each in SAFE for each in settings or ())]
    assert loose == []


SAFE = {"search_path=pg_catalog, pg_temp"}


async def test_a_function_of_the_same_name_elsewhere_is_not_ours(database: str) -> None:
    await run(
        database,
        "CREATE FUNCTION public.make_interval(secs integer) RETURNS interval LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'a stranger ran as Recado'; END $$;"
        f"ALTER DATABASE {database.rpartition('/')[2].partition('?')[0]} SET search_path = public, pg_catalog",
    )
    async with desk(database) as ana:
        topic_id = await ana.topic("noticias")
        assert await ana.publish(topic_id, "a", ttl=60) == [1]
        assert await ana.store.purge("purge_aged", [topic_id], 60, 1000) == 0
        async with connected(database) as app:
            await app.execute("SELECT recado.publish('noticias', 'shop', '1'::text, NULL, 60)")
