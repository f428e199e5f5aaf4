"""Connections to the WebSocket door are counted when they are accepted, before anybody is known."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from ipaddress import ip_network
from typing import Any

from support.counted import reached
from support.raw_ws import HANDSHAKE, ended, line
from support.waiting import until
from support.ws import receive, running


async def test_an_address_has_so_many_connections_and_others_are_let_in(database: str) -> None:
    async with running(database, max_connections_per_address=2) as recado, AsyncExitStack() as stack:
        for user in ("diego", "ana"):
            await receive(await stack.enter_async_context(recado.client(user)), "connected")
        async with line(recado.url) as (reader, _):
            assert await ended(reader) == b""
        assert reached(recado, "max_connections_per_address") == 1
        async with recado.client("lucia", local_addr=("127.0.0.2", 0)) as other:
            await receive(other, "connected")


async def test_silent_connections_give_way_and_sessions_stay(database: str) -> None:
    async with running(database, max_connections_per_address=3) as recado, recado.client("diego") as diego:
        await receive(diego, "connected")
        async with line(recado.url) as (silent, _), line(recado.url) as (half, writer):
            writer.write(HANDSHAKE[:30].encode())
            async with recado.client("ana") as ana, recado.client("lucia") as lucia:
                for link in (ana, lucia):
                    await receive(link, "connected")
                for reader in (silent, half):
                    assert await ended(reader) == b""
                await diego.send('{"action":"topics"}')
                await receive(diego, "topics")


async def test_behind_a_trusted_proxy_whom_it_names_counts(database: str) -> None:
    changes: dict[str, Any] = {"max_connections_per_address": 1, "trusted_proxies": (ip_network("127.0.0.0/8"),)}
    async with running(database, **changes) as recado, AsyncExitStack() as stack:
        for client, answer in (("192.0.2.1", b" 101 "), ("192.0.2.1", b" 429 "), ("192.0.2.2", b" 101 ")):
            reader, writer = await stack.enter_async_context(line(recado.url))
            more = f"X-Forwarded-For: {client}\r\n"
            writer.write(HANDSHAKE.format(path=recado.token("diego"), more=more).encode())
            async with asyncio.timeout(10):
                head = await reader.readuntil(b"\r\n\r\n")
            assert answer in head
            if answer == b" 429 ":
                assert b'"code":"rate_limited"' in await ended(reader)


async def test_all_connections_to_the_process_leave_descriptors_for_the_database(database: str) -> None:
    """Whichever door they come to, and whoever comes; what is idle gives way."""
    async with running(database, max_connections_per_address=0) as recado, AsyncExitStack() as stack:
        recado.node.connections._most = 3
        for user in ("diego", "ana", "lucia"):
            await receive(await stack.enter_async_context(recado.client(user)), "connected")
        async with line(recado.url, "127.0.0.2") as (reader, _):
            assert await ended(reader) == b""
        assert reached(recado, "descriptors") == 1


async def test_a_handshake_that_is_too_long_ends(database: str) -> None:
    async with running(database) as recado, line(recado.url) as (reader, writer):
        writer.write(b"GET /x HTTP/1.1\r\n" + b"".join(b"A%d: %b\r\n" % (n, b"x" * 8000) for n in range(10)))
        assert await ended(reader) == b""
        await until(lambda: not len(recado.node.connections))


async def test_who_was_refused_or_leaves_gives_way_to_who_comes(database: str) -> None:
    """Though it keeps its end open."""
    async with running(database, max_connections_per_user=1) as recado, recado.client("diego") as diego:
        await receive(diego, "connected")
        recado.node.connections._most = 3
        async with line(recado.url) as (wrong, knocks), line(recado.url) as (second, comes):
            knocks.write(HANDSHAKE.format(path="wrong", more="").encode())
            await wrong.readuntil(b" 401 ")
            comes.write(HANDSHAKE.format(path=recado.token("diego"), more="").encode())
            await second.readuntil((4529).to_bytes(2, "big"))
            async with recado.client("ana") as ana, recado.client("lucia") as lucia:
                for link in (ana, lucia):
                    await receive(link, "connected")
                await diego.send('{"action":"topics"}')
                await receive(diego, "topics")
