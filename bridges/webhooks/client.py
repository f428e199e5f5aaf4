"""HTTP to one platform, safe from SSRF: nothing of what the platform says decides which machine is asked.

The guard stands where a socket is made, with the address that is about to be dialled: after every lookup, at every
connection, for names and for addresses in any spelling. There is no gap between a check and its use, and a DNS answer
that changes is just another address.

A status line is an answer, whatever aiohttp makes of what comes behind it: see `Listening`.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.client_proto import ResponseHandler

from bridges.webhooks.addresses import refusal, url_refusal
from bridges.webhooks.answers import Answer, excerpt
from messaging.integrator.events import Platform
from messaging.settings.addresses import Network

USER_AGENT = "Recado/1"

LINE_BYTES = 64 * 1024  # of one header of an answer, and of its status line
START_BYTES = 16 * 1024  # kept of an answer's beginning, in which its status line is to come
_INTERIM = re.compile(rb"HTTP/1\.[01] 1\d\d[ \r\n]")
_FINAL = re.compile(rb"HTTP/1\.[01] ([2-9]\d\d)[ \r\n]")


class NotReached(Exception):
    """There was no connection: nothing has left."""


class Unanswered(Exception):
    """The request has left, or may have; there is no answer that could be read."""


class AddressRefused(OSError):
    """The guard's no. The connector takes it for any other address that does not answer."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds. ``connect``: to look up, dial and shake hands; ``total``: to the end of the answer."""

    connect: float = 3.0
    total: float = 10.0


class Listening(ResponseHandler):
    """aiohttp's end of a connection, which keeps how an answer begins: of one that it can't parse it gives nothing.

    A header that is too long or malformed, a body that breaks off: who has said 200 has taken the message, and would
    get it again for ever.
    """

    def __init__(self, on_asked: Callable[[Listening], None]) -> None:
        """``on_asked``: called when this connection is given to a question, before anything is sent."""
        super().__init__(asyncio.get_running_loop())
        self._on_asked = on_asked
        self._start = b""

    def set_response_params(self, **params: Any) -> None:
        self._start = b""
        self._on_asked(self)
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """Of interim answers aiohttp would take in any number, all of a turn at once."""
        if (room := START_BYTES - len(self._start)) > 0:
            self._start += data[:room]
            if len(self._start) == START_BYTES and self.status is None and self.transport is not None:
                self.set_exception(aiohttp.ClientError(f"no status line in {START_BYTES} bytes"))
                self.transport.abort()
                return
        super().data_received(data)

    @property
    def status(self) -> int | None:
        """Of the final answer; None where no such line came."""
        return final_status(self._start)


def final_status(start: bytes) -> int | None:
    """The status of an answer that begins like this, behind any interim ones; None where there is none. Pure."""
    while _INTERIM.match(start):
        start = start.partition(b"\r\n\r\n")[2]
    found = _FINAL.match(start)
    return int(found[1]) if found else None


class PlatformHttpClient:
    """Asks one platform, one question at a time.

    It keeps a connection open between two questions that follow soon; not for a platform that is sent nothing twice: on
    one that the other side is just closing, nobody knows what arrived.
    """

    def __init__(
        self, allow_nets: tuple[Network, ...], patience: Patience | None = None, *,
        resolver: AbstractResolver | None = None,
    ) -> None:  # fmt: skip
        """``resolver``: in place of the system's, below the guard."""
        self._allow_nets = allow_nets
        self._patience = patience or Patience()
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None
        self._line: Listening | None = None  # that the question under way has
        self._terms = (False, False)

    async def ask(
        self, platform: Platform, method: str, url: str, most: int, *,
        headers: Mapping[str, str] | None = None, body: bytes | None = None,
    ) -> Answer:  # fmt: skip
        """The answer, of its body at most ``most`` bytes; without headers and body where they can't be read.

        Cancelling leaves open whether the request arrived.

        Raises:
            NotReached, Unanswered: the text says why.
        """
        if reason := url_refusal(url, trusted=platform.trusted):
            raise NotReached(reason)
        session = await self._session_for(platform)
        sent = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **(headers or {})}
        self._line = None
        try:
            async with session.request(
                method, url, data=body, headers=sent, ssl=not platform.insecure, allow_redirects=False
            ) as response:
                start, complete = await _beginning(response, most)
                return Answer(response.status, response.headers, start, complete)
        except Exception as exc:  # whatever the library makes of it, it is this answer's end and no more
            if self._line is None:
                raise NotReached(_why(exc, self._patience.connect)) from exc
            if (status := self._line.status) is not None:
                return Answer(status, is_whole=False)
            raise Unanswered(_why(exc, self._patience.total)) from exc

    def _listen(self, line: Listening) -> None:
        self._line = line

    async def close(self) -> None:
        """Harmless to repeat; the next question opens it again."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _session_for(self, platform: Platform) -> aiohttp.ClientSession:
        """A connection that was made in trust is not used after the trust has ended."""
        terms = (platform.trusted, platform.retry_ambiguous)
        if self._terms != terms:
            await self.close()
        if self._session is None:
            self._terms = terms
            self._session = self._new_session(*terms)
        return self._session

    def _new_session(self, trusted: bool, keeps: bool) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            resolver=self._resolver, use_dns_cache=False, socket_factory=_guard(trusted, self._allow_nets),
            force_close=not keeps, keepalive_timeout=5.0 if keeps else None,
        )  # fmt: skip
        connector._factory = partial(Listening, self._listen)  # type: ignore[assignment]  # it has no public place for this
        timeout = aiohttp.ClientTimeout(
            total=self._patience.total, connect=self._patience.connect, sock_connect=self._patience.connect
        )
        return aiohttp.ClientSession(
            connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False,
            auto_decompress=False, max_line_size=LINE_BYTES, max_field_size=LINE_BYTES,
        )  # fmt: skip


def _guard(trusted: bool, allow_nets: tuple[Network, ...]) -> Callable[[Any], socket.socket]:
    def make_socket(address: Any) -> socket.socket:
        """``address``: as by getaddrinfo, and what will be dialled."""
        family, kind, proto, _, (host, *_) = address
        if reason := refusal(str(host), trusted=trusted, allow_nets=allow_nets):
            raise AddressRefused(reason)
        return socket.socket(family, kind, proto)

    return make_socket


async def _beginning(response: aiohttp.ClientResponse, most: int) -> tuple[bytes, bool]:
    """The first bytes of a body, and whether they are all of it: the status stands, whatever becomes of the rest."""
    got = bytearray()
    try:
        while len(got) < most and (piece := await response.content.read(most - len(got))):
            got += piece
        return bytes(got), len(got) < most or response.content.at_eof()
    except Exception:  # see `PlatformHttpClient.ask`
        return bytes(got), False


def _why(exc: BaseException, seconds: float) -> str:
    match exc:
        case aiohttp.ClientConnectorCertificateError():
            return f"its certificate is not accepted: {exc.certificate_error}"
        case aiohttp.ClientConnectorError():
            return f"there is no connection: {exc.os_error}"
        case ValueError():
            return f"its url can't be used: {exc}"
        case TimeoutError():
            return f"it did not answer within {seconds:g} s"
        case _:
            said = excerpt(str(exc).encode(errors="replace"))  # it may quote all that came
            return f"the connection broke, or spoke no HTTP: {said or type(exc).__name__}"
