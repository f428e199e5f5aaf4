"""What one session has sent and not yet heard of: how much it may be, its receipts, and its order."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from messaging.actions import Actions
from messaging.errors import RecadoError, Unavailable
from messaging.frames import Done, Publish
from messaging.log.content import check_content
from messaging.permissions import Aim
from messaging.settings.settings import Settings
from messaging.store.append import Verdict
from ws_server.feeds.ticker import Ticker
from ws_server.protocol import encode, error_frame
from ws_server.session import Session

FLIGHT_COUNT = 256  # publishes of a session not yet committed
FLIGHT_BYTES = 1024 * 1024

Target = int | str  # a topic's id, and the name that it was called by: what that stands for may not be known, or change


@dataclass(frozen=True, slots=True)
class Known:
    """The client knows by now that these were unavailable: what it sends from here on, it sends on purpose."""

    targets: tuple[Target, ...]


class Order:
    """The order of what a session sends to a topic, across an `unavailable`. Pure.

    What follows one is refused likewise, or it would be stored before what the client sends again: until the pong to a
    ping that was written behind the refusal. All that came before that pong was sent before the client could know.
    """

    def __init__(self) -> None:
        self._broken: dict[Target, int] = {}  # with the number of pings written before

    def check(self, *targets: Target) -> None:
        if not self._broken.keys().isdisjoint(targets):
            raise Unavailable

    def broke(self, pings: int, *targets: Target) -> None:
        for target in targets:
            self._broken.setdefault(target, pings)

    def wants_ping(self, pings: int) -> bool:
        """Whether some refusal has no ping behind it yet."""
        return pings in self._broken.values()

    def known(self, pings: int) -> Known | None:
        """What the client knows of, now that it has answered the last of so many pings."""
        targets = tuple(target for target, before in self._broken.items() if before < pings)
        return Known(targets) if targets else None

    def mend(self, known: Known) -> None:
        for target in known.targets:
            self._broken.pop(target, None)


class Publishes:
    """The origin of a session's publishes."""

    def __init__(self, session: Session, actions: Actions, ticker: Ticker, settings: Settings) -> None:
        self.order = Order()
        self._session = session
        self._actions = actions
        self._ticker = ticker
        self._settings = settings
        self._receipts: list[bytes] = []
        self._count = 0
        self._bytes = 0
        self._landed: asyncio.Future[None] | None = None

    async def send(self, command: Publish) -> None:
        """Publish to whatever the name stands for. Raises RecadoError."""
        target = command.topic_name
        self.order.check(_called(target))
        try:
            aim = self._session.aim(target) or await self._actions.aim(self._session.caller, target)
        except Unavailable:
            self.order.broke(self._session.pings, _called(target))
            raise
        self.send_to(command, aim)

    def send_to(self, command: Publish, aim: Aim) -> None:
        """Hand it to the appender, in this very step. Raises RecadoError."""
        content = check_content(command.content, self._settings)
        topic_id, sender = aim.topic.id, self._session.user.name
        self.order.check(topic_id, _called(command.topic_name))
        try:
            self._actions.publish(aim, sender, content, command.id, command.ttl, self, (command, topic_id))
        except Unavailable:
            self.order.broke(self._session.pings, topic_id, _called(command.topic_name))
            raise
        self._count += 1
        self._bytes += len(command.content)
        if self._count >= FLIGHT_COUNT or self._bytes >= FLIGHT_BYTES:
            self._session.connection.stop_reading("flight")

    def on_result(self, context: tuple[Publish, int], outcome: Verdict | RecadoError) -> None:
        command, topic_id = context
        self._count -= 1
        self._bytes -= len(command.content)
        if isinstance(outcome, RecadoError):
            self._receipts.append(error_frame(outcome, command.topic_name, command.id, command.ref))
            if isinstance(outcome, Unavailable):
                self.order.broke(self._session.pings, topic_id, _called(command.topic_name))
        elif command.id is not None:
            self._receipts.append(
                encode(
                    Done(
                        action="message", topic_name=command.topic_name, result="ok",
                        id=command.id, seq=outcome.seq, ref=command.ref,
                    )
                )
            )  # fmt: skip

    def on_batch_end(self) -> None:
        if self._receipts:
            self._session.write(b"".join(self._receipts))
            self._receipts.clear()
            self.ask_past_breaks()
        if self._count < FLIGHT_COUNT // 2 and self._bytes < FLIGHT_BYTES // 2:
            self._session.connection.resume_reading("flight")
        if self._count == 0 and self._landed is not None and not self._landed.done():
            self._landed.set_result(None)

    def ask_past_breaks(self) -> None:
        """A refusal was written: its ping goes behind it."""
        if self.order.wants_ping(self._session.pings):
            self._ticker.ping_soon(self._session)

    async def landing(self) -> None:
        """Wait for the publishes before this request: it sees what they did, and undoes no permission of theirs."""
        if self._count:
            self._landed = asyncio.get_running_loop().create_future()
            await self._landed


def _called(name: str) -> str:
    """What NAME, @NAME and #NAME have in common: they may be one inbox, or one topic."""
    return name[1:] if name.startswith(("@", "#")) else name
