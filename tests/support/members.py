"""What the tests of the rules share: readers that check the order, a publisher of many, a bus that breaks."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterable
from typing import Any

import asyncpg
from msgspec.structs import replace
from websockets.asyncio.client import ClientConnection

from messaging.bus.contract import LocalBus
from messaging.errors import RecadoError
from messaging.model import Appended, Content, Notice
from messaging.permissions import BACKEND
from messaging.store.append import Verdict
from support.waiting import until
from support.ws import Running, send

# --- waiting for what happens ----------------------------------------------------------------------


async def until_sql(connection: asyncpg.Connection, question: str, *args: Any, within: float = 20) -> None:
    """Wait until the database answers true."""
    await until(lambda: connection.fetchval(question, *args), within=within)


async def cursor(recado: Running, user: str, topic: str, device: str = "") -> int:
    """How far a device has confirmed, in the database, once what was confirmed until now is there."""
    await recado.node.cursors.flush()
    known = await recado.node.actions.user(user)
    found, _ = await recado.node.actions.topics(BACKEND, known, device)
    return next(at for membership, _, at in found if membership.topic.name == topic)


async def until_confirmed(recado: Running, user: str, topic: str, seq: int, device: str = "") -> None:
    await until(lambda: cursor(recado, user, topic, device), lambda found: found >= seq)


# --- reading, checked ------------------------------------------------------------------------------


class Log:
    """What one connection was sent, by topic; every seq must continue the one before it."""

    def __init__(self) -> None:
        self.entries: dict[str, list[dict[str, Any]]] = {}
        self.others: list[dict[str, Any]] = []
        self._reached: dict[str, int] = {}

    def take(self, frame: dict[str, Any]) -> None:
        action, topic = frame["action"], frame.get("topic_name")
        if action not in ("message", "gap") or "result" in frame or topic is None:
            self.others.append(frame)
            if action == "removed" and topic is not None:
                self._reached.pop(topic, None)
            return
        first, last = (frame["seq"], frame["seq"]) if action == "message" else (frame["from"], frame["to"])
        before = self._reached.get(topic)
        assert before is None or first == before + 1, f"{topic}: {first} follows {before}"
        self._reached[topic] = last
        self.entries.setdefault(topic, []).append(frame)

    def last(self, topic: str) -> int:
        return self._reached.get(topic, 0)

    def seqs(self, topic: str) -> list[int]:
        return [entry["seq"] for entry in self.entries.get(topic, []) if entry["action"] == "message"]

    def contents(self, topic: str) -> list[Any]:
        return [entry["content"] for entry in self.entries.get(topic, []) if entry["action"] == "message"]


async def read_until(link: ClientConnection, log: Log, topic: str, seq: int, within: float = 30) -> Log:
    """Read on until this connection has the seq."""
    async with asyncio.timeout(within):
        while log.last(topic) < seq:
            log.take(json.loads(await link.recv()))
    return log


async def read_to_mark(link: ClientConnection, log: Log, mark: str, within: float = 20) -> Log:
    """Ask something with this mark as ref, and read all that comes before its answer."""
    await send(link, action="topics", ref=mark)
    async with asyncio.timeout(within):
        while True:
            frame = json.loads(await link.recv())
            if frame.get("ref") == mark:
                return log
            log.take(frame)


# --- publishing many -------------------------------------------------------------------------------


class Publisher:
    """Publishes as a backend does, in large batches."""

    def __init__(self, recado: Running, sender: str = "press") -> None:
        self._actions = recado.node.actions
        self._sender = sender
        self._waiting = 0
        self._last = 0
        self._done = asyncio.Event()

    def on_result(self, context: Any, outcome: Verdict | RecadoError) -> None:
        assert isinstance(outcome, Verdict), outcome
        self._waiting -= 1
        self._last = max(self._last, outcome.seq or 0)

    def on_batch_end(self) -> None:
        if not self._waiting:
            self._done.set()

    async def publish(self, topic: str, contents: Iterable[Any], ttl: int | None = None) -> int:
        """Publish in one step; the seq of the last, once all are committed."""
        aim = await self._actions.aim(BACKEND, topic)
        self._done.clear()
        for content in contents:
            self._waiting += 1
            self._actions.publish(aim, self._sender, Content(json.dumps(content)), None, ttl, self, None)
        await self._done.wait()
        return self._last


# --- a bus that breaks -----------------------------------------------------------------------------


class Medium:
    """Joins the buses of several nodes in this process, badly.

    ``ways``: "loses" everything, loses "half", "doubles", "reorders", strips the messages ("bare").
    """

    def __init__(self, *ways: str, seed: int = 1) -> None:
        self.ways = set(ways)
        self.buses: list[BreakingBus] = []
        self.carried = 0  # notices on their way to another node
        self.arrived = 0
        self.lost = 0
        self._chance = random.Random(seed)
        self._held: list[tuple[BreakingBus, Notice]] = []

    def bus(self) -> BreakingBus:
        bus = BreakingBus(self)
        self.buses.append(bus)
        return bus

    def resync(self) -> None:
        for bus in self.buses:
            bus.resync()

    def carry(self, source: BreakingBus, notice: Notice) -> None:
        if "bare" in self.ways and isinstance(notice, Appended):
            notice = replace(notice, messages=None)
        for bus in self.buses:
            for _ in range(2 if "doubles" in self.ways else 1):
                if bus is not source:
                    self._carry_to(bus, notice)

    def _carry_to(self, bus: BreakingBus, notice: Notice) -> None:
        if "loses" in self.ways or ("half" in self.ways and self._chance.random() < 0.5):
            self.lost += 1
            return
        self.carried += 1
        if "reorders" in self.ways:
            if not self._held:
                asyncio.get_running_loop().call_later(0.03, self._release)
            self._held.append((bus, notice))
        else:
            asyncio.get_running_loop().call_soon(self._arrive, bus, notice)

    def _arrive(self, bus: BreakingBus, notice: Notice) -> None:
        bus.receive(notice)
        self.arrived += 1

    def _release(self) -> None:
        self._chance.shuffle(self._held)
        held, self._held = self._held, []
        for bus, notice in held:
            self._arrive(bus, notice)


class BreakingBus(LocalBus):
    """One node's end of a `Medium`."""

    def __init__(self, medium: Medium) -> None:
        super().__init__()
        self._medium = medium
        self._resyncs: list[Callable[[], None]] = []

    def tell(self, notice: Notice) -> None:
        self.receive(notice)
        self._medium.carry(self, notice)

    def receive(self, notice: Notice) -> None:
        for receiver in self._receivers:
            receiver(notice)

    def attach(self, receiver: Callable[[Notice], None], resync: Callable[[], None]) -> None:
        super().attach(receiver, resync)
        self._resyncs.append(resync)

    def resync(self) -> None:
        for resync in self._resyncs:
            resync()
