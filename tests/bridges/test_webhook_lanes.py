"""Platforms in trouble: nothing is lost, everything comes in order, and nobody waits for somebody else's platform."""

import asyncio
import signal
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from push_support import Request, parcel, receiving, reply
from town_support import heard, process, texts, town

from bridges.outlet import OutgoingMessage, Undeliverable
from bridges.webhooks.answers import PoisonDetector
from bridges.webhooks.outlet import WebhookOutlet
from bridges.webhooks.platforms import PER_SECOND, PlatformLanes, RoomsOutlet
from messaging.bridge.schedule import Pace, Schedule
from messaging.errors import Forbidden, RecadoError, Unavailable
from messaging.integrator.events import Platform, Style
from messaging.settings.settings import Settings
from support.lanes import publish, working
from support.waiting import until

NEVER = Schedule(steps=(600.0,), most=600.0)  # a try comes from a poke, or not at all


# --- platforms come and go --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["paths", "webhook"])
async def test_a_platform_that_comes_while_it_runs_hears_of_all_in_order(database: str, style: Style) -> None:
    async with town(database) as there, receiving() as receiver:
        await there.add("new", receiver.url, style)
        await there.settle("new")
        await there.say(*map(str, range(20)))
        assert [str(n) for n in range(20)] == await heard(receiver, 20)
        kinds = [request.path if style == "paths" else request.said["type"] for request in receiver.pushed[:3]]
        told = ["/api/user", "/api/room", "/api/message"], ["user.created", "room.created", "message.created"]
        assert kinds == told[style == "webhook"], "whom it comes from, and where it was said, come first"


async def test_a_forgotten_platform_is_sent_nothing_more(database: str) -> None:
    async with town(database) as there, receiving() as gone, receiving() as other:
        for name, receiver in (("gone", gone), ("other", other)):
            await there.add(name, receiver.url)
        await there.settle("gone", "other")
        await there.say("1")
        await heard(gone, 1)
        await there.node.registry.forget("gone")
        await there.say("2")
        assert ["1", "2"] == await heard(other, 2)
        assert ["1"] == texts(gone)


async def test_a_platform_that_asks_by_itself_from_now_on_is_sent_nothing_more(database: str) -> None:
    async with town(database) as there, receiving(lambda *_: reply(503)) as receiver:
        await there.add("shy", receiver.url)
        await there.settle("shy")
        await there.say("1")
        await receiver.has(2)
        shy = await there.node.registry.change("shy", style="pull")
        await until(lambda: not any(f"platform {shy.id}:" in task.get_name() for task in asyncio.all_tasks()))
        pulled = await there.node.pulling.news(shy, None, 10, 0.0)
        assert len(pulled.entries) >= 3, "what was pending is there to be asked for"


async def test_without_the_database_nothing_ends(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with town(database) as there, receiving() as receiver:
        await there.add("here", receiver.url)
        await there.settle("here")
        await there.say("1")
        await heard(receiver, 1)
        whole, asked = there.node.platforms.platforms, asyncio.Event()

        async def away(name: str | None = None) -> list[Platform]:
            asked.set()
            raise Unavailable

        monkeypatch.setattr(there.node.platforms, "platforms", away)
        await asyncio.wait_for(asked.wait(), 10)
        monkeypatch.setattr(there.node.platforms, "platforms", whole)
        await there.say("2")
        assert ["1", "2"] == await heard(receiver, 2)


async def test_a_failure_that_nobody_foresaw_ends_all(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It never limps on: the process ends, and starts again."""

    async def fail(*_: object) -> None:
        raise KeyError("a defect")

    monkeypatch.setattr(WebhookOutlet, "send", fail)
    async with working(database) as node:
        speaker = (await node.registry.register("speaker", "pull", None)).platform
        await node.registry.register("a", "webhook", "http://127.0.0.1:9/")
        await node.integrator.take_user(speaker, 1, "Ana")
        with pytest.raises(BaseExceptionGroup) as caught:
            await asyncio.wait_for(PlatformLanes(node, Settings(), look_every=0.02).run(), 10)
        assert caught.group_contains(KeyError, match="a defect")


async def test_an_untrusted_platform_next_door_waits_and_says_why(database: str) -> None:
    async with town(database, nets=()) as there, receiving() as receiver:
        await there.add("near", receiver.url)
        await there.settle("near")
        report = await there.state("near", lambda it: it.state == "waiting")
        assert "127.0.0.1 is refused" in report.reason and "INTEGRATOR_ALLOW_NETS" in report.reason
        assert 0 == receiver.connections


# --- trouble ----------------------------------------------------------------------------------------------------------


async def test_down_it_gets_the_same_message_under_the_same_id_until_it_takes_it(database: str) -> None:
    tries: list[Request] = []

    def down(request: Request, _: object) -> bytes:
        tries.append(request)
        return reply(503) if len(tries) < 9 else reply()

    async with town(database) as there, receiving(down) as receiver:
        await there.add("down", receiver.url)
        await there.settle("down")
        await there.say("1", "2", "3")
        assert ["1", "2", "3"] == await heard(receiver, 3)
        assert 1 == len({request.id for request in tries[:9]}), "nothing overtakes it"
        report = await there.state("down", lambda it: it.state == "up" and it.lag == 0)
        assert (0, 0) == (report.attempts, report.dead)


async def test_one_that_hangs_is_nobody_elses_trouble(database: str) -> None:
    async with town(database) as there, receiving(lambda *_: asyncio.sleep(60)) as hanging, receiving() as well:
        await there.add("hanging", hanging.url)
        await there.add("well", well.url)
        await there.settle("hanging", "well")
        await there.say(*map(str, range(30)))
        assert [str(n) for n in range(30)] == await heard(well, 30)
        await there.state("hanging", lambda it: it.state == "waiting" and it.lag >= 30)


async def test_a_call_of_the_platform_brings_a_try_at_once(database: str) -> None:
    async with town(database, NEVER) as there, receiving(lambda *_: reply(503)) as receiver:
        registered = await there.node.registry.register("back", "webhook", receiver.url)
        await there.settle("back")
        await there.say("1")
        await there.state("back", lambda it: it.state == "waiting")
        receiver.answer = lambda *_: reply()
        await there.node.registry.identify(registered.token)
        assert ["1"] == await heard(receiver, 1)


async def test_500_for_one_message_buries_it_and_the_others_pass(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PoisonDetector, "note", impatient())

    def picky(request: Request, _: object) -> bytes:
        return reply(500, b"no \0 bo") if b'"bad"' in request.body else reply(200, b'{"users":[]}')

    async with town(database) as there, receiving(picky) as receiver:
        await there.add("picky", receiver.url)
        await there.settle("picky")
        await there.say("1", "bad", "2")
        await heard(receiver, 3)
        [buried] = await there.node.bridge_store.buried("picky", 0, 10)
        assert "it answered 500: no � bo, 5 times in a row" in buried.letter.reason
        assert '"bad"' in (buried.letter.content or "")
        assert ["1", "bad", "2"] == texts(receiver)
        receiver.answer = lambda *_: reply()
        before = len(receiver.pushed)
        assert 1 == (await there.node.bridges.replay("picky", None)).count
        await receiver.has(before + 1)
        again = receiver.pushed[-1]
        first = next(request for request in receiver.pushed if b'"bad"' in request.body)
        assert (first.id, first.body) == (again.id, again.body), "who had it after all can tell"


def impatient() -> Callable[..., bool]:
    """Suspicion that needs its five tries, and no time."""
    counted = PoisonDetector(0.0)
    note = PoisonDetector.note
    return lambda _, *args: note(counted, *args)


async def test_410_pauses_it_and_what_comes_is_kept(database: str) -> None:
    async with town(database) as there, receiving(lambda *_: reply(410, b"gone fishing")) as receiver:
        await there.add("moved", receiver.url)
        await there.settle("moved")
        await there.say("1")
        report = await there.state("moved", lambda it: it.paused)
        assert "gone fishing" in report.reason
        await there.say("2")
        count = len(receiver.got)
        receiver.answer = lambda *_: reply()
        await there.node.bridges.pause("moved", False)
        assert ["1", "2"] == await heard(receiver, 2)
        assert 1 == count, "one answer was enough"


def test_who_comes_back_is_not_thrown_over_again() -> None:
    """A thousand pending messages take twenty seconds, whatever the clock between them."""
    pace, now, waited = Pace(PER_SECOND), 100.0, 0.0
    for _ in range(1000):
        pause = pace.wait(now)
        waited += pause
        now += pause + 0.001
    assert 19.9 < now - 100.0 < 20.1 and waited > 0


# --- a process that stands still, and one that is gone ----------------------------------------------------------------


async def test_one_stopped_and_one_gone_lose_nothing_and_keep_the_order(database: str) -> None:
    async with town(database) as there, process() as stopped, process() as gone, receiving() as well:
        for name, port in (("stopped", stopped.port), ("gone", gone.port), ("well", well.port)):
            await there.add(name, f"http://127.0.0.1:{port}/")
        await there.settle("stopped", "gone", "well")
        await there.say(*map(str, range(10)))
        await asyncio.gather(stopped.texts(10), gone.texts(10))
        stopped.signal(signal.SIGSTOP)
        await gone.kill()
        await there.say(*map(str, range(10, 40)))
        everything = [str(n) for n in range(40)]
        assert everything == await heard(well, 40), "the others notice nothing"
        for name in ("stopped", "gone"):
            await there.state(name, lambda it: it.state == "waiting" and it.attempts >= 2)
        stopped.signal(signal.SIGCONT)
        await gone.start()
        assert everything == await stopped.texts(40)
        assert everything == await gone.texts(40)
        assert stopped.repeated >= 1, "what may have arrived was sent again, under its id"


# --- what Recado's own users write ------------------------------------------------------------------------------------


async def test_what_a_user_writes_into_a_room_reaches_its_platforms(database: str) -> None:
    async with town(database) as there, receiving() as receiver:
        await there.add("outside", receiver.url)
        users: list[dict[str, list[int | str]]] = [{"speaker": [1]}, {"outside": [2]}, {"recado": ["ana"]}]
        await there.node.integrator.take_room(there.speaker, 1, "all", "public", users)
        await there.say("from outside")
        await heard(receiver, 1)
        await publish(there.node, "speaker%3A1", '"from inside"')
        assert ["from outside", "from inside"] == await heard(receiver, 2)
        data = receiver.pushed[-1].said["data"]
        assert ("recado", "speaker", 1) == (data["senderPlatform"], data["roomOriginalPlatform"], data["roomId"])


async def test_what_no_platform_may_hear_is_buried_and_a_missing_database_is_waited_for() -> None:
    refused: RecadoError = Forbidden("Not in this room.")
    taken: list[int] = []

    async def take_own(topic_id: int, _: object) -> None:
        taken.append(topic_id)
        raise refused

    async def topic_view(name: str, _: None) -> Any:
        return SimpleNamespace(topic=SimpleNamespace(id=5)) if name == "room" else None

    node: Any = SimpleNamespace(
        store=SimpleNamespace(topic_view=topic_view), integrator=SimpleNamespace(take_own=take_own)
    )
    rooms, message = RoomsOutlet(node), parcel().message
    with pytest.raises(Undeliverable, match="Not in this room"):
        await rooms.send(OutgoingMessage("5.1", "room", message))
    refused = Unavailable()
    with pytest.raises(Unavailable):
        await rooms.send(OutgoingMessage("5.1", "room", message))
    await rooms.send(OutgoingMessage("6.1", "deleted", message))
    assert [5, 5] == taken
