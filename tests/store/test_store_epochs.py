"""What says that the logs of a database are others than they were, and when a process finds out."""

from __future__ import annotations

import itertools

import asyncpg
import pytest

from messaging.errors import Unavailable
from messaging.model import Topic
from messaging.retrying import retrying
from messaging.store.epochs import LogIdentity, epoch_of, is_same_topic
from messaging.store.store import Move, Store
from support.log import connected, desk, run
from support.spare_postgres import spare_postgres

NEWS = Topic(7, "news", "public", "ana")
HERE = LogIdentity("i", "1/5/00000001", "0")


def test_an_epoch_is_of_one_topic_in_one_state_of_one_database() -> None:
    """By the topic's origin, which outlives a renumbering: not by its name."""
    others = [
        epoch_of(NEWS, LogIdentity("i", "1/5/00000002", "0")),
        epoch_of(NEWS, LogIdentity("i", "1/6/00000001", "0")),
        epoch_of(NEWS, LogIdentity("i", "1/5/00000001", "1")),
        epoch_of(NEWS, LogIdentity("j", "1/5/00000001", "0")),
        epoch_of(Topic(8, "news", "public", "ana"), HERE),
    ]
    here = epoch_of(NEWS, HERE)
    assert len({here, *others}) == 6
    assert [is_same_topic(here, other) for other in others] == [True, True, True, False, False]
    assert epoch_of(Topic(99, "renamed", "public", "ana", origin=7), HERE) == here
    assert here.isalnum()


async def test_a_node_notices_before_it_asks_anything_on_a_new_connection(database: str) -> None:
    """Even a confirmation that is on its way is not stored: it was of the log before."""
    async with desk(database) as ana:
        topic = await ana.topic("news", "eva")
        membership = await ana.membership("eva", topic)
        await ana.store.see_device((await ana.store.user("eva")).id, "")
        changes: list[LogIdentity] = []
        ana.store.epochs.attach(lambda: changes.append(ana.store.epochs.identity))
        await run(database, "UPDATE recado.shared SET value = '5' WHERE name = 'restored'")
        await cut_off(database)
        with pytest.raises(Unavailable):
            await ana.store.move_cursors([Move(topic, membership.id, "", 3)])
        assert [each.restored for each in changes] == ["5"]
        assert await ana.store.heads([topic]) == {topic: 0}  # and then it goes on
        async with connected(database) as db:
            assert await db.fetchval("SELECT max(seq) FROM recado.cursors") == 0


async def cut_off(database: str) -> None:
    async with connected(database) as db:
        await db.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


async def test_of_several_who_see_a_restore_one_raises_the_counter(database: str) -> None:
    async with desk(database) as ana, desk(database) as eva:
        known = ana.store.epochs.identity
        assert known == eva.store.epochs.identity
        await ana.store.epochs.restored(known)
        raised = ana.store.epochs.identity
        await eva.store.epochs.restored(known)
        assert eva.store.epochs.identity == ana.store.epochs.identity == raised != known


async def test_a_backup_that_is_restored_twice_has_two_epochs(database: str) -> None:
    """The counter is in the backup, too: it is raised beyond the clock."""
    counters = []
    async with desk(database) as ana:
        for start in ("0", "0"):
            await run(database, f"UPDATE recado.shared SET value = '{start}' WHERE name = 'restored'")
            await ana.store.epochs.look()
            await ana.store.epochs.restored(ana.store.epochs.identity)
            counters.append(int(ana.store.epochs.identity.restored))
            await run(database, "SELECT pg_sleep(1.1)")  # its seconds
    assert all(one < other for one, other in itertools.pairwise(counters))


async def test_a_copy_beside_it_has_the_same_topics_and_other_epochs(database: str) -> None:
    copy = f"{database.partition('?')[0].rpartition('/')[2]}_copy"
    admin = await asyncpg.connect(database.replace(database.partition("?")[0].rpartition("/")[2], "postgres", 1))
    try:
        one = await identity(database)
        await admin.execute(f"CREATE DATABASE {copy} TEMPLATE {copy.removesuffix('_copy')}")
        other = await identity(database.replace(copy.removesuffix("_copy"), copy, 1))
    finally:
        await admin.execute(f"DROP DATABASE IF EXISTS {copy} WITH (FORCE)")
        await admin.close()
    first, second = epoch_of(NEWS, one), epoch_of(NEWS, other)
    assert first != second
    assert is_same_topic(first, second)


async def identity(dsn: str) -> LogIdentity:
    store = Store(dsn, pool_size=1)
    await store.open()
    try:
        return store.epochs.identity
    finally:
        await store.close()


async def test_a_role_that_may_ask_nothing_has_the_counter_alone(database: str) -> None:
    async with connected(database) as db, db.transaction():
        await db.execute("CREATE ROLE plain; GRANT USAGE ON SCHEMA recado TO plain")
        await db.execute("GRANT SELECT ON recado.shared TO plain; SET LOCAL ROLE plain")
        asked = "SELECT incarnation FROM recado.log_identity()"
        assert await db.fetchval(asked)  # every role may, by default
        await db.execute("RESET ROLE; REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC; SET LOCAL ROLE plain")
        assert await db.fetchval(asked) == ""
        await db.execute("RESET ROLE; GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC; DROP OWNED BY plain")
        await db.execute("DROP ROLE plain")


async def test_another_timeline_is_another_epoch() -> None:
    """As after a failover, or a restore to a point in time; at once, though no checkpoint has been."""
    async with spare_postgres() as spare:
        dsn = await spare.database()
        store = Store(dsn, pool_size=1)
        await store.open()
        before = store.epochs.identity
        await spare.postgres.stop()
        await spare.start()
        await store.epochs.look()
        assert store.epochs.identity == before  # a restart is none
        await spare.postgres.stop()
        cluster = spare.root / "data" / "pg"
        with (cluster / "postgresql.auto.conf").open("a") as conf:
            conf.write("restore_command = 'false'\n")
        (cluster / "recovery.signal").touch()
        await spare.start()
        await retrying(store.epochs.look, "the end of the recovery")
        after = store.epochs.identity
        await store.close()
    assert epoch_of(NEWS, after) != epoch_of(NEWS, before)
    assert is_same_topic(epoch_of(NEWS, after), epoch_of(NEWS, before))
