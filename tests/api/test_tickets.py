"""Tickets stand in for a token once, on both doors, and for no longer than the token itself."""

from __future__ import annotations

import asyncio
import time

import asyncpg
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from messaging.auth.tickets import PREFIX, Tickets
from messaging.auth.tokens import Claims
from messaging.bus.contract import LocalBus
from messaging.errors import RateLimited, Unauthorized, Unavailable
from messaging.node import Node
from messaging.settings.settings import Settings
from messaging.store.migrations import migrate
from messaging.store.store import Store
from support.counted import reached
from support.doors import KEY, Door, Opener
from support.log import run, value
from support.ws import running


async def test_a_ticket_is_void_after_a_minute(database: str) -> None:
    async with running(database) as recado:
        ticket = await recado.node.tickets.issue(Claims("ana", "j", 0, 2**33))
        connection = await asyncpg.connect(database)
        await connection.execute("UPDATE recado.tickets SET expires_at = now()")
        await connection.close()
        with pytest.raises(InvalidStatus):
            await connect(f"{recado.url}/{ticket}", proxy=None)


async def test_only_a_digest_is_kept(door: Door, database: str) -> None:
    ticket = await door.node.tickets.issue(Claims("ana", "j", 0, 2**33))
    connection = await asyncpg.connect(database)
    rows = await connection.fetch("SELECT digest, claims FROM recado.tickets")
    await connection.close()
    assert 1 == len(rows)
    assert ticket not in str(rows)


async def test_of_a_wrong_ticket_the_database_is_never_asked(database: str) -> None:
    store, other = Store(database), Store(database)
    await migrate(database)
    await store.open()
    tickets = Tickets(store)
    ticket = await tickets.issue(Claims("ana", "j", 0, 2**33))
    await other.open()
    assert "ana" == (await Tickets(other).redeem(ticket)).user, "each process knows the seal of all"
    await other.close()
    await store.close()
    for wrong in (PREFIX, f"{PREFIX}wrong", PREFIX + "x" * 56, f"{PREFIX}é\udc80", "", ticket[:-1], f"{ticket}x"):
        with pytest.raises(Unauthorized):
            await tickets.redeem(wrong)
    with pytest.raises(Unavailable):
        await tickets.redeem(ticket)


async def test_a_backend_gets_one_for_anyone_and_it_is_exchanged_for_a_token(open_door: Opener) -> None:
    door = await open_door(auth_mode="key", api_key=KEY)
    await door.ask("POST", "/api/v1/tickets", 400, token=KEY, json={"user": "api"})  # as no token names it
    await door.ask("POST", "/api/v1/tickets", 400, token=KEY, json={})
    issued = await door.ask("POST", "/api/v1/tickets", 201, token=KEY, json={"user": "ana"})
    assert 60 == issued["expires_in"]
    login = await door.ask("POST", "/api/v1/login", json={"ticket": issued["ticket"]})
    assert "ana" == login["user"] == (await door.tokens.verify(login["token"])).user
    assert "unauthorized" == (await door.ask("POST", "/api/v1/login", 401, json={"ticket": issued["ticket"]}))["code"]


async def test_a_user_gets_one_for_itself_that_lives_no_longer_than_its_token(locked: Door) -> None:
    await locked.node.actions.know("ana")
    token, expires_at = locked.tokens.issue("ana", 600, {"shop": 7})
    issued = await locked.ask("POST", "/api/v1/tickets", 201, token=token, json={})
    login = await locked.ask("POST", "/api/v1/login", json={"ticket": issued["ticket"]})
    claims = await locked.tokens.verify(login["token"])
    assert {"shop": 7} == claims.payload
    assert claims.expires_at <= expires_at


async def test_a_ticket_goes_with_its_revoked_token(locked: Door) -> None:
    await locked.node.actions.know("ana")
    token = locked.tokens.issue("ana")[0]
    issued = await locked.ask("POST", "/api/v1/tickets", 201, token=token, json={})
    await locked.ask("POST", "/api/v1/tokens/revoke", token=KEY, json={"user": "ana"})
    await locked.ask("POST", "/api/v1/login", 401, json={"ticket": issued["ticket"]})


async def test_what_a_ticket_has_opened_goes_with_the_token_that_it_stood_in_for(locked: Door) -> None:
    """A login and what it gives in turn: all that has one id is revoked by it."""
    await locked.node.actions.know("ana")
    token = locked.tokens.issue("ana")[0]
    said = await locked.tokens.verify(token)
    for _ in range(3):
        ticket = (await locked.ask("POST", "/api/v1/tickets", 201, token=token, json={}))["ticket"]
        token = (await locked.ask("POST", "/api/v1/login", json={"ticket": ticket}))["token"]
        assert await locked.tokens.verify(token) == said
    await locked.ask("GET", "/api/v1/topics/general", token=token)
    await locked.ask("POST", "/api/v1/tokens/revoke", token=KEY, json={"jti": said.jti})
    await locked.ask("GET", "/api/v1/topics/general", 401, token=token)
    await locked.ask("GET", "/api/v1/topics/general", token=locked.tokens.issue("ana")[0])


async def test_a_ticket_ends_with_its_token(locked: Door) -> None:
    await locked.node.actions.know("ana")
    ticket = await locked.node.tickets.issue(Claims("ana", "j", time.time() - 60, time.time() - 0.1))
    assert "unauthorized" == (await locked.ask("POST", "/api/v1/login", 401, json={"ticket": ticket}))["code"]


async def test_the_key_of_the_seals_is_the_databases_whatever_becomes_of_it(open_door: Opener, database: str) -> None:
    """It is there before the first backup, and one that was restored may bring another."""
    door = await open_door()
    assert await value(database, "SELECT value FROM recado.shared WHERE name = 'ticket_secret'")
    await run(database, "UPDATE recado.shared SET value = 'of a backup' WHERE name = 'ticket_secret'")
    node = Node(Settings(), database, LocalBus())
    await node.open()
    ticket = await node.tickets.issue(Claims("ana", "j", time.time(), time.time() + 60))
    await node.close()
    assert "unauthorized" == (await door.ask("POST", "/api/v1/login", 401, json={"ticket": ticket}))["code"]
    await run(database, "UPDATE recado.shared SET value = '5' WHERE name = 'restored'")
    await door.node.store.epochs.look()
    await door.ask("POST", "/api/v1/login", json={"ticket": ticket})


async def test_a_user_has_as_many_tickets_that_live_as_connections(open_door: Opener, database: str) -> None:
    """Also where it asks for all at once; a used one makes room, and a backend has no limit."""
    door = await open_door(auth_mode="key", api_key=KEY, max_connections_per_user=3)
    ana, eva = await door.token("ana"), await door.token("eva")
    actions, tickets = door.node.actions, door.node.tickets
    asker, claims = await actions.know("ana"), await door.tokens.verify(ana)
    made = await asyncio.gather(*(tickets.issue(claims, asker.id, 3) for _ in range(9)), return_exceptions=True)
    assert 6 == sum(isinstance(each, RateLimited) for each in made)
    refused = await door.ask("POST", "/api/v1/tickets", 429, token=ana, json={})
    assert "rate_limited" == refused["code"] and "MAX_CONNECTIONS_PER_USER" in refused["message"]
    assert 1 == reached(door, "tickets")
    await door.ask("POST", "/api/v1/tickets", 201, token=eva, json={})
    await door.ask("POST", "/api/v1/tickets", 201, token=KEY, json={"user": "ana"})
    await tickets.redeem(next(each for each in made if isinstance(each, str)))
    await door.ask("POST", "/api/v1/tickets", 201, token=ana, json={})
    await door.ask("POST", "/api/v1/tickets", 429, token=ana, json={})
