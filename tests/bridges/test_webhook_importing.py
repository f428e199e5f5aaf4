"""A platform's own list of users: read at once, then every so often, and believed within reason."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from push_support import LOOPBACK, Receiver, receiving, reply

from bridges.webhooks.client import NotReached, Patience, PlatformHttpClient
from bridges.webhooks.importing import LIST_BYTES, Importer
from bridges.webhooks.platforms import PlatformLanes
from messaging.errors import Unavailable
from messaging.integrator.events import Platform
from messaging.integrator.importing import Implausible
from messaging.model import Message
from messaging.node import Node
from messaging.settings.settings import Settings
from support.lanes import QUICK, working
from support.waiting import until

NAMES = ("Ana", "Bo", "Cy", "Di")


def users(*names: str) -> bytes:
    return msgspec.json.encode({"users": [{"id": name.lower(), "name": name, "platform": "lister"} for name in names]})


@dataclass
class Lister:
    """A platform with a list, another that hears of it, and the importer between them."""

    node: Node
    receiver: Receiver
    platform: Platform
    listener: Platform
    importer: Importer

    async def once(self, answer: bytes) -> None:
        self.receiver.answer = lambda *_: answer
        row = await self.node.platforms.by_id(self.platform.id)
        assert row is not None
        await self.importer.once(row)

    async def known(self) -> list[str]:
        return [person.name for person in await self.node.platforms.people(self.platform.id, "", 1000)]

    async def row(self) -> Platform:
        row = await self.node.platforms.by_id(self.platform.id)
        assert row is not None
        return row

    async def users_as_of(self) -> Any:
        return (await self.row()).users_as_of

    async def told(self) -> list[tuple[str, str]]:
        """What the other platform has heard since the last time: type and name."""
        pulled = await self.node.pulling.news(self.listener, None, 1000, 0.0)
        await self.node.pulling.news(self.listener, pulled.next, 1, 0.0)
        news = [msgspec.json.decode(entry.content) for entry in pulled.entries if isinstance(entry, Message)]
        return [(each["type"], each["data"]["name"]) for each in news]


@contextlib.asynccontextmanager
async def lister(dsn: str) -> AsyncIterator[Lister]:
    async with working(dsn) as node, receiving() as receiver:
        platform = (await node.registry.register("lister", "paths", receiver.url)).platform
        listener = (await node.registry.register("listener", "pull", None)).platform
        client = PlatformHttpClient(LOOPBACK, Patience(1.0, 1.0))
        try:
            yield Lister(
                node, receiver, platform, listener, Importer(platform.id, node.platforms, node.integrator, client)
            )
        finally:
            await client.close()


async def test_the_first_list_is_told_to_nobody_and_what_changes_then_to_all(database: str) -> None:
    async with lister(database) as it:
        await it.once(reply(200, users(*NAMES)))
        assert (list(NAMES), []) == (await it.known(), await it.told())
        assert ("GET", "/api/users") == (it.receiver.got[0].method, it.receiver.got[0].path)
        await it.once(reply(200, users(*NAMES)))
        assert [] == await it.told()
        await it.once(reply(200, users(*NAMES, "Eve")))
        assert [("user.created", "Eve")] == await it.told()


async def test_who_is_missing_twice_in_a_row_is_removed_and_once_is_not(database: str) -> None:
    async with lister(database) as it:
        for present in (NAMES, NAMES[:3], NAMES, NAMES[:3]):
            await it.once(reply(200, users(*present)))
            assert list(NAMES) == await it.known()
        await it.once(reply(200, users(*NAMES[:3])))
        assert ["Ana", "Bo", "Cy"] == await it.known()
        await it.once(reply(200, users(*NAMES)))
        assert list(NAMES) == await it.known(), "and may come back"


NOT_BELIEVED = {
    "a failure": reply(500),
    "no path": reply(404, users(*NAMES)),
    "no content": reply(204, b""),
    "a redirect": reply(302, b"", Location="/other"),
    "a login page": reply(200, b"<html>login</html>"),
    "no list": reply(200, b'{"error":"later"}'),
    "nobody": reply(200, b'{"users":[]}'),
    "a fall": reply(200, users("Ana")),
    "cut off": b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\nConnection: close\r\n\r\n" + users(*NAMES),
    "too long": reply(200, b'{"users":[' + b" " * LIST_BYTES + b"]}"),
}


async def test_what_is_not_believed_changes_nothing(database: str) -> None:
    async with lister(database) as it:
        await it.once(reply(200, users(*NAMES)))
        before = await it.users_as_of()
        for what, answer in NOT_BELIEVED.items():
            for _ in range(3):
                with pytest.raises(Implausible):
                    await it.once(answer)
            assert (list(NAMES), []) == (await it.known(), await it.told()), what
        assert before == await it.users_as_of()


async def test_a_list_as_long_as_it_may_be_is_taken(database: str) -> None:
    names = [f"User-{n:04}" for n in range(1200)]
    async with lister(database) as it:
        await it.once(reply(200, users(*names) + b" " * (LIST_BYTES - len(users(*names)))))
        assert sorted(names)[:1000] == await it.known()
        assert [] == await it.told(), "in portions, and still the first list"


# --- by itself --------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def lanes(node: Node) -> AsyncIterator[None]:
    made = PlatformLanes(
        node,
        Settings(),
        schedule=QUICK,
        client=lambda: PlatformHttpClient(LOOPBACK, Patience(1.0, 1.0)),
        look_every=0.02,
    )
    running = asyncio.ensure_future(made.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])


async def imported(node: Node, platform: Platform) -> Any:
    row = await until(lambda: node.platforms.by_id(platform.id), lambda found: found is not None and found.users_as_of)
    return row.users_as_of


async def test_a_new_platform_is_asked_at_once_and_then_left_alone(database: str) -> None:
    async with working(database) as node, receiving(lambda *_: reply(200, users(*NAMES))) as receiver, lanes(node):
        platform = (await node.registry.register("lister", "paths", receiver.url)).platform
        await imported(node, platform)
        other = (await node.registry.register("other", "paths", receiver.url)).platform
        await imported(node, other)
        assert 2 == len(receiver.got)


async def test_one_url_has_no_place_for_a_list(database: str) -> None:
    async with working(database) as node, receiving() as hook, receiving(lambda *_: reply(200, users())) as receiver:
        async with lanes(node):
            await node.registry.register("hook", "webhook", hook.url)
            platform = (await node.registry.register("lister", "paths", receiver.url)).platform
            await imported(node, platform)
        assert 0 == hook.connections


async def test_a_failure_is_a_warning_and_the_next_try_comes_later(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    warning = "the users of platform lister stay as they were: it answered 503: soon"
    async with lister(database) as it:
        it.receiver.answer = lambda *_: reply(503, b"soon")
        running = asyncio.ensure_future(it.importer.run())
        await until(lambda: warning in caplog.messages)
        for _ in range(20):
            await it.known()
        running.cancel()
        await asyncio.wait([running])
        assert 1 == len(it.receiver.got)


async def test_an_import_outlives_the_database(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with working(database) as node, receiving(lambda *_: reply(200, users(*NAMES))) as receiver:
        failed = asyncio.Event()
        whole = node.integrator.import_users

        async def away(*args: Any) -> None:
            monkeypatch.setattr(node.integrator, "import_users", whole)
            failed.set()
            raise Unavailable

        monkeypatch.setattr(node.integrator, "import_users", away)
        platform = (await node.registry.register("lister", "paths", receiver.url)).platform
        async with lanes(node):
            await imported(node, platform)
        assert failed.is_set()


async def test_the_guard_holds_for_imports_too(database: str) -> None:
    async with lister(database) as it:
        row = await it.row()
        guarded = PlatformHttpClient(())
        importer = Importer(it.platform.id, it.node.platforms, it.node.integrator, guarded)
        with pytest.raises(NotReached, match="is refused"):
            await importer.once(row)
        await guarded.close()
        assert 0 == it.receiver.connections
