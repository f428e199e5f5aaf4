"""How many topics, memberships and invitations a user has made by itself, and that two at once make no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable

import pytest

from messaging.errors import LimitReached, RateLimited, RecadoError
from messaging.model import User
from messaging.permissions import BACKEND, Caller
from messaging.store.queries import load_queries
from support.counted import reached
from support.log import connected, run, value, waits_for_lock
from support.ws import Running, receive, running, send


@pytest.fixture
async def recado(database: str) -> AsyncIterator[Running]:
    async with running(database, max_topics_per_user=2, max_memberships_per_user=2, invites=3) as found:
        yield found


async def users(recado: Running, *names: str) -> list[User]:
    return [await recado.node.actions.know(name) for name in names]


async def topics(recado: Running, *names: str) -> None:
    [owner] = await users(recado, "omar")
    for name in names:
        await recado.node.actions.create_topic(BACKEND, name, owner, "public")


async def create(recado: Running, user: User, name: str) -> None:
    await recado.node.actions.create_topic(Caller(user), name, user, "public")


async def join(recado: Running, user: User, name: str) -> bool:
    return await recado.node.actions.subscribe(Caller(user), user, name)


async def invite(recado: Running, user: User, topic: str, name: str) -> bool:
    return await recado.node.actions.invite(Caller(user), topic, name)


async def refused(error: type[RecadoError], asked: Awaitable[object]) -> str:
    with pytest.raises(error) as caught:
        await asked
    return caught.value.message


# --- topics ----------------------------------------------------------------------------------------


async def test_a_user_makes_so_many_topics_and_more_once_it_deleted_one(recado: Running) -> None:
    [ana] = await users(recado, "ana")
    await create(recado, ana, "one")
    await create(recado, ana, "two")
    assert "MAX_TOPICS_PER_USER" in await refused(LimitReached, create(recado, ana, "three"))
    assert 1 == reached(recado, "max_topics_per_user")
    await recado.node.actions.delete_topic(Caller(ana), "one")
    await create(recado, ana, "three")


async def test_a_topic_counts_for_who_made_it_though_it_has_left(recado: Running) -> None:
    ana, _ = await users(recado, "ana", "eva")
    for name in ("one", "two"):
        await create(recado, ana, name)
        await recado.node.actions.invite(BACKEND, name, "eva")  # without any member it would go
        await recado.node.actions.unsubscribe(Caller(ana), ana, name)
    await refused(LimitReached, create(recado, ana, "three"))


async def test_what_a_backend_makes_counts_for_nobody(recado: Running) -> None:
    [ana] = await users(recado, "ana")
    for number in range(3):
        await recado.node.actions.create_topic(BACKEND, f"t{number}", ana, "public")
    await create(recado, ana, "one")


async def test_news_that_a_reader_asks_for_count_for_it(recado: Running) -> None:
    [ana] = await users(recado, "ana")
    names = [f"updates.store.{number:08d}-0000-0000-0000-000000000000" for number in range(3)]
    for name in names[:2]:
        await join(recado, ana, name)
        await recado.node.actions.unsubscribe(Caller(ana), ana, name)
    await refused(LimitReached, join(recado, ana, names[2]))


async def test_of_two_topics_at_once_one_is_too_many(database: str, recado: Running) -> None:
    [ana] = await users(recado, "ana")
    await create(recado, ana, "one")
    create_limited = load_queries()["topic_create_limited"]
    async with connected(database) as other, other.transaction():
        await other.fetchval(create_limited, "two", "public", "ana", None, None, ana.id, ana.id, 2)
        second = asyncio.create_task(create(recado, ana, "three"))
        await waits_for_lock(database, "create_topic_within_limits")
    await refused(LimitReached, second)
    assert 2 == await value(database, "SELECT count(*) FROM recado.topics WHERE made_by = $1", ana.id)


async def test_a_limit_of_0_is_none(database: str) -> None:
    async with running(
        database, max_topics_per_user=0, max_memberships_per_user=0, max_invitations_per_user=0, invites=0
    ) as recado:
        await topics(recado, "plaza")
        [ana, _] = await users(recado, "ana", "eva")
        await create(recado, ana, "one")
        await join(recado, ana, "plaza")
        await invite(recado, ana, "plaza", "eva")


# --- memberships -----------------------------------------------------------------------------------


async def test_a_user_joins_so_many_topics_and_more_once_it_left_one(recado: Running) -> None:
    await topics(recado, "a", "b", "c")
    [ana] = await users(recado, "ana")
    await join(recado, ana, "a")
    await join(recado, ana, "b")
    assert "MAX_MEMBERSHIPS_PER_USER" in await refused(LimitReached, join(recado, ana, "c"))
    assert 1 == reached(recado, "max_memberships_per_user")
    assert not await join(recado, ana, "a")  # where it is a member already, nothing is refused
    await recado.node.actions.unsubscribe(Caller(ana), ana, "a")
    assert await join(recado, ana, "c")


async def test_where_a_user_was_put_does_not_count_for_it(recado: Running) -> None:
    await topics(recado, "a", "b", "c", "d")
    ana, omar = await users(recado, "ana", "omar")
    await recado.node.actions.invite(BACKEND, "a", "ana")
    await invite(recado, omar, "b", "ana")
    await create(recado, ana, "own")
    await join(recado, ana, "c")
    await join(recado, ana, "d")


async def test_of_two_joins_at_once_one_is_too_many(database: str, recado: Running) -> None:
    await topics(recado, "a", "b", "c")
    [ana] = await users(recado, "ana")
    await join(recado, ana, "a")
    b = await value(database, "SELECT id FROM recado.topics WHERE name = 'b'")
    async with connected(database) as other, other.transaction():
        joined = await other.fetchval(load_queries()["topic_join_limited"], b, ana.id, None, None, 2, 0, 0)
        assert "joined" == joined
        second = asyncio.create_task(join(recado, ana, "c"))
        await waits_for_lock(database, "join_within_limits")
    await refused(LimitReached, second)


# --- invitations -----------------------------------------------------------------------------------


async def test_a_user_invites_so_many_a_minute(database: str, recado: Running) -> None:
    await topics(recado, "plaza")
    [omar, *_] = await users(recado, "omar", "u1", "u2", "u3", "u4")
    for name in ("u1", "u2", "u3"):
        assert await invite(recado, omar, "plaza", name)
    assert "INVITES" in await refused(RateLimited, invite(recado, omar, "plaza", "u4"))
    assert 1 == reached(recado, "invites")
    assert not await invite(recado, omar, "plaza", "u1")  # who is a member is not invited
    await run(database, "UPDATE recado.users SET invites_until = invites_until - interval '20 seconds'")
    assert await invite(recado, omar, "plaza", "u4")
    await users(recado, "u5")
    await refused(RateLimited, invite(recado, omar, "plaza", "u5"))
    assert await recado.node.actions.invite(BACKEND, "plaza", "u5")


@pytest.fixture
async def few_open(database: str) -> AsyncIterator[Running]:
    """Where omar, who has invited u1 and u2 to plaza, may invite nobody else until one has taken it up."""
    async with running(database, max_invitations_per_user=2) as recado:
        await topics(recado, "plaza")
        [omar, *_] = await users(recado, "omar", "u1", "u2", "u3")
        for name in ("u1", "u2"):
            await invite(recado, omar, "plaza", name)
        yield recado


async def can_invite(recado: Running, name: str = "u3") -> bool:
    await run_free(recado)
    try:
        return await invite(recado, (await users(recado, "omar"))[0], "plaza", name)
    except LimitReached:
        return False


async def run_free(recado: Running) -> None:
    """Its rate is not what is looked at."""
    async with recado.node.store.pool.connection() as connection:
        await connection.execute("UPDATE recado.users SET invites_until = '-infinity'")


async def test_invitations_that_nobody_took_up_are_so_many(few_open: Running) -> None:
    assert not await can_invite(few_open)
    assert 1 == reached(few_open, "open_invitations")


async def test_who_subscribes_has_taken_its_invitation_up(few_open: Running) -> None:
    [u1] = await users(few_open, "u1")
    assert not await join(few_open, u1, "plaza")
    assert await can_invite(few_open)


async def test_who_writes_has_taken_its_invitation_up(few_open: Running) -> None:
    [u1] = await users(few_open, "u1")
    await few_open.node.actions.aim(Caller(u1), "plaza")
    assert await can_invite(few_open)


async def test_who_confirms_something_has_taken_its_invitation_up(few_open: Running) -> None:
    async with few_open.client("u1") as u1, few_open.client("omar") as omar:
        await receive(u1, "connected")
        await send(omar, action="message", topic_name="plaza", content="hello")
        await receive(u1, "message")
        await send(u1, action="ack", topic_name="plaza", seq=1)
        await send(u1, action="topics")  # answered behind the ack
        await receive(u1, "topics")
        await few_open.node.cursors.flush()
    assert await can_invite(few_open)


async def test_who_only_connects_has_not(few_open: Running) -> None:
    async with few_open.client("u1") as u1:
        await receive(u1, "connected")
    await few_open.node.cursors.flush()
    assert not await can_invite(few_open)


async def test_who_leaves_or_is_removed_needs_no_place_among_the_invited(few_open: Running) -> None:
    omar, u1 = await users(few_open, "omar", "u1")
    await few_open.node.actions.unsubscribe(Caller(omar), u1, "plaza")
    assert await can_invite(few_open)


async def test_of_two_invitations_at_once_one_is_too_many(database: str) -> None:
    """To different topics: what they share is who invites."""
    async with running(database, max_invitations_per_user=1) as recado:
        await topics(recado, "a", "b")
        omar, u1, _ = await users(recado, "omar", "u1", "u2")
        a = await value(database, "SELECT id FROM recado.topics WHERE name = 'a'")
        async with connected(database) as other, other.transaction():
            became = await other.fetchval(load_queries()["topic_join_limited"], a, u1.id, omar.id, "omar", 0, 0, 1)
            assert "joined" == became
            second = asyncio.create_task(invite(recado, omar, "b", "u2"))
            await waits_for_lock(database, "join_within_limits")
        await refused(LimitReached, second)
