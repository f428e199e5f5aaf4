"""The WebSocket server: who may connect, how many, and how sessions end, so that no thundering herd comes back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable
from contextlib import suppress
from functools import partial
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.protocol import CONNECTING

from messaging.actions import Actions
from messaging.auth.tokens import Tokens
from messaging.bus.contract import Bus
from messaging.delivery import Ledger, Place
from messaging.errors import LimitReached, RecadoError, Unavailable
from messaging.frames import CloseCode, Closing, Heartbeat, TopicPush
from messaging.limits.connections import Connections
from messaging.observability.metrics import Metrics
from messaging.readers.cursors import Cursors
from messaging.runtime.listening import named
from messaging.settings.settings import Settings
from messaging.store.store import Store
from ws_server.admission import Admission, Admitted
from ws_server.connection import Connection
from ws_server.feeds.catchup import CatchUp
from ws_server.feeds.hub import Hub, SessionFeed
from ws_server.feeds.membership_sync import SWEEP_EVERY, MembershipSync
from ws_server.feeds.ticker import STUCK, Ticker
from ws_server.handshake import choose_subprotocol, json_refusal, quiet_logger, refused
from ws_server.protocol import encode
from ws_server.requests import Requests
from ws_server.session import Session
from ws_server.turns import Turns

log = logging.getLogger(__name__)

MAX_OPENING = 64  # sessions that read their memberships at once
OPENING_QUEUE = 4000  # handshakes that wait for that; beyond it a client is asked to come later
HEARTBEAT = 30.0  # seconds
OPEN_TIMEOUT = 10.0  # for the whole handshake
CLOSE_TIMEOUT = 5.0
BACKLOG = 4096
DRAIN_BATCH = 200  # sessions shown out at a time
DRAIN_PAUSE = 0.1  # seconds


class WebSocketServer:
    """The WebSocket server of one process, with all that it needs built in its constructor."""

    def __init__(
        self, settings: Settings, store: Store, actions: Actions, tokens: Tokens, cursors: Cursors, bus: Bus,
        metrics: Metrics, connections: Connections, *, reuse_port: bool = False, sweep_every: float = SWEEP_EVERY,
        stuck_after: float = STUCK,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._reuse_port = reuse_port
        self._epochs = store.epochs
        self._actions = actions
        self._admission = Admission(settings, store, tokens, metrics, actions.limits)
        self._cursors = cursors
        self._metrics = metrics
        self._connections = connections
        self._catch_up = CatchUp(
            store, metrics, deliver=lambda feed, frames: self.hub.deliver(feed, frames),
            written=lambda session: self._ticker.ping_soon(session),
            stale=lambda session: self._membership_sync.look_again(session.user.id), restored=self._restored,
            announce=self._announce,
        )  # fmt: skip
        self.hub = Hub(
            metrics, wants_page=self._catch_up.want_feed, fell_behind=self._fell_behind,
            ended=self._ended, changed=lambda user_id: self._membership_sync.look_again(user_id), voided=self._revoked,
            announce=self._announce,
        )  # fmt: skip
        self._ticker = Ticker(self.hub, partial(
            self._close, code=CloseCode.NO_PROGRESS, reason="no progress for 30 s"), stuck_after)  # fmt: skip
        self._membership_sync = MembershipSync(
            store, self.hub, self._catch_up, metrics, revoked=self._revoked, restored=self._restored,
            sweep_every=sweep_every,
        )  # fmt: skip
        self._per_user: Counter[int] = Counter()
        self._opening, self._opening_waits = asyncio.Semaphore(MAX_OPENING), 0
        self._tasks = asyncio.TaskGroup()
        self._server: Server | None = None
        self._listening = asyncio.Event()
        self._draining = False
        self._alive: set[Connection] = set()
        bus.attach(self.hub.receive, self._membership_sync.sweep_all)
        store.epochs.attach(self._begin_anew)

    async def run(self) -> None:
        """Serve until cancelled; `drain` first. Raises SettingsError where the port is not to be had."""
        async with self._tasks:
            with named("WS", self._settings.ws_host, self._settings.ws_port):
                self._server = await self._serve()
            async with self._server, asyncio.TaskGroup() as works:
                self._listening.set()
                for work in (self._catch_up.run(), self._ticker.run(), self._membership_sync.run()):
                    works.create_task(work)

    async def listening(self) -> int:
        """Wait until the port is open. Its number."""
        await self._listening.wait()
        assert self._server is not None
        return int(next(iter(self._server.sockets)).getsockname()[1])

    async def drain(self) -> bool:
        """Let nobody in any more and show everybody out, a few at a time, so that they do not come back all at once.

        Within half of a stop: who has not gone by then is cut off. True: what is in flight, the node settles.
        """
        self._draining = True
        if self._server is not None:
            self._server.close(close_connections=False)
        for connection in self._alive:
            if connection.request is None or connection.is_held:
                connection.transport.abort()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.stop_seconds / 2):
                await self._show_out(list(self.hub.sessions()), "the server restarts")
                if self._server is not None:
                    await self._server.wait_closed()  # who is being opened is shown out at the end of that
        for connection in self._alive:
            connection.transport.abort()
        return True

    async def _show_out(self, sessions: list[Session], reason: str) -> None:
        pause = min(DRAIN_PAUSE, self._settings.stop_seconds / 4 * DRAIN_BATCH / max(1, len(sessions)))
        leaving = []
        for start in range(0, len(sessions), DRAIN_BATCH):
            for session in sessions[start : start + DRAIN_BATCH]:
                leaving.append(self._tasks.create_task(self._shut(session, CloseCode.DRAINING, reason, 1)))
            await asyncio.sleep(pause if len(sessions) > start + DRAIN_BATCH else 0)
        if leaving:
            await asyncio.wait(leaving)

    def _serve(self) -> Awaitable[Server]:
        turns = Turns(self._actions.limits)
        made: Any = partial(Connection, self._alive, self._connections, turns)  # a type is asked for, and called
        return serve(
            self._handle, self._settings.ws_host, self._settings.ws_port,
            create_connection=made, process_request=self._admit, process_response=json_refusal,
            select_subprotocol=choose_subprotocol, compression=None, ping_interval=None,
            max_size=self._settings.max_frame, max_queue=4, open_timeout=OPEN_TIMEOUT, close_timeout=CLOSE_TIMEOUT,
            server_header=None, backlog=BACKLOG, reuse_port=self._reuse_port or None, logger=quiet_logger(),
        )  # fmt: skip

    # Coming in

    async def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """The answer to a handshake that is not let in, or None."""
        assert isinstance(connection, Connection)
        shut = self._draining or self._opening_waits > OPENING_QUEUE
        try:
            connection.ask(request.headers.get_all("X-Forwarded-For"))
        except RecadoError as exc:
            return refused(exc)
        admitted = await self._admission.admit(connection.address, request, connection.hold_back, shut=shut)
        if isinstance(admitted, Response):
            return admitted
        self._let_in(connection, admitted)
        return None

    def _let_in(self, connection: Connection, admitted: Admitted) -> None:
        session = Session(
            connection, admitted.user, admitted.claims, admitted.options, cursors=self._cursors,
            ready=self._catch_up.want,
        )  # fmt: skip
        connection.reader = Requests(
            session, self._actions, self.hub, self._ticker, self._settings,
            spawn=self._tasks.create_task, close=self._close, gone=self._gone,
        )  # fmt: skip
        self._per_user[admitted.user.id] += 1
        self._metrics.sessions.inc()
        if connection.protocol.state is not CONNECTING:  # it left while the store was asked
            self._gone(session)

    async def _handle(self, connection: ServerConnection) -> None:
        """The library's task for a connection: opens the session, then waits for its end."""
        assert isinstance(connection, Connection) and isinstance(connection.reader, Requests)
        session = connection.reader.session
        if 0 < self._settings.max_connections_per_user < self._per_user[session.user.id]:
            self._metrics.reached("max_connections_per_user")
            await self._shut(session, CloseCode.TOO_MANY, "too many connections")
            return
        try:
            await self._open(session, connection.reader)
        except RecadoError as exc:
            if isinstance(exc, LimitReached):
                self._actions.limits.reached("devices")
            await self._shut(session, CloseCode.of(exc), exc.message[:100])
        if self._draining:  # it was not among those who were shown out
            await self._shut(session, CloseCode.DRAINING, "the server restarts", 1)
        await connection.wait_closed()

    async def _open(self, session: Session, requests: Requests) -> None:
        self._opening_waits += 1
        try:
            async with self._opening:
                await self._cursors.settle()
                await self._membership_sync.open(session)
        finally:
            self._opening_waits -= 1
        if not session.gone:
            self._ticker.add(session)
            self._set_timers(session)
        requests.opened()

    def _set_timers(self, session: Session) -> None:
        left, later = max(0.0, session.claims.expires_at - time.time()), asyncio.get_running_loop().call_later
        session.timers.append(later(left, self._close, session, CloseCode.TOKEN_EXPIRED, "the token expired"))
        if session.options.heartbeat:
            self._beat(session)

    def _beat(self, session: Session) -> None:
        session.send(Heartbeat())
        session.timers[1:] = [asyncio.get_running_loop().call_later(HEARTBEAT, self._beat, session)]

    # Going out

    def _close(self, session: Session, code: CloseCode, reason: str) -> None:
        self._tasks.create_task(self._shut(session, code, reason))

    async def _shut(self, session: Session, code: CloseCode, reason: str, retry_after: int | None = None) -> None:
        """Close one session: confirmations first, then the close frame. Returns when it is closed."""
        if session.closing or session.gone:
            return
        session.closing = True
        session.is_void |= code in (CloseCode.TOKEN_EXPIRED, CloseCode.REVOKED)  # its token is
        self._detach(session)
        if code.is_ours:
            session.send(Closing(code=code, reason=reason, reconnect=code.reconnect, retry_after=retry_after))
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._cursors.flush()
        session.mute = True  # `close` writes its frame before it first waits
        await session.connection.close(code, reason)

    def _detach(self, session: Session) -> None:
        if not self.hub.remove(session):
            self._tasks.create_task(self._take_out(session))
        self._ticker.remove(session)
        self._membership_sync.forget(session.user.id)
        for timer in session.timers:
            timer.cancel()

    async def _take_out(self, session: Session) -> None:
        """Out of the feeds, a few at a time, so that others have the loop in between."""
        while not self.hub.remove(session):  # noqa: ASYNC110 (it is work, no wait)
            await asyncio.sleep(0)

    def _gone(self, session: Session) -> None:
        """The connection takes and gives nothing any more. What it published goes on."""
        if session.gone:
            return
        session.gone = True
        self._detach(session)
        self._metrics.sessions.dec()
        self._per_user[session.user.id] -= 1
        if not self._per_user[session.user.id]:
            del self._per_user[session.user.id]

    def _fell_behind(self, session: Session, place: Place[Session]) -> None:
        self._metrics.fell_behind.inc()
        session.fell_behind(place)
        self._ticker.ping_soon(session)

    def _ended(self, user_id: int, topic_id: int, membership_id: int) -> None:
        # After this step: who has just left by itself takes its own place away, and is told by the answer alone.
        asyncio.get_running_loop().call_soon(self._membership_sync.end, user_id, topic_id, membership_id)

    def _revoked(self, session: Session) -> None:
        self._close(session, CloseCode.REVOKED, "the token was revoked")

    def _restored(self, feed: SessionFeed) -> None:
        """The log ends before what was delivered: it is another database than before, and so is every other log."""
        if self.hub.feeds.get(feed.topic.id) is not feed:  # a page shows it once more, of a feed that was dropped
            return
        del self.hub.feeds[feed.topic.id]
        log.error("topic %d is shorter than it was: was the database restored?", feed.topic.id)
        self._tasks.create_task(self._epochs.restored(self._epochs.identity))

    def _begin_anew(self) -> None:
        """The epochs have changed: no position is right any more, and nothing that was sent may be confirmed."""
        sessions = list(self.hub.sessions())
        for session in sessions:
            session.ledger = Ledger(session.ledger.explicit)
            self.hub.remove(session)
        if sessions:
            self._tasks.create_task(self._show_out(sessions, "the server was restored"))

    def _announce(self, feed: SessionFeed) -> bytes:
        epoch = self._epochs.of(feed.topic)
        return encode(TopicPush(topic_name=feed.topic.name, epoch=epoch, last_seq=feed.heard))
