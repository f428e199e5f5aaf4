"""The writing half of a node over a real database, without a door; and looks at what is in the database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from messaging.errors import RecadoError
from messaging.log.appender import Appender
from messaging.model import Appended, Content, Membership, Topic
from messaging.observability.metrics import Metrics
from messaging.store.append import Draft, Verdict
from messaging.store.store import Store
from support.waiting import until

Answer = Verdict | RecadoError

# Every append, once it has done everything else, waits for this lock, still uncommitted.
HOLD_COMMIT = """
CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER hold AFTER INSERT ON recado.messages DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION hold();
"""


def draft(
    topic_id: int, content: Any, key: str | None = None, *, sender: str = "ana", member: int | None = None,
    ttl: int | None = None,
) -> Draft:  # fmt: skip
    text = Content(json.dumps(content))
    return Draft(topic_id=topic_id, member=member, sender=sender, key=key, content=text, ttl=ttl)


class Desk:
    """A store with its appender, and someone who publishes and waits for the answers."""

    def __init__(self, dsn: str, answer_time: float, patience: float) -> None:
        self.dsn = dsn
        self.store = Store(dsn)
        self.writer, self.side_writer = (self.store.log_writer("test", answer_time=answer_time) for _ in range(2))
        self.notices: list[Appended] = []
        self.appender = Appender(self.writer, self.side_writer, self.notices.append, Metrics(), patience)
        self.answers: list[Answer] = []  # in the order in which they were given
        self.work: asyncio.Task[None]

    def submit(self, each: Draft) -> asyncio.Future[Answer]:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.appender.submit(each, self, future)
        return future

    def on_result(self, context: asyncio.Future[Answer], outcome: Answer) -> None:
        assert not context.done(), "a publish was answered twice"
        context.set_result(outcome)
        self.answers.append(outcome)

    def on_batch_end(self) -> None:
        pass

    async def publish(self, topic_id: int, *contents: Any, **more: Any) -> list[int | str]:
        """Publish these in one batch. By content its seq, or the code of its error."""
        return await self.publish_all([draft(topic_id, content, **more) for content in contents])

    async def publish_all(self, drafts: Sequence[Draft]) -> list[int | str]:
        futures = [self.submit(each) for each in drafts]
        async with asyncio.timeout(30):
            return [told(answer) for answer in await asyncio.gather(*futures)]

    async def topic(self, name: str, owner: str = "ana", *members: str, kind: Any = "public", **more: Any) -> int:
        """A new topic's id."""
        await self.store.know([owner, *members])
        topic_id = await self.store.create_topic(name, kind, await self.store.user(owner), **more)
        assert topic_id is not None
        for member in members:
            await self.store.join(topic_id, (await self.store.user(member)).id, "member", None)
        return topic_id

    async def inbox(self, user: str) -> Topic:
        await self.store.know([user])
        standing = await self.store.topic_view(f"@{user}")
        assert standing is not None
        return standing.topic

    async def membership(self, user: str, topic_id: int) -> Membership:
        user_id = (await self.store.user(user)).id
        return next(m for m in await self.store.memberships(user_id) if m.topic.id == topic_id)


def told(answer: Answer) -> int | str:
    """A seq, or the code of an error."""
    if isinstance(answer, RecadoError):
        return answer.code
    assert answer.seq is not None
    return answer.seq


@asynccontextmanager
async def desk(dsn: str, answer_time: float = 4.0, patience: float = 10.0) -> AsyncIterator[Desk]:
    """Open a store and run its appender."""
    found = Desk(dsn, answer_time, patience)
    await found.store.open()
    found.work = work = asyncio.create_task(found.appender.run())
    try:
        yield found
        async with asyncio.timeout(20):
            await found.appender.drain()
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await found.writer.close()
        await found.side_writer.close()
        await found.store.close()
    if not work.cancelled():
        work.result()


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the test's own."""
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def rows(dsn: str, query: str, *args: Any) -> list[tuple[Any, ...]]:
    async with connected(dsn) as connection:
        return [tuple(row) for row in await connection.fetch(query, *args)]


async def value(dsn: str, query: str, *args: Any) -> Any:
    async with connected(dsn) as connection:
        return await connection.fetchval(query, *args)


async def run(dsn: str, script: str) -> None:
    async with connected(dsn) as connection:
        await connection.execute(script)


async def stored(dsn: str, topic_id: int) -> list[tuple[int, Any]]:
    """The log of a topic: seq and content, in order; its head must end it, and nothing be missing."""
    found = await rows(
        dsn,
        "SELECT h.last_seq, m.seq, m.content FROM recado.heads AS h"
        " LEFT JOIN recado.messages AS m ON m.topic_id = h.topic_id WHERE h.topic_id = $1 ORDER BY m.seq",
        topic_id,
    )
    log = [(seq, json.loads(content)) for _, seq, content in found if seq is not None]
    assert [seq for seq, _ in log] == list(range(1, found[0][0] + 1))
    return log


async def waits_for_lock(dsn: str, query: str) -> int:
    """Wait until a statement with this in it waits for a lock. The process that runs it."""
    waiting = (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        " AND query LIKE '%' || $1 || '%'"
    )
    async with connected(dsn) as connection:
        return int(await until(lambda: connection.fetchval(waiting, query)))
