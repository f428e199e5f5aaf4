"""Rule 3: seq has no gaps, and commit order is seq order."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from conftest import ROOT
from messaging.model import Content, Message, Topic
from support.log import Answer, Desk, connected, desk, draft, rows, run, stored, told, value, waits_for_lock
from support.waiting import until

# Every COMMIT takes a moment of its own, while its heads are held.
DAWDLE = """
CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_sleep(random() * 0.02); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER dawdle AFTER INSERT ON recado.messages DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW WHEN (NEW.seq % 8 = 0) EXECUTE FUNCTION dawdle();
"""

# An append takes so long that others come meanwhile, as where a standby must have it.
SLOW_STORE = """
CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.02); RETURN NULL; END $$;
CREATE TRIGGER dawdle AFTER INSERT ON recado.messages FOR EACH STATEMENT EXECUTE FUNCTION dawdle();
"""

LOCK_TIMEOUT = 2  # seconds, in sql/functions.sql

# --- many writers ----------------------------------------------------------------------------------


async def start_publishers(dsn: str, numbers: range, count: int, topic_ids: list[int]) -> asyncio.subprocess.Process:
    program = str(Path(__file__).with_name("publishers.py"))
    words = [numbers.start, numbers.stop, count, *topic_ids]
    process = await asyncio.create_subprocess_exec(
        sys.executable, program, dsn, *map(str, words), stdin=-1, stdout=-1,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
    )  # fmt: skip
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    return process


async def read_along(node: Desk, topic: Topic, count: int) -> list[str]:
    """Poll a log page by page, as a reader does, until it is ``count`` long: no seq may be missing below a head."""
    contents: list[str] = []
    async with asyncio.timeout(60):
        while len(contents) < count:
            page, _ = await node.store.page(topic, len(contents), 65536)
            for entry in page.entries:
                assert isinstance(entry, Message), entry
                assert entry.seq == len(contents) + 1
                contents.append(json.loads(entry.content))
            assert page.head >= len(contents)
    return contents


async def test_many_publishers_on_three_nodes(database: str) -> None:
    """32 publishers, each also on a second node with the same keys, onto two topics in any order, COMMITs delayed."""
    count = 20
    async with desk(database) as reader:
        topic_ids = [await reader.topic("noticias"), await reader.topic("deporte")]
        topics = [(await reader.membership("ana", topic_id)).topic for topic_id in topic_ids]
        await run(database, DAWDLE)
        processes = [
            await start_publishers(database, numbers, count, topic_ids)
            for numbers in (range(22), range(11, 32), range(11))  # publishers 0 … 21 on two nodes, the others on one
        ]
        readers = [asyncio.create_task(read_along(reader, topic, 32 * count)) for topic in [*topics, *topics]]
        outputs = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
        assert [process.returncode for process in processes] == [0, 0, 0]
        logs = await asyncio.gather(*readers)

        for topic_id, log, same in zip(topic_ids, logs[:2], logs[2:], strict=True):
            assert await stored(database, topic_id) == list(enumerate(log, 1))
            assert log == same
            assert len(set(log)) == 32 * count  # no key twice
            for number in range(32):
                mine = [content for content in log if content.startswith(f"{number}/")]
                assert mine == [f"{number}/{n}" for n in range(count)]
        receipts = [receipt for output, _ in outputs for receipt in json.loads(output)]
        assert len(receipts) > 2 * 54 * count
        by_topic = dict(zip(topic_ids, logs, strict=False))
        assert all(by_topic[topic_id][seq - 1] == content for topic_id, content, seq in receipts)
        assert await value(database, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0


async def test_sent_at_rises_with_seq(database: str) -> None:
    """It is taken after the lock: who began first but came second is later."""
    async with desk(database) as ana, desk(database) as omar, connected(database) as holder:
        topic_id = await ana.topic("noticias")
        async with holder.transaction():
            await holder.execute("SELECT FROM recado.heads WHERE topic_id = $1 FOR UPDATE", topic_id)
            answers = [node.submit(draft(topic_id, "x")) for node in (ana, omar)]
            await waits_for_lock(database, "recado.append")
        await asyncio.gather(*answers)
        await ana.publish(topic_id, *range(20))
        found = await rows(database, "SELECT sent_at FROM recado.messages ORDER BY seq")
        assert found == sorted(found)


async def test_what_committed_during_the_wait_for_the_head_is_seen(database: str) -> None:
    """Whoever left while the append waited is no member; whoever joined is one. One snapshot would miss both."""
    async with desk(database) as ana, connected(database) as other:
        topic_id = await ana.topic("noticias", "ana", "omar")
        await ana.store.know(["diego"])
        omar, diego = (await ana.store.user("omar")).id, (await ana.store.user("diego")).id
        async with other.transaction():
            await other.execute("SELECT FROM recado.leave_topic($1, $2)", topic_id, omar)
            await other.execute("SELECT recado.join_topic($1, $2, 'member', NULL)", topic_id, diego)
            answers = [
                ana.submit(draft(topic_id, "left", sender="omar", member=omar)),
                ana.submit(draft(topic_id, "joined", sender="diego", member=diego)),
            ]
            await waits_for_lock(database, "recado.append")
        assert [told(answer) for answer in await asyncio.gather(*answers)] == ["not_a_member", 1]


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
async def test_the_isolation_is_our_own(database: str, level: str) -> None:
    """A database with another default would see the world as it was before the wait."""
    async with connected(database) as admin:
        name = await admin.fetchval("SELECT current_database()")
        await admin.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = '{level}'")
    async with desk(database) as ana, connected(database) as other:
        topic_id = await ana.topic("noticias", "ana", "omar")
        omar = (await ana.store.user("omar")).id
        async with other.transaction(isolation="read_committed"):
            await other.execute("SELECT FROM recado.leave_topic($1, $2)", topic_id, omar)
            answer = ana.submit(draft(topic_id, "left", sender="omar", member=omar))
            await waits_for_lock(database, "recado.append")
        assert told(await answer) == "not_a_member"


# --- a head that somebody else holds ---------------------------------------------------------------


async def test_a_held_head_stops_its_topic_alone(database: str) -> None:
    """For longer than the lock timeout: the other topics go on; then it is made up for, in order, once each."""
    async with desk(database) as ana, connected(database) as holder:
        held, free = await ana.topic("held"), await ana.topic("free")
        async with holder.transaction():
            await holder.execute("SELECT FROM recado.heads WHERE topic_id = $1 FOR UPDATE", held)
            waiting = [ana.submit(draft(held, n, f"{n}")) for n in range(10)]
            going = [ana.submit(draft(free, n)) for n in range(10)]
            async with asyncio.timeout(10):
                assert [told(answer) for answer in await asyncio.gather(*going)] == list(range(1, 11))
            # From now on it costs the others nothing: those of the held topic wait aside.
            before = asyncio.get_running_loop().time()
            for n in range(10, 40):
                waiting += [ana.submit(draft(held, n, f"{n}")), ana.submit(draft(held, n, f"{n}"))]
                assert await ana.publish(free, n) == [n + 1]
            assert asyncio.get_running_loop().time() - before < LOCK_TIMEOUT
            assert not any(answer.done() for answer in waiting)
        async with asyncio.timeout(20):
            seqs = [told(answer) for answer in await asyncio.gather(*waiting)]
        assert seqs == [*range(1, 11), *(seq for n in range(11, 41) for seq in (n, n))]
        assert await stored(database, held) == [(n + 1, n) for n in range(40)]
        assert await stored(database, free) == [(n + 1, n) for n in range(40)]
        assert await ana.publish(held, "later") == [41]
        assert await ana.publish(free, "later") == [41]


async def test_a_head_that_is_taken_again_just_then(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was found free, but not to be had: what waits for it stays in order, with what has come meanwhile behind."""
    async with desk(database) as ana, connected(database) as holder:
        held = await ana.topic("held")
        tries = 0

        async def free_heads(topic_ids: Sequence[int]) -> set[int]:
            nonlocal tries
            tries += 1
            return set(topic_ids)

        monkeypatch.setattr(ana.side_writer, "free_heads", free_heads)
        async with holder.transaction():
            await holder.execute("SELECT FROM recado.heads WHERE topic_id = $1 FOR UPDATE", held)
            answers = [ana.submit(draft(held, n)) for n in range(5)]

            async def tried(count: int = 1) -> bool:
                return tries >= count

            await until(tried)
            answers += [ana.submit(draft(held, n)) for n in range(5, 10)]
            await until(lambda: tried(3))
        assert [told(answer) for answer in await asyncio.gather(*answers)] == list(range(1, 11))
        assert await stored(database, held) == [(n + 1, n) for n in range(10)]


async def test_a_topic_that_is_free_again_stops_no_other_that_was_held(database: str) -> None:
    """However fast its messages come: whenever some are stored, others have come meanwhile."""
    async with desk(database, patience=4.0) as ana, connected(database) as holder:
        topics = [await ana.topic(name) for name in ("one", "other", "third")]
        await holder.execute(SLOW_STORE)
        answers: list[tuple[int, asyncio.Future[Answer]]] = []
        busy = True

        async def keep_publishing(topic_id: int) -> None:
            while busy:
                answers.append((topic_id, ana.submit(draft(topic_id, len(answers)))))
                await asyncio.sleep(0.005)

        async with holder.transaction():
            await holder.execute("SELECT FROM recado.heads WHERE topic_id = ANY ($1) FOR UPDATE", topics)
            senders = [asyncio.create_task(keep_publishing(topic_id)) for topic_id in topics]
            await until(lambda: set(topics) == set(ana.appender._held))
        await until(lambda: not ana.appender._held)
        busy = False
        await asyncio.gather(*senders)
        for topic_id in topics:
            seqs = [told(await answer) for of, answer in answers if of == topic_id]
            assert seqs == [*range(1, len(seqs) + 1)]


async def test_a_topic_deleted_while_its_head_was_held(database: str) -> None:
    """Its messages are refused, not kept waiting for a head that never comes back."""
    async with desk(database) as ana, connected(database) as other:
        doomed, free = await ana.topic("doomed"), await ana.topic("free")
        async with other.transaction():
            await other.execute("SELECT recado.delete_topic($1)", doomed)
            answers = [ana.submit(draft(doomed, n)) for n in range(3)]
            assert await ana.publish(free, "a") == [1]
        async with asyncio.timeout(10):
            assert [told(answer) for answer in await asyncio.gather(*answers)] == ["unknown_topic"] * 3


async def test_a_topic_that_is_gone_does_not_wait_for_one_that_is_held(database: str) -> None:
    async with desk(database) as ana, connected(database) as other:
        held = await ana.topic("held")
        async with other.transaction():
            await other.execute("SELECT FROM recado.heads WHERE topic_id = $1 FOR UPDATE", held)
            answer = ana.submit(draft(held, "a"))
            gone = ana.submit(draft(10**9, "b"))
            async with asyncio.timeout(10):
                assert told(await gone) == "unknown_topic"
            assert not answer.done()
        assert told(await answer) == 1


# --- what the database refuses ---------------------------------------------------------------------


@pytest.mark.parametrize("bad", [{0}, {6}, {12}, {3, 4}, {0, 5, 11, 12}, set(range(13))])
async def test_one_bad_publish_never_fails_its_neighbours(database: str, bad: set[int]) -> None:
    """The batch is halved until the bad ones are alone: all others go in, in order, and no seq is lost."""
    await run(database, "ALTER TABLE recado.messages ADD CONSTRAINT good CHECK (content <> '\"bad\"')")
    async with desk(database) as ana:
        topic_ids = [await ana.topic("noticias"), await ana.topic("deporte")]
        drafts = [draft(topic_ids[n % 2], "bad" if n in bad else n, f"k{n}") for n in range(13)]
        answers = await ana.publish_all(drafts)
        for parity, topic_id in enumerate(topic_ids):
            good = [n for n in range(13) if n % 2 == parity and n not in bad]
            assert await stored(database, topic_id) == list(enumerate(good, 1))
            assert [answers[n] for n in good] == list(range(1, len(good) + 1))
        assert {n for n, answer in enumerate(answers) if answer == "bad_request"} == bad
        announced = [(a.topic_id, a.first, a.last) for a in ana.notices]
        for topic_id in topic_ids:
            lasts = [last for id_, _, last in announced if id_ == topic_id]
            firsts = [first for id_, first, _ in announced if id_ == topic_id]
            assert firsts == [1, *(last + 1 for last in lasts[:-1])][: len(firsts)]
        assert await ana.publish(topic_ids[0], "later") == [len([n for n in range(0, 13, 2) if n not in bad]) + 1]


@pytest.mark.parametrize("poison", ["nul", "surrogate", "integer"])
async def test_what_no_door_lets_through_fails_alone_too(database: str, poison: str) -> None:
    """Refused by PostgreSQL, by the encoding, by the driver: each is one bad publish, and the node goes on."""
    async with desk(database) as ana:
        topic_id = await ana.topic("noticias")
        bad = draft(topic_id, "bad", "bad")
        match poison:
            case "nul":
                bad.content = Content('"\0"')
            case "surrogate":
                bad.content = Content('"\ud800"')
            case "integer":
                bad.ttl = 2**40
        answers = await ana.publish_all([draft(topic_id, 1), bad, draft(topic_id, 2)])
        assert answers == [1, "bad_request", 2]
        assert await ana.publish(topic_id, 3) == [3]
        assert await stored(database, topic_id) == [(1, 1), (2, 2), (3, 3)]


async def test_a_batch_of_everything(database: str) -> None:
    """Stored, repeated, conflicting, from no member, to no topic: each has its own answer, the log no gap."""
    async with desk(database) as ana:
        topic_id = await ana.topic("noticias")
        await ana.store.know(["omar"])
        omar = (await ana.store.user("omar")).id
        assert await ana.publish(topic_id, "old", key="old") == [1]
        answers = await ana.publish_all([
            draft(topic_id, "a"), draft(topic_id, "old", "old"), draft(topic_id, "b", "old"),
            draft(topic_id, "c", member=omar), draft(10**9, "d"), draft(topic_id, "e", "e"),
        ])  # fmt: skip
        assert answers == [2, 1, "conflict", "not_a_member", "unknown_topic", 3]
        assert await stored(database, topic_id) == [(1, "old"), (2, "a"), (3, "e")]


async def test_a_passing_refusal_is_tried_again(database: str) -> None:
    """Serialization failures, deadlocks, a server that goes away: the sender hears nothing of them."""
    codes = ["40001", "40P01", "57P01", "08006", "53300"]
    await run(
        database,
        "CREATE SEQUENCE public.tries; CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE"
        f" codes text[] := '{{{','.join(codes)}}}'; try integer := nextval('public.tries');"
        " BEGIN IF try <= cardinality(codes) THEN RAISE EXCEPTION 'later' USING ERRCODE = codes[try]; END IF;"
        " RETURN NULL; END $$;"
        "CREATE TRIGGER fail AFTER INSERT ON recado.messages FOR EACH STATEMENT EXECUTE FUNCTION fail()",
    )
    async with desk(database) as ana:
        topic_id = await ana.topic("noticias")
        assert await ana.publish(topic_id, "a", "b") == [1, 2]
        assert await value(database, "SELECT last_value FROM public.tries") == len(codes) + 1


async def test_a_deadlock_with_a_stranger_costs_nothing(database: str) -> None:
    """Who takes heads in another order than ours may get us aborted: the batch is appended again."""
    async with desk(database) as ana, connected(database) as other:
        first, second = await ana.topic("noticias"), await ana.topic("deporte")
        await other.execute("SET deadlock_timeout = '10s'")  # so that it is ours that is aborted
        async with other.transaction():
            await other.execute("SELECT FROM recado.heads WHERE topic_id = $1 FOR UPDATE", second)
            answers = [ana.submit(draft(first, "a")), ana.submit(draft(second, "b"))]
            await waits_for_lock(database, "recado.append")
            await other.execute("SELECT FROM recado.heads WHERE topic_id = $1 FOR UPDATE", first)
        assert [told(answer) for answer in await asyncio.gather(*answers)] == [1, 1]

        async def counted() -> bool:  # the server counts with some delay
            return bool(
                await value(database, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
            )

        await until(counted)
