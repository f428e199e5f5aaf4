"""Recado's REST door, asked from a terminal: failures that pass are tried again, the rest is told in one sentence."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from recado.client import Refused
from recado.client.connection import is_loopback
from recado.client.resuming import delay

Decode = Callable[[bytes], Any]

TRY_SECONDS = 10.0
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


class Unreachable(OSError):
    """No answer, or none that helps; trying again later may."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any


class Rest:
    """An HTTP client for one API. Enter its context before asking."""

    def __init__(self, url: str, on_retry: Callable[[str], None] | None = None) -> None:
        self.url = url
        self._on_retry = on_retry or (lambda _: None)
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Rest:
        # A proxy of the system is used, but not to this machine itself.
        through_proxy = not is_loopback(urlsplit(self.url).hostname or "")
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TRY_SECONDS), trust_env=through_proxy)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._http is not None
        await self._http.close()

    async def ask(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None, tries: int = 3,
        decode: Decode | None = None,
    ) -> Any:  # fmt: skip
        """The JSON that is answered. The request must be harmless to repeat. Cancelling is safe in that sense.

        ``decode``: how to read it, other than as JSON of any kind.

        Raises:
            Refused: the server says no.
            Unreachable: there was no answer, or only failures, in this many tries.
        """
        for attempt in range(tries):
            try:
                answer = await self.once(method, path, body, headers=headers, decode=decode)
                if answer.status not in PASSING:
                    return _accepted(answer)
                reason = _message(answer)
            except Unreachable as exc:
                reason = str(exc)
            if attempt + 1 < tries:
                pause = delay(attempt + 1, random.random())
                self._on_retry(f"{reason}; again in {pause:.1f} s ({attempt + 2} of {tries})")
                await asyncio.sleep(pause)
        raise Unreachable(
            f"{reason}. Is Recado running there? Start it with: recado up; another address is given by --api."
        )

    async def once(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None,
        decode: Decode | None = None,
    ) -> Answer:  # fmt: skip
        """Whatever is answered. Raises Unreachable, and what ``decode`` raises for an answer that is no refusal."""
        assert self._http is not None, "enter the context first"
        try:
            async with self._http.request(
                method, self.url + path, json=body, headers=headers, allow_redirects=False
            ) as response:
                data = await response.read()
                read = decode if decode is not None and response.status < 300 else _decoded
                return Answer(response.status, read(data))
        except (aiohttp.ClientError, OSError, TimeoutError) as exc:
            raise Unreachable(f"{self.url} does not answer ({_short(exc)})") from None


def bearer(credential: str) -> dict[str, str]:
    """Headers that show a token or an API key; none where there is none."""
    return {"Authorization": f"Bearer {credential}"} if credential else {}


def _short(exc: BaseException) -> str:
    cause = getattr(exc, "os_error", None) or exc
    return str(getattr(cause, "strerror", None) or cause or type(exc).__name__)


def _decoded(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None


def _message(answer: Answer) -> str:
    told = answer.body.get("message") if isinstance(answer.body, dict) else None
    return str(told) if told else f"the server answers with HTTP {answer.status}"


def _accepted(answer: Answer) -> Any:
    if answer.status < 300:
        return answer.body
    code = answer.body.get("code") if isinstance(answer.body, dict) else None
    raise Refused(str(code or f"http_{answer.status}"), _message(answer))
