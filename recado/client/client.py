"""The client as an application sees it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from recado.client.connection import dial
from recado.client.pending_requests import PendingRequests
from recado.client.receive_buffer import ReceiveBuffer
from recado.client.received import Entry, Gap, History, Message, Thing, TopicState, history_of, topics_of
from recado.client.reconnecting import ReconnectLoop, State, Token, TokenSource
from recado.client.resuming import Closed

MAX_QUEUE = 256
SILENCE_SECONDS = 60.0  # the server pings every 20 s


class Client:
    """One user's connection, kept up from entering the context to leaving it.

    `async for message in client` gives messages; `next` also gaps, invitations and removals. Each is acknowledged when
    the application comes back for the next one (with ``explicit``: when it calls `ack`), so what it had not finished
    when it ended comes again. Within the life of a client nothing comes twice.
    """

    def __init__(
        self, url: str, token: Token, *, device: str = "", explicit: bool = False,
        on_state: Callable[[State], None] | None = None, queue: int = MAX_QUEUE, silence: float = SILENCE_SECONDS,
    ) -> None:  # fmt: skip
        """Nothing happens before the context is entered.

        Args:
            url: the WebSocket door, such as ws://127.0.0.1:5000.
            token: a token, or what gives a new one: it is asked first, and again when the server refuses the last one.
                It may raise OSError or TimeoutError, and is asked again later; any other exception ends the client.
            device: has a position of its own in each topic. Without one, all of a user's clients share one.
            explicit: nothing is acknowledged but by `ack`.
            on_state: is called with every change, in the event loop; it must not block.
            queue: how many things wait for the application at most; beyond it nothing is read, and the server waits.
            silence: seconds without any sign of life after which the connection is given up.

        Raises:
            ValueError: this is no address of a WebSocket.
        """
        if urlsplit(url).scheme not in ("ws", "wss") or not urlsplit(url).hostname:
            raise ValueError(f"{url!r} is no address of a WebSocket, such as ws://127.0.0.1:5000")
        self._explicit = explicit
        self._requests = PendingRequests()
        self._buffer = ReceiveBuffer(self._requests, queue)
        self._on_state = on_state
        self._has_ended = False
        self._reconnect_loop = ReconnectLoop(
            partial(dial, url.rstrip("/"), device),
            TokenSource(token),
            self._requests,
            self._buffer,
            self._tell,
            silence,
        )
        self._given: Thing | None = None
        self._work: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Client:
        self._work = asyncio.create_task(self._reconnect_loop.run(), name="recado client")
        self._work.add_done_callback(self._ended)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Send the last acknowledgements and end; requests that wait raise `Closed`. Takes 10 s at most."""
        self._end(Closed("The client was closed."))
        try:
            await self._reconnect_loop.close()
        finally:
            if self._work is not None:
                self._work.cancel()
                await asyncio.wait([self._work])

    # What the application takes

    def __aiter__(self) -> Client:
        return self

    async def __anext__(self) -> Message:
        """The next message; ends when the client was closed. Raises what `next` raises. Cancelling is safe."""
        try:
            while True:
                thing = await self.next()
                if isinstance(thing, Message):
                    return thing
        except Closed:
            raise StopAsyncIteration from None

    async def next(self) -> Thing:
        """The next message, gap, invitation or removal, in order per topic. Acknowledges the one before it.

        Cancelling is safe: nothing is taken then.

        Raises:
            TokenRefused, SentAway: the server does not let this client in any more.
            Closed: the client was closed.
        """
        given, self._given = self._given, None
        if isinstance(given, Message | Gap) and not self._explicit:
            self.ack(given)
        self._given = await self._buffer.take()
        return self._given

    def ack(self, entry: Entry) -> None:
        """Acknowledge an entry, and all before it in its topic. Sent within 50 ms, or once it came again."""
        self._buffer.ack(entry)

    # What the application asks for. Each waits for a connection, however long: a time limit is the caller's.

    async def publish(self, topic: str, content: Any, *, ttl: int | None = None) -> int:
        """Publish JSON, to a topic or to ``@user``; its seq, once it is stored. ``ttl``: seconds that it lives.

        After a lost connection it is sent again with the same id, and stored once. Cancelling is safe, but leaves it
        open whether the message is stored.

        Raises:
            Refused: the server does not take it.
            Ended: there will be no connection any more; whether it is stored is open.
            TypeError, ValueError: ``content`` is no JSON.
        """
        limits = {} if ttl is None else {"ttl": ttl}
        frame = {"action": "message", "topic_name": topic, "content": content, **limits}
        return int((await self._ask("id", frame))["seq"])

    async def subscribe(self, topic: str) -> None:
        """Become a member; harmless for one who is. Raises Refused, Ended. Cancelling is safe."""
        await self._ask("ref", {"action": "subscribe", "topic_name": topic})

    async def unsubscribe(self, topic: str) -> None:
        """End the membership, and the claim to what is pending. Raises Refused, Ended. Cancelling is safe."""
        await self._ask("ref", {"action": "unsubscribe", "topic_name": topic})

    async def invite(self, topic: str, user: str) -> None:
        """Make a known user a member. Raises Refused, Ended. Cancelling is safe."""
        await self._ask("ref", {"action": "invite", "topic_name": topic, "username": user})

    async def history(
        self, topic: str, *, before: int | None = None, after: int | None = None, limit: int = 50
    ) -> History:
        """Up to 100 messages ``before`` or ``after`` a seq, the newest with neither. Raises Refused, Ended."""
        ends = {name: seq for name, seq in (("before", before), ("after", after)) if seq is not None}
        frame = {"action": "history", "topic_name": topic, "limit": limit, **ends}
        return history_of(await self._ask("ref", frame))

    async def topics(self) -> list[TopicState]:
        """What the user belongs to, by name. Raises Refused, Ended."""
        found: list[TopicState] = []
        more = True
        while more:
            behind = {"after": found[-1].name} if found else {}
            frame = await self._ask("ref", {"action": "topics", **behind})
            page = topics_of(frame)
            found += page
            more = bool(page) and bool(frame.get("more"))
        return found

    async def _ask(self, key_name: str, frame: dict[str, Any]) -> Mapping[str, Any]:
        key = uuid4().hex
        return await self._requests.make(key, json.dumps({**frame, key_name: key}, allow_nan=False))

    # The end

    def _ended(self, work: asyncio.Task[None]) -> None:
        if not work.cancelled() and (error := work.exception()) is not None:
            self._end(error)

    def _end(self, error: BaseException) -> None:
        if self._has_ended:
            return
        self._tell(State("ended", str(error)))
        self._has_ended = True
        self._requests.fail(error)
        self._buffer.end(error)

    def _tell(self, state: State) -> None:
        if self._on_state is not None and not self._has_ended:
            self._on_state(state)
