"""What comes before the handshake is answered. RFC 6455 (4.1) has a client wait; what a hasty one sends is not lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from messaging.limits.connections import MAX_HEAD
from support.log import connected, waits_for_lock
from support.raw_ws import HANDSHAKE, PING, close, ended, frame, line, raw_client, text
from support.ws import Running, running


@pytest.fixture
async def recado(database: str) -> AsyncIterator[Running]:
    async with running(database) as found:
        await found.topic("noticias", "omar", "diego")
        yield found


def asking(ref: Any) -> bytes:
    return text(action="no such action", ref=str(ref))


@pytest.mark.parametrize("cut", [0, 3, -1, 10**6])
async def test_frames_behind_the_handshake_are_handled_in_order(recado: Running, cut: int) -> None:
    """However they are cut: the rest comes behind the answer."""
    frames = b"".join(asking(n) for n in range(300))
    async with raw_client(recado.url, f"/{recado.token('diego')}", frames[:cut]) as diego:
        diego.write(frames[cut:])
        await diego.answer("299")
        refs = [each["ref"] for each in diego.texts if "ref" in each]
        assert refs == [str(n) for n in range(300)]


async def test_no_reply_comes_before_the_answer(recado: Running) -> None:
    """A pong neither: `raw_client` reads the answer first. A message and a close frame count."""
    message = text(action="message", topic_name="noticias", content=1, id="1")
    async with raw_client(recado.url, f"/{recado.token('omar')}", frame(PING, b"x"), message, close()) as omar:
        await omar.until(lambda: omar.closed)
    async with raw_client(recado.url, f"/{recado.token('diego')}") as diego:
        assert (await diego.message(1))["content"] == 1


async def test_what_comes_while_the_token_is_looked_up_waits(recado: Running, database: str) -> None:
    """And a peer that sends on and on is cut off: nothing holds what it sends."""
    head = HANDSHAKE.format(path=recado.token("new"), more="").encode()
    async with (
        connected(database) as other,
        line(recado.url) as (reader, writer),
        line(recado.url) as (flooded, flooding),
    ):
        async with other.transaction():
            await other.execute("LOCK TABLE recado.users")
            for each in (writer, flooding):
                each.write(head)
            await waits_for_lock(database, "recado.users")
            writer.write(asking("r"))
            flooding.write(bytes(MAX_HEAD))
            assert await ended(flooded) == b""
        async with asyncio.timeout(10):
            assert b'"ref":"r"' in await reader.readuntil(b'"ref":"r"')
