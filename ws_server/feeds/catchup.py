"""Readers that are behind, served from the store at their pace (backpressure): sessions in chunks, live ones in pages.

A chunk is a session's, filled over the topics in which it is behind, then confirmed by a pong before the next. It makes
a topic live in the synchronous step in which it reaches the node's position.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from messaging.delivery import Place, between
from messaging.errors import Unavailable, UnknownTopic
from messaging.observability.metrics import Metrics
from messaging.readers.pages import Pages, SharedPage
from messaging.retrying import jittered
from messaging.store.store import Store
from ws_server.feeds.hub import SessionFeed
from ws_server.protocol import PIECE_BYTES, entry_frames, pieces
from ws_server.session import Flow, Session

CATCH_UP_TASKS = 32  # chunks in the making at once; the pool bounds the statements
NODE_PAGE = 2 * PIECE_BYTES  # bytes
LEAST_SHARE = 2048  # bytes of a chunk for one of many topics

Frames = list[tuple[int, bytes]]


class CatchUp:
    """The workers that serve whoever is behind."""

    def __init__(
        self,
        store: Store,
        metrics: Metrics,
        *,
        deliver: Callable[[SessionFeed, Frames], None],
        written: Callable[[Session], None],
        stale: Callable[[Session], None],
        restored: Callable[[SessionFeed], None],
        announce: Callable[[SessionFeed], bytes],
    ) -> None:
        """Hand on, by callback, what is others' work.

        ``deliver``: frames for the live readers. ``written``: a chunk waits for its pong. ``stale``: a session's
        memberships are not as it knows them. ``restored``: a log ends before what this node knows of it.
        ``announce`` gives the frame that says which log a feed is.
        """
        self._pages: Pages[Frames] = Pages(store, lambda topic, page: entry_frames(topic.name, page.entries))
        self._metrics = metrics
        self._deliver = deliver
        self._written = written
        self._stale = stale
        self._restored = restored
        self._announce = announce
        self._queue: deque[Session | SessionFeed] = deque()
        self._feeds: set[SessionFeed] = set()  # queued or being read for
        self._more = asyncio.Semaphore(0)

    def want_feed(self, feed: SessionFeed) -> None:
        """The live readers of this feed are below what was heard of."""
        if feed not in self._feeds:
            self._feeds.add(feed)
            self._queue.appendleft(feed)
            self._more.release()

    def want(self, session: Session) -> None:
        """This session is behind somewhere, and ready for a chunk."""
        if session.flow is Flow.STEADY and session.behind and not session.ending:
            session.flow = Flow.QUEUED
            self._queue.append(session)
            self._more.release()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(CATCH_UP_TASKS):
                tasks.create_task(self._work(), name=f"catch-up {number}")

    async def _work(self) -> None:
        while True:
            await self._more.acquire()
            await self._serve(self._queue.popleft())

    async def _serve(self, reader: Session | SessionFeed) -> None:
        if isinstance(reader, Session):
            await self._serve_session(reader)
        else:
            await self._serve_feed(reader)

    async def _serve_feed(self, feed: SessionFeed) -> None:
        try:
            while feed.wants_page and feed.position is not None:
                await self._node_page(feed, feed.position)
        except Unavailable:
            asyncio.get_running_loop().call_later(jittered(4), self.want_feed, feed)
        except UnknownTopic:
            for session in list(feed.live):
                self._stale(session)
        finally:
            self._feeds.discard(feed)

    async def _node_page(self, feed: SessionFeed, after: int) -> None:
        heard = feed.heard
        page = (await self._pages.read(feed.topic, after, NODE_PAGE)).page
        if page.head < heard:
            self._restored(feed)
        elif feed.position is not None:
            feed.hear(page.head)
            # Frames of a notice may have come meanwhile: only what continues the position is delivered.
            self._deliver(feed, entry_frames(feed.topic.name, between(page.entries, feed.position, page.last)))

    async def _serve_session(self, session: Session) -> None:
        written = 0
        try:
            while session.behind and not session.ending and written < session.chunk:
                share = max((session.chunk - written) // len(session.behind), LEAST_SHARE)
                size = await self._serve_place(session, session.behind.popleft(), share)
                if size is None:
                    break
                written += size
        except Unavailable:
            session.flow = Flow.STEADY
            asyncio.get_running_loop().call_later(jittered(4), self.want, session)
            return
        self._metrics.chunks.inc()
        session.flow = Flow.STEADY
        if session.due and not session.ending:
            session.await_pong()
            self._written(session)
        else:
            self.want(session)

    async def _serve_place(self, session: Session, place: Place[Session], budget: int) -> int | None:
        """Write a page to one reader. Its size, or None where the buffer is full."""
        feed, after, heard = place.feed, place.position, place.feed.heard
        try:
            shared = await self._pages.read(feed.topic, after, budget, place.membership_id)
        except UnknownTopic:
            self._stale(session)
            return 0
        except Unavailable:
            session.behind.append(place)
            raise
        if session.ending or feed.behind.get(session) is not place or place.position != after:
            return 0
        if place.membership_id not in shared.memberships:
            self._stale(session)
            return 0
        if shared.page.head < max(heard, after):
            self._restored(feed)
            return 0
        feed.learn(place, shared.page.head)
        if feed.wants_page:  # the page told what no notice did: the live readers are below it
            self.want_feed(feed)
        return self._write_page(session, place, shared)

    def _write_page(self, session: Session, place: Place[Session], shared: SharedPage[Frames]) -> int | None:
        feed = place.feed
        # Never beyond the node: what it has not delivered yet comes with its own next range.
        until = shared.page.last if feed.position is None else min(shared.page.last, feed.position)
        size = self._write(session, place, [frame for frame in shared.frames if frame[0] <= until])
        if size is not None and not feed.admit(session):
            rest = self._write(session, place, feed.missing(place) or [])
            size = None if rest is None else size + rest
            if size is None or not feed.admit(session):
                session.behind.append(place)
                return size
        elif size is None:
            session.behind.append(place)
        return size

    def _write(self, session: Session, place: Place[Session], frames: Frames) -> int | None:
        """Write frames piece by piece, as far as the buffer takes them; None where it did not take all."""
        size = 0
        for group in pieces(frames):
            news = self._announce(place.feed) if place.untold else b""
            piece = news + b"".join(frame for _, frame in group)
            if not session.takes(len(piece)):
                session.await_pong()
                return None
            session.write(piece)
            place.untold = False
            place.position = group[-1][0]
            session.written(place)
            size += len(piece)
        return size
