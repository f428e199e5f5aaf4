"""Rule 1: acknowledged means durable."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from messaging.bus.contract import LocalBus
from messaging.node import Node
from messaging.settings.settings import Settings
from messaging.store.start import NotDurable
from messaging.store.store import Move
from support.log import HOLD_COMMIT, connected, desk, rows, run, value, waits_for_lock
from support.raw_ws import raw_client, text
from support.spare_postgres import Spare, spare_postgres
from support.ws import running

# What counts is the setting of the moment in which the transaction commits.
NOTE_SYNCHRONOUS_COMMIT = """
CREATE TABLE public.noted (setting text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.noted VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER note AFTER INSERT ON recado.messages DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION note();
"""


@pytest.fixture(scope="module")
async def spare() -> AsyncIterator[Spare]:
    async with spare_postgres() as found:
        yield found


@pytest.mark.parametrize("name", ["fsync", "full_page_writes"])
async def test_a_start_refuses_a_database_that_may_lose_commits(spare: Spare, name: str) -> None:
    """It says which setting, and what to do, and makes nothing; UNSAFE_DURABILITY=1 accepts it."""
    await run(spare.dsn, f"CREATE DATABASE bare_{name}")
    dsn = urlsplit(spare.dsn)._replace(path=f"/bare_{name}").geturl()
    careless = Settings(unsafe_durability=True)
    await spare.set(name, "off")
    try:
        node = Node(Settings(), dsn, LocalBus())
        with pytest.raises(NotDurable, match=f"(?s){name}=off.*{name}=on.*UNSAFE_DURABILITY=1"):
            await node.open()
        await node.close()
        assert await value(dsn, "SELECT to_regnamespace('recado') IS NULL")

        node = Node(careless, dsn, LocalBus())
        await node.open()
        await node.close()
    finally:
        await spare.set(name, "on")
    node = Node(Settings(), dsn, LocalBus())
    await node.open()
    await node.close()


@pytest.mark.parametrize(
    ("default", "used"),
    [("off", "on"), ("local", "on"), ("remote_write", "on"), ("on", "on"), ("remote_apply", "remote_apply")],
)
async def test_every_append_is_synchronous_whatever_the_database_says(database: str, default: str, used: str) -> None:
    """By itself, for its own transaction alone, and never below what the database wants."""
    await run(database, NOTE_SYNCHRONOUS_COMMIT)
    await set_default(database, default)
    async with desk(database) as ana:
        topic_id = await ana.topic("noticias")
        assert await ana.publish(topic_id, "a") == [1]
        assert await ana.publish(topic_id, "b") == [2]
        assert await rows(database, "SELECT setting FROM public.noted") == [(used,), (used,)]
        connection = await ana.writer._connected()
        assert await connection.fetchval("SHOW synchronous_commit") == default


async def test_what_may_be_lost_turns_synchronous_commit_off_for_itself_alone(database: str) -> None:
    """Cursors and purges may be lost by a crash. They leave the connection as it was."""
    async with desk(database) as ana:
        topic_id = await ana.topic("noticias")
        await ana.publish(topic_id, "a")
        membership = await ana.membership("ana", topic_id)
        connections = set()
        for _ in range(16):
            await ana.store.move_cursors([Move(topic_id, membership.id, "", 1)])
            await ana.store.purge("purge_expired", 1000)
            async with ana.store.pool.connection() as connection:
                connections.add(await connection.fetchval("SELECT current_setting('synchronous_commit')"))
        assert connections == {"on"}


async def test_no_receipt_before_commit(database: str) -> None:
    """Nor anything else: the message is with nobody, and in no page, while its COMMIT is on the way."""
    await run(database, HOLD_COMMIT)
    async with running(database) as recado, connected(database) as holder:
        await recado.topic("noticias", "omar", "diego")
        async with (
            raw_client(recado.url, f"/{recado.token('omar')}") as omar,
            raw_client(recado.url, f"/{recado.token('diego')}") as diego,
        ):
            for client in (omar, diego):
                await client.greeted()
            await holder.execute("SELECT pg_advisory_lock(42)")
            omar.write(text(action="message", topic_name="noticias", content=1, id="1"))
            await waits_for_lock(database, "recado.append")
            for client in (omar, diego):
                await client.heard()
                assert [each["action"] for each in client.texts] == ["connected", "error"]
            assert await value(database, "SELECT count(*) FROM recado.messages") == 0

            await holder.execute("SELECT pg_advisory_unlock(42)")
            await omar.until(lambda: any(each["action"] == "message" and "result" in each for each in omar.texts))
            # Who has the receipt finds the message in the database, whoever asks.
            assert await rows(database, "SELECT seq, content FROM recado.messages") == [(1, "1")]
            await diego.message(1)


async def test_no_receipt_for_what_did_not_commit(database: str) -> None:
    """The COMMIT itself fails, once: the message is appended again, and only then acknowledged."""
    await run(
        database,
        "CREATE SEQUENCE public.tries; CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF nextval('public.tries') = 1 THEN RAISE EXCEPTION 'not now' USING ERRCODE = '40001'; END IF;"
        " RETURN NULL; END $$;"
        "CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON recado.messages DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION fail()",
    )
    async with desk(database) as ana:
        topic_id = await ana.topic("noticias")
        assert await ana.publish(topic_id, "a") == [1]
        assert await value(database, "SELECT last_value FROM public.tries") == 2
        assert await rows(database, "SELECT seq, content FROM recado.messages") == [(1, '"a"')]


async def set_default(dsn: str, setting: str) -> None:
    async with connected(dsn) as connection:
        name = await connection.fetchval("SELECT current_database()")
        await connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = {setting}")
