"""A topic as Server-Sent Events (the HTML standard, 9.2): for browsers and programs that only read.

A stream moves no cursor. Where it is, its client knows: the `id` of the last event, which it shows when it comes back.
An id is `EPOCH:SEQ`: a seq says nothing without the log that it is of.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import msgspec

from api.route import Answer, Request, Route
from api.shapes import Epoch, Position, raw_content
from api.streaming import Flow
from messaging.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    NotAMember,
    RateLimited,
    RecadoError,
    TokenExpired,
    Unavailable,
    UnknownTopic,
)
from messaging.frames import CloseCode
from messaging.model import MAX_SEQ, Gap, Message, Page, Topic, TopicView
from messaging.permissions import Past
from messaging.readers.notifier import Listener
from messaging.readers.pages import SharedPage
from messaging.retrying import jittered
from messaging.store.epochs import is_same_topic

PAGE_BYTES = 64 * 1024
HEARTBEAT = 15.0  # seconds of silence
CHECK = 5.0  # seconds after which the permission is asked for again, where nothing told that it changed
RETRY = 2000  # milliseconds before a client comes back

_encode = msgspec.json.Encoder().encode
_BEAT = b": still here\n\n"


class StreamQuery(msgspec.Struct, frozen=True):
    """`after` a seq (of `epoch`, else 409): what lies beyond it comes first. A `Last-Event-ID` is worth more than both.

    With none of them: from now on.
    """

    after: Position | None = None
    epoch: Epoch | None = None


class StreamEvent(msgspec.Struct, frozen=True):
    """One event: `data` is JSON, for a `message` or `gap` what a WebSocket is sent; `id`: EPOCH:SEQ, its own."""

    data: str
    event: Literal["message", "gap", "epoch", "closing"]
    id: str | None = None
    retry: int | None = None


class StreamedMessage(msgspec.Struct, frozen=True, tag_field="action", tag="message"):
    topic_name: str
    content: msgspec.Raw
    user_source: str
    seq: int
    sent_at: datetime


class StreamedGap(msgspec.Struct, frozen=True, tag_field="action", tag="gap"):
    """Messages that were removed before this reader got them."""

    topic_name: str
    first: int = msgspec.field(name="from")
    last: int = msgspec.field(name="to")
    reason: Literal["expired", "seen"]


class StreamedTopic(msgspec.Struct, frozen=True, tag_field="action", tag="topic"):
    """The seqs are of another log from here on: the topic was made again, or the database restored."""

    topic_name: str
    epoch: str
    last_seq: int


class StreamClosing(msgspec.Struct, frozen=True, tag_field="action", tag="closing"):
    """The stream ends. `code` as of the WebSocket door: below 4500 come back, from there on stay away."""

    code: int
    reason: str
    reconnect: bool


def routes() -> list[Route]:
    return [
        Route(method="GET", path="/api/v1/topics/{topic}/stream", handler=get, group="Messages", query=StreamQuery,
              headers=("Last-Event-ID",), media="text/event-stream", answers={200: StreamEvent},
              summary="A topic's messages as Server-Sent Events, as they come: `message` and `gap`, whose `id` is"
                      " epoch and seq; `epoch` where another log begins, `closing` at last. Moves no cursor; resumes"
                      " behind `Last-Event-ID` or `after`.",
              errors=(UnknownTopic, NotAMember, Conflict, RateLimited)),
    ]  # fmt: skip


async def get(request: Request[StreamQuery, None]) -> Answer:
    view, opened = await request.actions.readable(request.caller, request.path.topic)
    header, topic = request.headers.get("Last-Event-ID"), view.topic
    epoch = request.actions.epochs.require(topic, request.query.epoch if header is None else None)
    start = start_of(header, request.query.after, epoch, view.head)
    retry = random.randint(RETRY // 4, RETRY * 2)  # not all at once, when a server comes back
    farewell = f"retry: {retry}\n".encode() + closing(CloseCode.DRAINING, "The server ends.")
    flow = Flow(Reading(request, view, opened, start, epoch).pieces(), farewell)
    return Answer(200, flow, {"X-Accel-Buffering": "no"})  # nginx would hold events back


@dataclass(frozen=True, slots=True)
class Start:
    """Where a stream begins: behind a seq. ``anew``: in another log than its reader knew."""

    seq: int
    anew: bool = False


def start_of(header: str | None, after: int | None, epoch: str, head: int) -> Start:
    """Where to go on, in a log of this epoch. The header is worth more: a browser that comes back has both.

    Behind as much as there is of a restored log; of a topic that was made again from its beginning, and so where a seq
    that comes without its epoch is not there.

    Raises:
        BadRequest: this is no position.
    """
    if header is None:
        if after is not None and after > head:
            raise BadRequest(f"The topic has no message {after} yet; its last one is {head}.")
        return Start(head if after is None else after)
    known, _, number = header.rpartition(":")
    if not (number.isascii() and number.isdigit() and len(number) <= 16 and int(number) <= MAX_SEQ):
        raise BadRequest("Last-Event-ID is the id of an event (EPOCH:SEQ), or a seq.")
    seq = int(number)
    if known in ("", epoch) and seq <= head:
        return Start(seq)
    return Start(min(seq, head) if is_same_topic(known, epoch) else 0, anew=True)


def event(name: str, data: object, epoch: str = "", seq: int = 0) -> bytes:
    """One event. Content is kept byte for byte, so it may have line breaks between its tokens: a line of data each."""
    number = b"id: %b:%d\n" % (epoch.encode(), seq) if epoch else b""
    lines = b"\ndata: ".join(_encode(data).splitlines())
    return b"event: %b\n%bdata: %b\n\n" % (name.encode(), number, lines)


def events(topic: Topic, page: Page, epoch: str) -> bytes:
    """A page as events."""
    return b"".join(event_of(topic.name, entry, epoch) for entry in page.entries)


def event_of(topic_name: str, entry: Message | Gap, epoch: str) -> bytes:
    if isinstance(entry, Gap):
        return event("gap", StreamedGap(topic_name, entry.first, entry.last, entry.reason), epoch, entry.last)
    message = StreamedMessage(topic_name, raw_content(entry), entry.sender, entry.seq, entry.sent_at)
    return event("message", message, epoch, entry.seq)


def closing(code: CloseCode, reason: str) -> bytes:
    return event("closing", StreamClosing(code, reason, code.reconnect))


class Reading:
    """One stream: who reads what, and where it is."""

    def __init__(
        self, request: Request[StreamQuery, None], view: TopicView, opened: Past, start: Start, epoch: str
    ) -> None:
        self._asked = request
        self._topic = view.topic
        self._membership = opened.membership
        self._position = max(opened.floor, start.seq)
        self._epoch = epoch
        position = b"id: %b:%d\n\n" % (epoch.encode(), self._position)
        self._greeting = self._begin(epoch, view.head) if start.anew else position
        self._checked = -math.inf  # once more behind `listen`: what changed before it, nothing has told

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Events as they come, until the reader may read no more."""
        user = self._asked.caller.user
        user_id, version = (None, 0) if user is None else (user.id, user.version)
        # An id without data makes no event, but is what a client shows if the line is cut before the first one.
        yield b"retry: %d\n" % RETRY + self._greeting
        with self._asked.domain.node.notifier.listen(user_id, version) as listener:
            try:
                while True:
                    yield await self._next(listener)
            except RecadoError as exc:
                yield closing(CloseCode.of(exc), exc.message)

    async def _next(self, listener: Listener) -> bytes:
        """The next page of events; a heartbeat where there are none for a while.

        Raises:
            RecadoError: the reader may read no more.
        """
        loop, request = asyncio.get_running_loop(), self._asked
        epochs = request.actions.epochs
        until = loop.time() + HEARTBEAT
        while (left := until - loop.time()) > 0:
            try:
                await self._check(listener)
                listener.attend(self._topic.id, self._position)
                shared = await self._page()
                if (epoch := epochs.of(self._topic)) != self._epoch:
                    return self._begin(epoch, shared.page.head)
                if shared.page.head < self._position:
                    await epochs.restored(epochs.identity)
                    continue
                if shared.page.entries:
                    self._position = shared.page.last
                    return shared.frames
                # Not all at once, where many came together; and no longer than the token lives.
                pause = min(random.uniform(CHECK / 2, CHECK), request.caller.expires_at - time.time())
                await listener.wait(min(left, pause))
            except Unavailable:
                await asyncio.sleep(min(left, jittered(4)))
        return _BEAT

    def _begin(self, epoch: str, head: int) -> bytes:
        """Go on in another log, as far as there is as much of it; the event that says so."""
        self._epoch, self._position = epoch, min(self._position, head)
        return event("epoch", StreamedTopic(self._topic.name, epoch, head), epoch, self._position)

    async def _page(self) -> SharedPage[bytes]:
        pages = self._asked.domain.pages
        shared = await pages.read(self._topic, self._position, PAGE_BYTES, self._membership)
        if self._membership is not None and self._membership not in shared.memberships:
            raise Forbidden("You are no member of this topic any more.")
        return shared

    async def _check(self, listener: Listener) -> None:
        """Ask for the permission again where it may have changed, and now and then. Raises RecadoError."""
        if self._asked.caller.expires_at <= time.time():
            raise TokenExpired
        now = asyncio.get_running_loop().time()
        if not listener.take_poke() and now < self._checked + CHECK:
            return
        caller = await self._asked.again()
        view, opened = await self._asked.actions.readable(caller, self._topic.name)
        is_other = opened.membership != self._membership and None not in (opened.membership, self._membership)
        if is_other or view.topic.id != self._topic.id:
            raise Forbidden("The topic is another one by now, or you have left and joined it. Begin anew.")
        # It may have become private, or public: a member stays, with what is open to it now.
        self._membership, self._position = opened.membership, max(self._position, opened.floor)
        listener.version = caller.user.version if caller.user else 0
        self._checked = now
