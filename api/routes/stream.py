"""A topic as Server-Sent Events (the HTML standard, 9.2): for browsers and programs that only read.

A stream moves no cursor. Where it is, its client knows: the `id` of the last event, which it shows when it comes back.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Literal

import msgspec

from api.route import Answer, Asked, Route
from api.shapes import Position, raw_content
from api.streaming import Flow
from messaging.errors import (
    BadRequest,
    Forbidden,
    NotAMember,
    RateLimited,
    RecadoError,
    TokenExpired,
    Unauthorized,
    Unavailable,
    UnknownTopic,
)
from messaging.model import MAX_SEQ, Gap, Message, Page, Topic
from messaging.pages import SharedPage
from messaging.permissions import Past
from messaging.retrying import jittered
from messaging.store import Standing
from messaging.watch import Ear

PAGE_BYTES = 64 * 1024
HEARTBEAT = 15.0  # seconds of silence
CHECK = 5.0  # seconds after which the permission is asked for again, where nothing told that it changed
RETRY = 2000  # milliseconds before a client comes back
EXPIRED, DRAINING, UNAUTHORIZED, FORBIDDEN = 4001, 4012, 4501, 4503  # as the WebSocket door closes

_encode = msgspec.json.Encoder().encode
_BEAT = b": still here\n\n"


class StreamQuery(msgspec.Struct, frozen=True):
    """`after` a seq: what lies beyond it comes first. A `Last-Event-ID` is worth more. With neither: from now on."""

    after: Position | None = None


class StreamEvent(msgspec.Struct, frozen=True):
    """One event: `data` is JSON, for a `message` or `gap` what a WebSocket is sent; `id` is the seq that it reaches."""

    data: str
    event: Literal["message", "gap", "closing"]
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


class StreamClosing(msgspec.Struct, frozen=True, tag_field="action", tag="closing"):
    """The stream ends. `code` as of the WebSocket door: below 4500 come back, from there on stay away."""

    code: int
    reason: str
    reconnect: bool


def routes() -> list[Route]:
    return [
        Route(method="GET", path="/api/v1/topics/{topic}/stream", handler=get, group="Messages", query=StreamQuery,
              headers=("Last-Event-ID",), media="text/event-stream", answers={200: StreamEvent},
              summary="A topic's messages as Server-Sent Events, as they come: `message` and `gap`, whose `id` is the"
                      " seq, at last `closing`. Moves no cursor; resumes behind `Last-Event-ID` or `after`.",
              errors=(UnknownTopic, NotAMember, RateLimited)),
    ]  # fmt: skip


async def get(asked: Asked[StreamQuery, None]) -> Answer:
    standing, opened = await asked.actions.readable(asked.caller, asked.path.topic)
    after = last_event_id(asked.headers.get("Last-Event-ID"), asked.query.after)
    if after is not None and after > standing.head:
        raise BadRequest(f"The topic has no message {after} yet; its last one is {standing.head}.")
    position = max(opened.floor, standing.head if after is None else after)
    retry = random.randint(RETRY // 4, RETRY * 2)  # not all at once, when a server comes back
    farewell = f"retry: {retry}\n".encode() + event("closing", StreamClosing(DRAINING, "The server ends.", True))
    flow = Flow(Reading(asked, standing, opened, position).pieces(), farewell)
    return Answer(200, flow, {"X-Accel-Buffering": "no"})  # nginx would hold events back


def last_event_id(header: str | None, after: int | None) -> int | None:
    """Behind which seq to go on. The header is worth more: a browser that comes back has both. Raises BadRequest."""
    if header is None:
        return after
    if not (header.isascii() and header.isdigit() and len(header) <= 16 and int(header) <= MAX_SEQ):
        raise BadRequest("Last-Event-ID is the seq of a message.")
    return int(header)


def event(name: str, data: object, seq: int | None = None) -> bytes:
    """One event. Content is kept byte for byte, so it may have line breaks between its tokens: a line of data each."""
    number = b"" if seq is None else b"id: %d\n" % seq
    lines = b"\ndata: ".join(_encode(data).splitlines())
    return b"event: %b\n%bdata: %b\n\n" % (name.encode(), number, lines)


def events(topic: Topic, page: Page) -> bytes:
    """A page as events."""
    return b"".join(event_of(topic.name, entry) for entry in page.entries)


def event_of(topic_name: str, entry: Message | Gap) -> bytes:
    if isinstance(entry, Gap):
        return event("gap", StreamedGap(topic_name, entry.first, entry.last, entry.reason), entry.last)
    message = StreamedMessage(topic_name, raw_content(entry), entry.sender, entry.seq, entry.sent_at)
    return event("message", message, entry.seq)


def closing_of(error: RecadoError) -> bytes:
    if isinstance(error, TokenExpired):
        return event("closing", StreamClosing(EXPIRED, error.message, True))
    code = UNAUTHORIZED if isinstance(error, Unauthorized) else FORBIDDEN
    return event("closing", StreamClosing(code, error.message, False))


class Reading:
    """One stream: who reads what, and where it is."""

    def __init__(self, asked: Asked[StreamQuery, None], standing: Standing, opened: Past, position: int) -> None:
        self._asked = asked
        self._topic = standing.topic
        self._membership = opened.membership
        self._position = position
        self._checked = -math.inf  # once more behind `listen`: what changed before it, nothing has told

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Events as they come, until the reader may read no more."""
        user = self._asked.caller.user
        user_id, version = (None, 0) if user is None else (user.id, user.version)
        # An id without data makes no event, but is what a client shows if the line is cut before the first one.
        yield b"retry: %d\nid: %d\n\n" % (RETRY, self._position)
        with self._asked.domain.node.watch.listen(user_id, version) as ear:
            try:
                while True:
                    yield await self._next(ear)
            except RecadoError as exc:
                yield closing_of(exc)

    async def _next(self, ear: Ear) -> bytes:
        """The next page of events; a heartbeat where there are none for a while.

        Raises:
            RecadoError: the reader may read no more.
        """
        loop, asked = asyncio.get_running_loop(), self._asked
        until = loop.time() + HEARTBEAT
        while (left := until - loop.time()) > 0:
            try:
                await self._check(ear)
                ear.attend(self._topic.id, self._position)
                shared = await self._page()
                if shared.page.entries:
                    self._position = shared.page.last
                    return shared.frames
                # Not all at once, where many came together; and no longer than the token lives.
                pause = min(random.uniform(CHECK / 2, CHECK), asked.caller.expires_at - time.time())
                await ear.wait(min(left, pause))
            except Unavailable:
                await asyncio.sleep(min(left, jittered(4)))
        return _BEAT

    async def _page(self) -> SharedPage[bytes]:
        pages = self._asked.domain.pages
        shared = await pages.read(self._topic, self._position, PAGE_BYTES, self._membership)
        if self._membership is not None and self._membership not in shared.memberships:
            raise Forbidden("You are no member of this topic any more.")
        return shared

    async def _check(self, ear: Ear) -> None:
        """Ask for the permission again where it may have changed, and now and then. Raises RecadoError."""
        if self._asked.caller.expires_at <= time.time():
            raise TokenExpired
        now = asyncio.get_running_loop().time()
        if not ear.take_poke() and now < self._checked + CHECK:
            return
        caller = await self._asked.again()
        standing, opened = await self._asked.actions.readable(caller, self._topic.name)
        is_other = opened.membership != self._membership and None not in (opened.membership, self._membership)
        if is_other or standing.topic.id != self._topic.id:
            raise Forbidden("The topic is another one by now, or you have left and joined it. Begin anew.")
        # It may have become private, or public: a member stays, with what is open to it now.
        self._membership, self._position = opened.membership, max(self._position, opened.floor)
        ear.version = caller.user.version if caller.user else 0
        self._checked = now
