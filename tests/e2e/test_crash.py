"""Everything killed at once, with clients connected, again and again: nothing acknowledged is lost."""

from __future__ import annotations

import asyncio

from support.programs import Wscat, kill_everything, post, recado, wscat

ROUNDS = 3


async def read_until(person: Wscat, last: str, got: list[tuple[int, str]]) -> None:
    while not got or got[-1][1] != last:
        frame = await person.frame(action="message", topic_name="noticias")
        if "content" in frame:
            got.append((frame["seq"], frame["content"]))


async def test_kill_9_between_two_messages_loses_nothing() -> None:
    acknowledged: list[tuple[int, str]] = []
    got: dict[str, list[tuple[int, str]]] = {"diego": [], "satoshi": []}
    async with recado() as first:
        post(f"{first.api}/api/v1/topics", {"topic_name": "noticias", "user": "omar", "is_private": False})
        for user in got:
            async with wscat(first.url_of(user)) as person:
                await person.say(action="subscribe", topic_name="noticias")
                await person.frame(action="subscribe", result="ok")
        server = first
        for number in range(ROUNDS):
            # diego is there when it happens; satoshi comes only at the very end.
            async with wscat(server.url_of("omar")) as omar, wscat(server.url_of("diego")) as diego:
                for half in ("before", "after"):
                    content = f"{number} {half}"
                    await omar.say(action="message", topic_name="noticias", content=content, id=f"{number}-{half}")
                    receipt = await omar.frame(action="message", result="ok", id=f"{number}-{half}")
                    acknowledged.append((receipt["seq"], content))
                    if half == "before":
                        await read_until(diego, content, got["diego"])
                kill_everything(server)
                await omar.process.wait()
            await server.process.wait()
            server = await server.again()
        try:
            for user, received in got.items():
                async with wscat(server.url_of(user)) as person:
                    await read_until(person, acknowledged[-1][1], received)
        finally:
            await asyncio.shield(server.end())

    assert list(range(1, 2 * ROUNDS + 1)) == [seq for seq, _ in acknowledged]
    assert acknowledged == got["satoshi"]
    assert acknowledged == sorted(set(got["diego"]))  # what was not confirmed when it happened may come again
