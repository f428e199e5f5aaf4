"""Attacks by connections: answers that nobody takes, sockets that say nothing, streams by the hundred."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp

from hostile.measuring import Row, every
from hostile.peers import one_command
from hostile.rig import SECRET, Server
from support.raw_ws import raw_client

KEY = {"Authorization": f"Bearer {SECRET}"}
NOT_READ = 150  # sockets
SILENT = 1100  # sockets
DESCRIPTORS = 1024  # that the process may have
READERS, STREAMS = 16, 64  # users, and streams of each
LARGE = "y" * 64_000


async def answers_not_taken(row: Row) -> None:
    """A history of 6.5 MB, asked for again and again by sockets that read nothing."""
    async with one_command(row) as (server, bystander):
        await row.rig.topic("archive", *(users := [f"u{number}" for number in range(4)]))
        await _fill(server, "archive", 100)
        requests = [_get("/api/v1/topics/archive/messages?after=0&limit=100", row.rig.token(user)) for user in users]

        async def ask() -> None:
            async with _sockets(server.api, NOT_READ) as lines:
                for line, request in zip(lines, itertools.cycle(requests), strict=False):
                    with suppress(OSError):
                        line.send(request * 30)
                await asyncio.sleep(3600)

        await row.measure(ask, bystander)


async def silent_sockets(row: Row) -> None:
    """Without credentials, on both doors: silent, with half a head or body, kept alive. New ones all the time.

    The process has few descriptors; its lines to the database are cut meanwhile, and others come and go.
    """
    await row.rig.database()
    server = await row.rig.start("recado", descriptors=DESCRIPTORS)
    half = b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
    words = itertools.cycle([b"", b"GET /healthz HTTP/1.1\r\nHost:", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", half])
    async with row.bystander(server) as bystander:
        await row.rig.node.actions.know("ana")
        path, failed, tried = f"/{row.rig.token('ana')}", 0, 0

        async def come(number: int) -> None:
            nonlocal failed, tried
            tried += 1
            try:
                async with asyncio.timeout(5), raw_client(server.url, path) as client:
                    await client.greeted()
                await _answered(server, "/api/v1/topics/plaza", KEY)
            except (OSError, aiohttp.ClientError, asyncio.IncompleteReadError, AssertionError, TimeoutError):
                failed += 1

        async def crowd(number: int) -> None:
            url = (server.url, server.api)[number % 2]
            async with _sockets(url, SILENT // 2) as lines:
                for line, word in zip(lines, words, strict=False):
                    with suppress(OSError):
                        line.send(word)
                if number == 2:  # both doors are full: the database must be within reach
                    await row.rig.sql.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE application_name = 'recado' AND state = 'idle' AND pid <> pg_backend_pid()"
                    )
                await asyncio.sleep(4.5)

        async def attack() -> None:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(every(1.5, crowd))
                tasks.create_task(every(0.5, come))

        await row.measure(attack, bystander)
        row.found.check(tried > 0 and not failed, f"{failed} of {tried} who came in vain")


async def all_streams(row: Row) -> None:
    """As many streams of a quiet topic as each of many users may have, and somebody else who wants one."""
    async with one_command(row) as (server, bystander):
        users = [f"u{number}" for number in range(READERS)]
        await row.rig.topic("quiet", *users, "lucia")
        requests = [_get("/api/v1/topics/quiet/stream", row.rig.token(user)) for user in users]
        lucia = {"Authorization": f"Bearer {row.rig.token('lucia')}"}
        failed = tried = 0

        async def wants_one(number: int) -> None:
            nonlocal failed, tried
            tried += 1
            try:
                await _answered(server, "/api/v1/topics/quiet/stream", lucia, b":0\n\n")
            except (aiohttp.ClientError, asyncio.IncompleteReadError, TimeoutError):
                failed += 1

        async def take_all() -> None:
            async with _sockets(server.api, READERS * STREAMS) as lines:
                for line, request in zip(lines, itertools.cycle(requests), strict=False):
                    line.send(request)
                reading = [asyncio.create_task(_read(line)) for line in lines]
                try:
                    await asyncio.sleep(1)
                    await every(0.5, wants_one)
                finally:
                    for task in reading:
                        task.cancel()

        await row.measure(take_all, bystander)
        row.found.check(tried > 0 and not failed, f"{failed} of {tried} in vain for one stream")


def _get(path: str, token: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


async def _answered(server: Server, path: str, headers: dict[str, str], until: bytes = b"") -> None:
    """Ask, and read until this comes. Raises what the attempt met."""
    async with asyncio.timeout(5), aiohttp.ClientSession(server.api, headers=headers) as http, http.get(path) as answer:
        answer.raise_for_status()
        await answer.content.readuntil(until or b"}")


async def _read(line: socket.socket) -> None:
    with suppress(OSError):
        while await asyncio.get_running_loop().sock_recv(line, 65536):
            pass


@asynccontextmanager
async def _sockets(url: str, count: int) -> AsyncIterator[list[socket.socket]]:
    """Connections that do nothing by themselves."""
    host, _, port = url.rpartition("/")[2].rpartition(":")
    lines = [socket.socket() for _ in range(count)]
    try:
        for line in lines:
            line.setblocking(False)
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            with suppress(OSError):
                await asyncio.get_running_loop().sock_connect(line, (host, int(port)))
        yield lines
    finally:
        for line in lines:
            line.close()


async def _fill(server: Server, topic: str, count: int) -> None:
    async with aiohttp.ClientSession(headers=KEY) as http:
        for _ in range(count // 10):
            items = [{"topic_name": topic, "content": LARGE} for _ in range(10)]
            async with http.post(f"{server.api}/api/v1/messages/batch", json=items) as answer:
                assert answer.status == 200, await answer.text()
