"""What one client asks for. Publishes and acks to topics at hand are done in the step that reads them; whatever needs
the database waits its turn, in order, in one task that lives as long as there is something to do.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Literal, assert_never

from messaging.actions import Actions
from messaging.errors import BadRequest, RecadoError, UnknownTopic
from messaging.frames import (
    Ack,
    AnyCommand,
    CloseCode,
    Disconnect,
    Done,
    History,
    HistoryPage,
    Invite,
    Publish,
    Subscribe,
    Suscribe,
    TopicList,
    Topics,
    TopicState,
    Unsubscribe,
)
from messaging.model import name_of_topic
from messaging.permissions import Aim
from messaging.settings.settings import Settings
from ws_server.feeds.hub import Hub
from ws_server.feeds.ticker import Ticker
from ws_server.pace import Pace
from ws_server.protocol import Refusal, decode, error_frame, history_message
from ws_server.publishes import Known, Publishes
from ws_server.session import Session

log = logging.getLogger(__name__)

MAX_WAITING = 64  # requests that wait their turn
_ACTIONS: dict[type[AnyCommand], Literal["subscribe", "unsubscribe", "invite"]] = {
    Subscribe: "subscribe", Suscribe: "subscribe", Unsubscribe: "unsubscribe", Invite: "invite",
}  # fmt: skip

Closer = Callable[[Session, CloseCode, str], None]
Spawn = Callable[[Coroutine[Any, Any, None]], object]


class Requests:
    """The requests of one session."""

    def __init__(
        self, session: Session, actions: Actions, hub: Hub, ticker: Ticker, settings: Settings,
        *, spawn: Spawn, close: Closer, gone: Callable[[Session], None],
    ) -> None:  # fmt: skip
        self.session = session
        self._actions = actions
        self._hub = hub
        self._ticker = ticker
        self._settings = settings
        self._spawn = spawn
        self._close = close
        self._gone = gone
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[AnyCommand | Known] = deque()
        self._working = False
        self._publishes = Publishes(session, actions, ticker, settings)
        self._limits = actions.limits
        self._pace = Pace(self._limits.frames(self._loop.time()))
        self._cheap = 0  # frames of those that are handled now

    # What the connection tells

    def frames_left(self) -> int:
        return self._pace.frames_left(self._loop.time())

    def took(self, frames: int) -> None:
        """Read it no faster than it may send; who goes on in spite of that is asked to come back later."""
        wait = self._pace.took(frames, self._cheap, self._loop.time())
        self._cheap = 0
        if not wait:
            return
        self._limits.reached("rate_limit")
        if self._pace.is_too_fast:
            self._close(self.session, CloseCode.TOO_FAST, "too fast")
        self.session.connection.stop_reading("rate")
        self._loop.call_later(wait, self.session.connection.resume_reading, "rate")

    def refused(self, limit: str) -> None:
        self._limits.reached(limit)

    def text(self, data: bytes) -> None:
        if self.session.is_void:
            return
        command = decode(data)
        if isinstance(command, Refusal):
            self._answer_error(command.error, command.topic_name, command.id, command.ref)
        elif not self._at_once(command):
            self._wait_turn(command)

    def pong(self, payload: bytes) -> None:
        self._cheap += 1
        if self.session.pong(payload, self._loop.time()):
            self._ticker.ponged(self.session)
            known = self._publishes.order.known(self.session.pings)
            if known and self._waiting:  # what was sent before the pong is refused first
                self._waiting.append(known)
            elif known:
                self._publishes.order.mend(known)

    def gone(self) -> None:
        self._gone(self.session)

    def opened(self) -> None:
        """The session is open, or has gone meanwhile: what came before has its turn now, be it behind the handshake."""
        self.session.connection.serve()
        self._start_work()

    # Requests

    def _at_once(self, command: AnyCommand) -> bool:
        """Do what has not to wait; whether it is done."""
        ack = isinstance(command, Ack)
        if ack:  # from here on pongs move no cursors, though this ack itself may have to wait
            self.session.ledger.explicit = True
            self._cheap += 1
        return self.session.opened and (ack or not self._waiting) and self._do_now(command)

    def _do_now(self, command: AnyCommand) -> bool:
        """Do what needs no database, in this very step."""
        try:
            match command:
                case Publish() if aim := self.session.aim(command.topic_name):
                    self._publishes.send_to(command, aim)
                    return True
                case Ack() if aim := self.session.aims.get(name_of_topic(command.topic_name)):
                    self._ack(command, aim)
                    return True
        except RecadoError as exc:
            self._refuse(command, exc)
            return True
        return False

    def _ack(self, command: Ack, aim: Aim) -> None:
        """Acknowledge what this connection was sent; what is of another log is ignored.

        Raises BadRequest: it was not sent that far.
        """
        if command.epoch not in (None, self._actions.epochs.of(aim.topic)):
            return
        place = self.session.places[aim.topic.id]
        if command.seq > place.at:
            raise BadRequest(f"This connection was not sent message {command.seq}: nothing is acknowledged.")
        if self.session.ledger.ack(place, command.seq):
            self.session.confirm(place, command.seq)

    def _wait_turn(self, command: AnyCommand) -> None:
        self._waiting.append(command)
        if len(self._waiting) >= MAX_WAITING:
            self.session.connection.stop_reading("requests")
        if self.session.opened:
            self._start_work()

    def _start_work(self) -> None:
        if self._waiting and not self._working:
            self._working = True
            self._spawn(self._work())

    async def _work(self) -> None:
        while self._waiting:
            with suppress(OSError):  # it has gone: what it asked for is done all the same
                await self.session.connection.drain()  # one reply at most is written beyond what it has not taken
            command = self._waiting[0]  # stays in front until it is done: later ones wait behind it
            if not isinstance(command, Publish):
                await self._publishes.landing()
            if self.session.is_void:
                self._waiting.clear()
                break
            try:
                await self._do(command)
            except RecadoError as exc:
                assert not isinstance(command, Known), "it refuses nothing"
                self._refuse(command, exc)
            except Exception as exc:  # a defect: it ends this session, and nobody else's
                # Without the exception's text, which may have what was asked for.
                trace = "".join(traceback.format_tb(exc.__traceback__))
                log.error("%s: %s\n%s", type(command).__name__, type(exc).__name__, trace)
                self.session.is_void = True
                self._close(self.session, CloseCode.INTERNAL, "internal")
            self._waiting.popleft()
            if len(self._waiting) < MAX_WAITING // 2:
                self.session.connection.resume_reading("requests")
        self._working = False

    async def _do(self, command: AnyCommand | Known) -> None:
        actions, session = self._actions, self.session
        match command:
            case Publish():
                await self._publishes.send(command)
            case Known():
                self._publishes.order.mend(command)
            case Ack():
                self._ack_late(command)
            case Subscribe():
                await actions.subscribe(session.caller, session.user, command.topic_name)
                self._done(command)
            case Unsubscribe():
                await self._unsubscribe(command)
            case Invite():
                await actions.invite(session.caller, command.topic_name, command.username)
                self._done(command)
            case History():
                await self._history(command)
            case Topics():
                await self._topics(command)
            case Disconnect():
                self._close(session, CloseCode.NORMAL, "")
            case _:
                assert_never(command)

    def _ack_late(self, command: Ack) -> None:
        aim = self.session.aims.get(name_of_topic(command.topic_name))
        if aim is None:
            raise UnknownTopic
        self._ack(command, aim)

    async def _unsubscribe(self, command: Unsubscribe) -> None:
        await self._actions.unsubscribe(self.session.caller, self.session.user, command.topic_name)
        aim = self.session.aims.get(name_of_topic(command.topic_name))
        if aim is not None:
            self._hub.detach(self.session, self.session.places[aim.topic.id])
        self._done(command)

    async def _history(self, command: History) -> None:
        messages, more, epoch = await self._actions.history(
            self.session.caller, command.topic_name, command.before, command.after, command.limit
        )
        page = [history_message(message) for message in messages]
        self.session.send(
            HistoryPage(topic_name=command.topic_name, messages=page, more=more, epoch=epoch, ref=command.ref)
        )

    async def _topics(self, command: Topics) -> None:
        session = self.session
        found, more = await self._actions.topics(
            session.caller, session.user, session.device, command.after or "", command.limit
        )
        states = [
            TopicState(
                topic_name=m.topic.name,
                kind=m.topic.kind,
                role=m.role,
                last_seq=head,
                cursor=cursor,
                pending=max(0, head - max(cursor, m.joined_seq)),
                epoch=self._actions.epochs.of(m.topic),
            )
            for m, head, cursor in found
        ]
        session.send(TopicList(topics=states, more=more, ref=command.ref))

    # Answers

    def _done(self, command: Subscribe | Unsubscribe | Invite, error: RecadoError | None = None) -> None:
        self.session.send(
            Done(
                action=_ACTIONS[type(command)], topic_name=command.topic_name, result="error" if error else "ok",
                code=error.code if error else None, message=error.message if error else None, ref=command.ref,
            )
        )  # fmt: skip

    def _refuse(self, command: AnyCommand, error: RecadoError) -> None:
        if isinstance(command, Subscribe | Unsubscribe | Invite):
            self._done(command, error)
        else:
            key = getattr(command, "id", None)
            self._answer_error(error, getattr(command, "topic_name", None), key, command.ref)

    def _answer_error(self, error: RecadoError, topic_name: str | None, key: str | None, ref: str | None) -> None:
        self.session.write(error_frame(error, topic_name, key, ref))
        self._publishes.ask_past_breaks()
