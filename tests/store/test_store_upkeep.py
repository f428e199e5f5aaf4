"""Housekeeping: who is owed a message keeps it, what nobody is owed goes, in small batches that stop nobody."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from messaging.log import housekeeping
from messaging.log.housekeeping import LEASE, Housekeeping
from messaging.model import Topic
from messaging.readers.cursors import Cursors
from messaging.settings.settings import Settings
from messaging.store.store import Move, Store
from support.log import Desk, connected, desk, draft, rows, run, told, value
from support.waiting import until

DAY = 86400


def keeper(node: Desk, **settings: Any) -> Housekeeping:
    return Housekeeping(node.store, Settings(**settings))


async def seqs(dsn: str, topic_id: int) -> list[int]:
    found = await rows(dsn, "SELECT seq FROM recado.messages WHERE topic_id = $1 ORDER BY seq", topic_id)
    return [seq for (seq,) in found]


async def aged(dsn: str, topic_id: int, upto: int, seconds: float) -> None:
    """Make messages older."""
    async with connected(dsn) as connection:
        await connection.execute(
            "UPDATE recado.messages SET sent_at = now() - make_interval(secs => $3) WHERE topic_id = $1 AND seq <= $2",
            topic_id, upto, seconds,
        )  # fmt: skip


# --- age and lifetimes -----------------------------------------------------------------------------


async def test_a_topic_keeps_its_messages_for_its_retention(database: str) -> None:
    """Its own where it has one, else the setting; an inbox has none."""
    async with desk(database) as ana:
        plain, short = await ana.topic("noticias"), await ana.topic("rumores", retention=60)
        inbox = (await ana.inbox("omar")).id
        for topic_id in (plain, short, inbox):
            await ana.publish(topic_id, *range(4))
            await aged(database, topic_id, 2, 3700)
            await aged(database, topic_id, 1, DAY + 60)
        keep = keeper(ana, retention=DAY)
        await keep.round()
        assert await seqs(database, plain) == [2, 3, 4]
        assert await seqs(database, short) == [3, 4]
        assert await seqs(database, inbox) == [1, 2, 3, 4]
        assert await ana.publish(plain, "later") == [5]


async def test_a_lifetime_ends_on_every_topic(database: str) -> None:
    """A message's own, by the database's clock; what has none stays."""
    async with desk(database) as ana:
        topic_id, inbox = await ana.topic("noticias"), (await ana.inbox("omar")).id
        for each in (topic_id, inbox):
            await ana.publish_all([draft(each, "a", ttl=60), draft(each, "b"), draft(each, "c", ttl=3600)])
        await run(database, "UPDATE recado.messages SET expires_at = now() - interval '1 second' WHERE seq = 1")
        await keeper(ana).round()
        assert await seqs(database, topic_id) == await seqs(database, inbox) == [2, 3]
        left = await value(database, "SELECT extract(epoch FROM min(expires_at - sent_at)) FROM recado.messages")
        assert left == 3600


# --- inboxes ---------------------------------------------------------------------------------------


async def inbox_of(node: Desk, user: str, *devices: str) -> tuple[Topic, int]:
    """An inbox with five messages, and its owner's membership."""
    topic = await node.inbox(user)
    user_id = (await node.store.user(user)).id
    for device in devices:
        await node.store.see_device(user_id, device)
    await node.publish(topic.id, *range(5))
    return topic, (await node.membership(user, topic.id)).id


async def test_an_inbox_message_goes_once_all_devices_have_seen_it(database: str) -> None:
    async with desk(database) as ana:
        topic, id_ = await inbox_of(ana, "omar", "", "phone")
        keep = keeper(ana)
        for device, seq, left in (("", 4, [1, 2, 3, 4, 5]), ("phone", 2, [3, 4, 5]), ("phone", 5, [5]), ("", 5, [])):
            await ana.store.move_cursors([Move(topic.id, id_, device, seq)])
            await keep.round()
            assert await seqs(database, topic.id) == left


async def test_without_any_device_an_inbox_keeps_all(database: str) -> None:
    """Nobody has seen it: only a lifetime ends it."""
    async with desk(database) as ana:
        topic, _ = await inbox_of(ana, "omar")
        await keeper(ana).round()
        assert await seqs(database, topic.id) == [1, 2, 3, 4, 5]


async def test_a_device_unseen_for_thirty_days_does_not_count(database: str) -> None:
    async with desk(database) as ana:
        topic, id_ = await inbox_of(ana, "omar", "", "old")
        await ana.store.move_cursors([Move(topic.id, id_, "", 3)])
        for days, left in ((29.9, [1, 2, 3, 4, 5]), (30.1, [4, 5])):
            await run(
                database, f"UPDATE recado.devices SET seen_at = now() - interval '{days} days' WHERE name = 'old'"
            )
            await keeper(ana).round()
            assert await seqs(database, topic.id) == left
        # It comes back, and counts again.
        await ana.store.see_device((await ana.store.user("omar")).id, "old")
        await ana.store.move_cursors([Move(topic.id, id_, "", 5)])
        await keeper(ana).round()
        assert await seqs(database, topic.id) == [4, 5]


async def test_where_no_device_counts_nothing_is_seen(database: str) -> None:
    async with desk(database) as ana:
        topic, id_ = await inbox_of(ana, "omar", "")
        await ana.store.move_cursors([Move(topic.id, id_, "", 5)])
        await run(database, "UPDATE recado.devices SET seen_at = now() - interval '31 days'")
        await keeper(ana).round()
        assert await seqs(database, topic.id) == [1, 2, 3, 4, 5]


async def test_other_topics_keep_what_all_have_seen(database: str) -> None:
    async with desk(database) as ana:
        topic_id = await ana.topic("noticias")
        await ana.store.see_device((await ana.store.user("ana")).id, "")
        await ana.publish(topic_id, "a")
        membership = await ana.membership("ana", topic_id)
        keep = keeper(ana)
        keep.seen(await ana.store.move_cursors([Move(topic_id, membership.id, "", 1)]))
        await keep.purge_seen()
        await keep.round()
        assert await seqs(database, topic_id) == [1]


async def test_a_flush_hints_at_what_may_go(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint alone is enough, whatever the walk over all topics is at; the walk alone is enough, too."""
    async with desk(database) as ana:
        topic, id_ = await inbox_of(ana, "omar", "")
        hinted, walking = keeper(ana), keeper(ana)
        cursors = Cursors(ana.store, hinted.seen)
        cursors.move(topic.id, id_, "", 2)
        await cursors.flush()
        with monkeypatch.context() as patch:
            patch.setattr(Store, "topics_slice", no_topics)
            await walking.round()
            assert await seqs(database, topic.id) == [1, 2, 3, 4, 5]
            await hinted.purge_seen()
            assert await seqs(database, topic.id) == [3, 4, 5]
        await ana.store.move_cursors([Move(topic.id, id_, "", 4)])
        await walking.round()
        assert await seqs(database, topic.id) == [5]


async def no_topics(self: Store, after: int, limit: int) -> list[Any]:
    return []


async def test_the_walk_comes_round(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slice at a time, all topics in their turn, and again from the start."""
    monkeypatch.setattr(housekeeping, "WALK_TOPICS", 2)
    async with desk(database) as ana:
        topic_ids = [await ana.topic(f"t{n}") for n in range(7)]
        keep = keeper(ana, retention=60)
        for _ in range(2):
            for topic_id in topic_ids:
                await ana.publish(topic_id, "a")
            await run(database, "UPDATE recado.messages SET sent_at = now() - interval '2 minutes'")
            for _ in range(6):  # general and the inbox of ana stand in the way, too
                await keep.round()
            assert await value(database, "SELECT count(*) FROM recado.messages") == 0


# --- batches ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["expired", "aged", "seen", "deleted", "keys"])
async def test_a_purge_deletes_in_batches(database: str, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Never more in one transaction than a batch; all of it in one round; and without the head of any topic."""
    assert housekeeping.MAX_PURGED_ROWS <= 1000
    monkeypatch.setattr(housekeeping, "MAX_PURGED_ROWS", 10)
    async with desk(database) as ana, connected(database) as holder:
        topic_id = (await ana.inbox("ana")).id if what == "seen" else await ana.topic("noticias")
        await ana.publish_all([draft(topic_id, n, f"k{n}" if what == "keys" else None, ttl=60) for n in range(35)])
        await prepare(ana, database, topic_id, what)
        await run(
            database,
            "CREATE TABLE public.deleted (count bigint);"
            " CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " INSERT INTO public.deleted SELECT count(*) FROM gone; RETURN NULL; END $$;"
            f"CREATE TRIGGER note AFTER DELETE ON recado.{'keys' if what == 'keys' else 'messages'}"
            " REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION note()",
        )
        async with holder.transaction():
            await holder.execute("SELECT FROM recado.heads FOR UPDATE")
            async with asyncio.timeout(10):
                await keeper(ana, retention=3600).round()
        counts = await rows(database, "SELECT count FROM public.deleted WHERE count > 0")
        assert counts == [(10,), (10,), (10,), (5,)]


async def prepare(node: Desk, dsn: str, topic_id: int, what: str) -> None:
    match what:
        case "expired":
            await run(dsn, "UPDATE recado.messages SET expires_at = now() - interval '1 second'")
        case "aged":
            await aged(dsn, topic_id, 35, 7200)
        case "seen":
            await node.store.see_device((await node.store.user("ana")).id, "")
            id_ = (await node.membership("ana", topic_id)).id
            await node.store.move_cursors([Move(topic_id, id_, "", 35)])
        case "deleted":
            await node.store.delete_topic(topic_id)
        case "keys":
            await run(dsn, "UPDATE recado.keys SET used_at = now() - interval '25 hours'")


async def test_one_node_at_a_time_keeps_house_and_each_purges_what_it_moved(database: str) -> None:
    async with desk(database) as ana:
        topic_id = await ana.topic("noticias")
        inbox, id_ = await inbox_of(ana, "omar", "")
        await ana.publish_all([draft(topic_id, "a", ttl=60)])
        await run(database, "UPDATE recado.messages SET expires_at = now() - interval '1 second' WHERE sender = 'ana'")
        await ana.store.leases.take(LEASE, "another node")
        keep = keeper(ana)
        work = asyncio.create_task(keep.run())
        try:
            keep.seen(await ana.store.move_cursors([Move(inbox.id, id_, "", 5)]))
            await until(lambda: purged(database, inbox.id))
            assert await seqs(database, topic_id) == [1]
            await ana.store.leases.give_back(LEASE, "another node")
            await until(lambda: purged(database, topic_id))
        finally:
            work.cancel()
            await asyncio.wait([work])


async def test_a_retention_that_was_raised_counts_at_once(database: str) -> None:
    """The walk has read the topic already: what it deletes is decided when it deletes."""
    async with desk(database) as ana:
        topic_id = await ana.topic("noticias", retention=60)
        await ana.publish(topic_id, "a")
        await aged(database, topic_id, 1, 3600)
        keep = keeper(ana)
        slice_ = ana.store.topics_slice

        async def overtaken(after: int, limit: int) -> Any:
            found = await slice_(after, limit)
            await ana.store.change_topic(topic_id, "public", DAY, None)
            return found

        ana.store.topics_slice = overtaken  # type: ignore[method-assign]
        await keep.round()
        assert await seqs(database, topic_id) == [1]


async def test_it_goes_on_when_the_database_comes_back(database: str) -> None:
    async with desk(database) as ana:
        topic_id = await ana.topic("noticias")
        work = asyncio.create_task(keeper(ana).run())
        try:
            for _ in range(2):
                await run(
                    database,
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()",
                )
                await ana.publish_all([draft(topic_id, "a", ttl=60)])
                await run(database, "UPDATE recado.messages SET expires_at = now() - interval '1 second'")
                await until(lambda: purged(database, topic_id))
            assert not work.done()
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


async def purged(dsn: str, topic_id: int) -> bool:
    return not await seqs(dsn, topic_id)


# --- deleted topics and keys -----------------------------------------------------------------------


async def test_nothing_is_left_of_a_deleted_topic(database: str) -> None:
    async with desk(database) as ana:
        topic_id, other_id = await ana.topic("noticias", "ana", "omar"), await ana.topic("deporte")
        for each in (topic_id, other_id):
            await ana.publish(each, "a", "b")
            await ana.publish(each, "c", key="c")
        await ana.store.delete_topic(topic_id)
        await keeper(ana).round()
        for table in ("messages", "keys", "heads", "memberships", "cursors"):
            assert await rows(database, f"SELECT FROM recado.{table} WHERE topic_id = $1", topic_id) == []
        assert await rows(database, "SELECT FROM recado.topics WHERE id = $1", topic_id) == []
        assert await seqs(database, other_id) == [1, 2, 3]
        assert await value(database, "SELECT count(*) FROM recado.keys") == 1


@pytest.mark.parametrize("left", ["messages", "keys"])
async def test_a_deleted_topic_stays_until_nothing_is_left(database: str, left: str) -> None:
    """Another node may have the turn while its messages are purged, and die: who comes next must find the rest."""
    async with desk(database) as ana:
        topic_id = await ana.topic("noticias")
        await ana.publish(topic_id, "a", key="a")
        await ana.store.delete_topic(topic_id)
        await run(database, f"DELETE FROM recado.{'keys' if left == 'messages' else 'messages'}")
        assert await ana.store.purge("purge_topic", topic_id) == 0
        assert await ana.store.deleted_topics(10) == [topic_id]
        await keeper(ana).round()
        assert await rows(database, f"SELECT FROM recado.{left}") == []
        assert await ana.store.deleted_topics(10) == []


async def test_a_key_is_kept_for_a_day_at_least(database: str) -> None:
    """From its use on, and whatever became of its message."""
    async with desk(database) as ana:
        topic_id = await ana.topic("noticias")
        assert await ana.publish_all([draft(topic_id, n, f"k{n}", ttl=60) for n in range(3)]) == [1, 2, 3]
        await run(
            database,
            "UPDATE recado.messages SET expires_at = now() - interval '1 second';"
            "UPDATE recado.keys SET used_at = now() - interval '23 hours 59 minutes' WHERE key = 'k1';"
            "UPDATE recado.keys SET used_at = now() - interval '24 hours 1 minute' WHERE key = 'k2'",
        )
        await keeper(ana).round()
        assert await seqs(database, topic_id) == []
        assert await rows(database, "SELECT key FROM recado.keys ORDER BY key") == [("k0",), ("k1",)]
        assert told(await ana.submit(draft(topic_id, 1, "k1"))) == 2


async def test_a_revocation_is_kept_while_its_token_may_live(database: str) -> None:
    async with desk(database) as ana:
        for jti in ("old", "new"):
            await ana.store.tokens.revoke(jti)
        await run(
            database,
            "UPDATE recado.revocations SET revoked_at = now() - interval '367 days' WHERE digest = sha256('old')",
        )
        await keeper(ana).round()
        assert await ana.store.tokens.revoked(["old", "new"]) == {"new"}
