"""Requests that wait for their answers. They outlive connections: each is sent again until it is answered.

That is harmless: a publish carries an id and is stored once, and all other requests say what is to be, not what to do.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recado.client.resuming import RETRYABLE, Refused, delay

MAX_IN_FLIGHT = 128  # beyond it, callers wait for their turn
TOO_FAST_PAUSE = 1.0  # seconds


@dataclass(slots=True)
class PendingRequest:
    """A request, as text, and who waits for its answer. ``sent``: on the present connection."""

    text: str
    answer: asyncio.Future[Mapping[str, Any]]
    sent: bool = False
    refusals: int = 0


class PendingRequests:
    """The requests of a client, oldest first, by the key that their answers carry."""

    def __init__(self) -> None:
        self.due = asyncio.Event()  # something may be there to send
        self.made = asyncio.Event()  # who does not read any more must, to find the answer
        self._requests: dict[str, PendingRequest] = {}
        self._room = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._end: BaseException | None = None

    def __bool__(self) -> bool:
        return bool(self._requests)

    async def make(self, key: str, text: str) -> Mapping[str, Any]:
        """Send a request, again and again, and wait for its answer. Cancelling is safe: it is not sent again.

        Raises:
            Refused: the server says no, for good.
            BaseException: what `fail` was given.
        """
        async with self._room:
            if self._end is not None:
                raise self._end
            call = self._requests[key] = PendingRequest(text, asyncio.get_running_loop().create_future())
            self.due.set()
            self.made.set()
            try:
                return await call.answer
            finally:
                del self._requests[key]

    def take_unsent(self) -> list[str]:
        """The texts to send now."""
        self.due.clear()
        unsent = [call for call in self._requests.values() if not call.sent]
        for call in unsent:
            call.sent = True
        return [call.text for call in unsent]

    def resend(self) -> None:
        """Nothing of what was sent will be answered: send it all again."""
        for call in self._requests.values():
            call.sent = False
        self.due.set()

    def settle(self, frame: Mapping[str, Any]) -> None:
        """An answer came; to which request, its ``ref`` or ``id`` says."""
        key = frame.get("ref") or frame.get("id")
        is_error = frame.get("action") == "error" or frame.get("result") == "error"
        code = str(frame.get("code", "")) if is_error else ""
        call = self._requests.get(str(key)) if key else None
        if call is None:
            if code == "rate_limited":  # it does not say which: those were not even read
                asyncio.get_running_loop().call_later(TOO_FAST_PAUSE, self.resend)
        elif code in RETRYABLE:
            self._send_later(call)
        elif is_error:
            _fail(call, Refused(code, str(frame.get("message", code))))
        elif not call.answer.done():
            call.answer.set_result(frame)

    def fail_largest(self, error: Refused) -> bool:
        """Give up the request that was too large for the server. False: there was none."""
        call = max(self._requests.values(), key=lambda call: len(call.text), default=None)
        if call is not None:
            _fail(call, error)
        return call is not None

    def fail(self, error: BaseException) -> None:
        """Give up all requests, and those to come."""
        self._end = error
        for call in self._requests.values():
            _fail(call, error)

    def _send_later(self, call: PendingRequest) -> None:
        pause = delay(call.refusals, random.random())
        call.refusals += 1
        asyncio.get_running_loop().call_later(pause, self._send_again, call)

    def _send_again(self, call: PendingRequest) -> None:
        call.sent = False
        self.due.set()


def _fail(call: PendingRequest, error: BaseException) -> None:
    if not call.answer.done():
        call.answer.set_exception(error)
