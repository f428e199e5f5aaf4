"""One platform hangs, one is gone, and the server itself is killed: nothing is lost, and nobody else notices."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

import aiohttp
import pytest
from platforms_support import Fake, fakes, get

from support.programs import Recado, kill_everything, recado
from support.waiting import until

pytestmark = pytest.mark.faults

PHASE = 100  # messages
HANGS_FOR = 60.0  # seconds
RETURN = 60.0  # seconds in which catching up has to begin
WINDOW = 16  # confirmed messages of a lane that a kill -9 may repeat
USERS = [{"GWT_CHAT": ["bob"]}, {"net core": ["7"]}, {"BuasApp": [1]}, {"Hook": ["h"]}]


class Sender:
    """Bob of GWT_CHAT, who says one thing after the other, and again with its id where there was no answer."""

    def __init__(self, http: aiohttp.ClientSession, server: Recado, token: str) -> None:
        self._http, self._url, self._token = http, f"{server.api}/message", token
        self.said: list[str] = []
        self.times: dict[str, float] = {}  # when each was answered
        self.waited: list[float] = []  # for each answer

    async def say(self, count: int) -> None:
        for _ in range(count):
            text = f"m-{len(self.said)}"
            room = {"roomOriginalPlatform": "GWT_CHAT", "roomId": "r", "senderId": "bob"}
            start = time.monotonic()
            while not await self._try({**room, "text": text, "id": text, "token": self._token}):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            self.times[text] = time.monotonic()
            self.waited.append(self.times[text] - start)
            self.said.append(text)
            await asyncio.sleep(0.03)

    async def _try(self, body: dict[str, str]) -> bool:
        try:
            async with self._http.post(self._url, json=body) as answer:
                assert answer.status in (200, 503), await answer.text()
                return answer.status == 200
        except aiohttp.ClientError:
            return False


class Arrivals:
    """When each message came to a platform for the first time."""

    def __init__(self, fake: Fake) -> None:
        self.fake = fake
        self.times: dict[str, float] = {}

    async def watch(self) -> None:
        while True:
            count = len(self.fake.told)
            for text in self.fake.texts()[len(self.times) :]:
                self.times.setdefault(text, time.monotonic())
            await self.fake.heard(count, 3600)


@asynccontextmanager
async def arrivals(platforms: dict[str, Fake]) -> AsyncIterator[dict[str, Arrivals]]:
    found = {name: Arrivals(fake) for name, fake in platforms.items() if name != "GWT_CHAT"}
    tasks = [asyncio.create_task(each.watch()) for each in found.values()]
    try:
        yield found
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def test_a_platform_hangs_one_is_gone_and_the_server_is_killed(tmp_path: Path) -> None:
    hook = Fake("hook", "Hook", "4444", ["h"], tmp_path)
    async with (
        fakes(tmp_path, hook) as (platforms, file), recado(PLATFORMS_FILE=str(file)) as first,
        aiohttp.ClientSession() as http, arrivals(platforms) as came,
    ):  # fmt: skip
        gwt, net, buas = (platforms[name] for name in ("GWT_CHAT", "net core", "BuasApp"))
        await gwt.say(first, "room", id="r", name="R", type="group", users=USERS)
        sender = Sender(http, first, gwt.token)
        await sender.say(PHASE)
        await hook.message(sender.said[-1])

        net.signal(signal.SIGSTOP)
        hung_at = time.monotonic()
        await buas.end()
        await sender.say(PHASE)
        await hook.message(sender.said[-1])
        await state_is(first, {"net core": "waiting", "BuasApp": "waiting", "Hook": "up", "GWT_CHAT": "up"})

        saying = asyncio.create_task(sender.say(PHASE))
        await asyncio.sleep(1)
        kill_everything(first)
        await first.process.wait()
        server = await first.again()
        try:
            await saying
            await hook.message(sender.said[-1])
            await asyncio.sleep(max(0.0, HANGS_FOR - (time.monotonic() - hung_at)))
            await come_back(server, sender, buas, net)
            for each in came.values():
                await each.fake.message(sender.said[-1], 120)
            await state_is(server, dict.fromkeys(platforms, "up"))
        finally:
            await asyncio.shield(server.end())
        check_all(sender, came)
        tell_figures(sender, came["Hook"])


async def state_is(server: Recado, wanted: dict[str, str]) -> None:
    async def is_so() -> bool:
        listed = {each["name"]: each["state"] for each in (await get(server, "/platforms"))["platforms"]}
        return wanted.items() <= listed.items()

    await until(is_so)


async def come_back(server: Recado, sender: Sender, buas: Fake, net: Fake) -> None:
    """One says that it is there, the other says nothing: both get what they missed, from the oldest on."""
    start = time.monotonic()
    await buas.start()
    await get(server, f"/ping?token={buas.token}")
    await buas.message(sender.said[PHASE + 1])
    at_once = time.monotonic() - start
    start = time.monotonic()
    net.signal(signal.SIGCONT)  # what it was sent while it hung comes at once, and may come again
    await net.message(sender.said[PHASE + 1], RETURN + 15)
    print(f"\ncatching up began {at_once:.1f} s after a ping, {time.monotonic() - start:.1f} s after a silent return")
    assert at_once < 10
    assert time.monotonic() - start < RETURN + 2


def check_all(sender: Sender, came: dict[str, Arrivals]) -> None:
    """Everybody has everything, in order; what came twice is known by its id, and who looks at it shows it once."""
    for name, each in came.items():
        told = [told for told in each.fake.told if told.path == "message"]
        texts = [told.body["text"] for told in told]
        assert list(dict.fromkeys(texts)) == sender.said, f"{name}: lost, or out of order"
        assert len({(told.headers["webhook-id"], told.body["text"]) for told in told}) == len(sender.said)
        assert len({told.headers["webhook-id"] for told in told}) == len(sender.said)
        doubles = len(texts) - len(sender.said)
        print(f"{name}: {len(sender.said)} messages, {doubles} came twice")
        assert doubles <= WINDOW + 12, name  # and one for each try that was not answered
    shown = [told.body["text"] for told in came["Hook"].fake.told if told.path == "message" and told.taken]
    assert shown == sender.said


def tell_figures(sender: Sender, hook: Arrivals) -> None:
    """A sender's wait and another platform's, while all were well and while two were not: medians, side by side."""
    for what, waits in (
        ("an answer", sender.waited),
        ("from the answer to another platform", [hook.times[text] - sender.times[text] for text in sender.said]),
    ):
        well, ill = (sorted(waits[start : start + PHASE]) for start in (0, PHASE))
        figures = [f"{median(each) * 1e3:.1f} ms (p95 {each[PHASE * 95 // 100] * 1e3:.1f})" for each in (well, ill)]
        print(f"{what}: {figures[0]}; with two in trouble {figures[1]}")
        assert median(ill) < max(5 * median(well), median(well) + 0.1)
