"""Keeps a client's connection up: dials, listens, sends, and after each end decides whether and when to come back."""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from recado.client.connection import CLOSE_SECONDS, Connection, retry_after, until_silent
from recado.client.pending_requests import PendingRequests
from recado.client.receive_buffer import ReceiveBuffer
from recado.client.received import thing_of
from recado.client.resuming import Next, Refused, TokenRefused, after_close, after_refusal, delay, error_of

STEADY = 10.0  # seconds that a connection lasts before the pauses begin small again
ACK_GATHER = 0.05  # seconds
MAX_TOKENS = 3  # new ones, refused one after the other

Token = str | Callable[[], Awaitable[str]]
_ANSWERS = frozenset({"subscribe", "unsubscribe", "invite", "history", "topics", "error"})


@dataclass(frozen=True, slots=True)
class State:
    """What a client is doing. ``reason``: why it has no connection; ``retry_in``: seconds until it tries again."""

    name: Literal["connecting", "connected", "waiting", "ended"]
    reason: str = ""
    retry_in: float = 0.0


@dataclass(frozen=True, slots=True)
class Ending:
    """Of one connection. ``wait``: seconds that the server asked for; ``at_once``: it was given up by ourselves."""

    next: Next
    code: int
    reason: str
    wait: float = 0.0
    at_once: bool = False


class TokenSource:
    """The token in use, and where a new one comes from."""

    def __init__(self, token: Token) -> None:
        self._token = token if isinstance(token, str) else ""
        self._ask = None if isinstance(token, str) else token
        self._refused = 0

    async def token(self) -> str:
        """The token in use; a new one where there is none. Raises what asking for it raises."""
        if not self._token and self._ask is not None:
            self._token = await self._ask()
        return self._token

    def accepted(self) -> None:
        self._refused = 0

    def refuse(self) -> bool:
        """The token was refused. Whether asking for a new one may help."""
        self._refused += 1
        if self._ask is None or self._refused > MAX_TOKENS:
            return False
        self._token = ""
        return True


class ReconnectLoop:
    """One connection after the other, until it is told to stay away."""

    def __init__(
        self, dial: Callable[[str], connect], token_source: TokenSource,
        requests: PendingRequests, buffer: ReceiveBuffer,
        on_state: Callable[[State], None], silence: float,
    ) -> None:  # fmt: skip
        self._dial = dial
        self._token_source = token_source
        self._requests = requests
        self._buffer = buffer
        self._on_state = on_state
        self._silence = silence
        self._line: Connection | None = None
        self._closing: Mapping[str, Any] = {}  # what the server says before it closes
        self._epochs: dict[str, str] = {}  # by topic, on this connection
        self._up_since = math.inf

    async def run(self) -> None:
        """Stay connected. Ends by an exception alone.

        Raises:
            Ended: the server does not let this client in any more.
        """
        attempt = 0
        while True:
            self._on_state(State("connecting"))
            self._up_since = math.inf
            ending = await self._connection()
            self._requests.resend()
            self._check(ending)
            attempt = 0 if time.monotonic() - self._up_since > STEADY else attempt
            if not ending.at_once:
                pause = ending.wait + delay(attempt, random.random())
                attempt += 1
                self._on_state(State("waiting", ending.reason, pause))
                await asyncio.sleep(pause)

    async def close(self) -> None:
        """Send the last acknowledgements and close the connection, if there is one."""
        if self._line is not None:
            with suppress(ConnectionClosed, TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._send_acks(self._line)
                    await self._line.close()

    async def _connection(self) -> Ending:
        """One connection, from dialling to its end."""
        self._closing = {}
        self._epochs = {}
        try:
            async with self._dial(await self._token_source.token()) as line:
                assert isinstance(line, Connection)
                return await self._converse(line)
        except InvalidStatus as exc:
            answer = exc.response
            reason = _message(answer.body) or f"HTTP {answer.status_code}"
            return Ending(after_refusal(answer.status_code), answer.status_code, reason, retry_after(answer.headers))
        except (OSError, TimeoutError, InvalidHandshake, ConnectionClosed) as exc:
            return Ending(Next.RETURN, 1006, _words(exc))

    async def _converse(self, line: Connection) -> Ending:
        self._line = line
        self._buffer.reconnected()
        works = [self._send_requests(line), self._send_acks_for_ever(line), self._watch(line)]
        tasks = [asyncio.create_task(work) for work in works]
        try:
            with suppress(ConnectionClosed):
                while True:
                    await self._receive(json.loads(await line.recv()))
        finally:
            self._line = None
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        return self._ending(line)

    async def _receive(self, frame: Mapping[str, Any]) -> None:
        action = frame.get("action")
        if action in _ANSWERS or "result" in frame:
            self._requests.settle(frame)
        elif action == "connected":
            self._token_source.accepted()
            self._up_since = time.monotonic()
            self._on_state(State("connected"))
        elif action == "closing":
            self._closing = frame
        elif action == "topic":
            self._epochs[frame["topic_name"]] = str(frame["epoch"])
        elif (thing := thing_of(frame, self._epochs.get(frame.get("topic_name", ""), ""))) is not None:
            await self._buffer.offer(thing)

    # What goes on beside it; a closed connection is noticed by who receives.

    async def _send_requests(self, line: Connection) -> None:
        with suppress(ConnectionClosed):
            while True:
                await self._requests.due.wait()
                for text in self._requests.take_unsent():
                    await line.send(text)

    async def _send_acks_for_ever(self, line: Connection) -> None:
        with suppress(ConnectionClosed):
            while True:
                await self._buffer.acks_due.wait()
                await asyncio.sleep(ACK_GATHER)
                await self._send_acks(line)

    async def _send_acks(self, line: Connection) -> None:
        for topic, (epoch, seq) in self._buffer.take_acks().items():
            frame = {"action": "ack", "topic_name": topic, "seq": seq, **({"epoch": epoch} if epoch else {})}
            await line.send(json.dumps(frame))

    async def _watch(self, line: Connection) -> None:
        await until_silent(line, self._silence, self._buffer.cut, self._buffer.deaf)
        line.transport.abort()

    # What follows

    def _ending(self, line: Connection) -> Ending:
        code = line.close_code or 1006
        reason = str(self._closing.get("reason", "")) or line.close_reason or "the connection was lost"
        wait = min(60.0, float(self._closing.get("retry_after") or 0))
        return Ending(after_close(code), code, reason, wait, at_once=self._buffer.overflowed)

    def _check(self, ending: Ending) -> None:
        """Raises Ended where there is no point in coming back."""
        if ending.next is Next.RENEW and not self._token_source.refuse():
            raise TokenRefused(str(error_of(ending.code, ending.reason)))
        if ending.next is Next.SHRINK and not self._requests.fail_largest(
            Refused("too_large", "The message is larger than the server takes (its MAX_FRAME). Send less.")
        ):
            raise error_of(ending.code, ending.reason)
        if ending.next is Next.STOP:
            raise error_of(ending.code, ending.reason)


def _words(exc: Exception) -> str:
    if isinstance(exc, OSError) and exc.errno:
        return os.strerror(exc.errno).lower()
    return str(exc) or ("no answer" if isinstance(exc, TimeoutError) else type(exc).__name__)


def _message(body: bytes | bytearray | memoryview) -> str:
    """The reason in a refused handshake, where it is Recado that refused."""
    try:
        answer = json.loads(bytes(body))
    except ValueError:
        return ""
    return str(answer.get("message", "")) if isinstance(answer, dict) else ""
