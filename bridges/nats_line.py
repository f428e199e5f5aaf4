"""A line to a NATS server, from connecting to its first failure; then another is made.

The library could reconnect by itself. But what it published meanwhile would wait in its memory, unconfirmed, and be
sent later, beside the copy that a lane sends again; and after sixty tries it would give up for good.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import msgspec
from nats.aio.client import Client
from nats.errors import Error, NoRespondersError, SlowConsumerError, TimeoutError

from bridges.cancelling import heed_cancel
from bridges.outlet import Unreachable

log = logging.getLogger(__name__)

CLOSING = 5.0  # seconds
PATIENCE = 5.0  # seconds that a server has to answer
CONNECTING = 3
PING_SECONDS = 5  # the library's default notices a half-open line only after minutes
SCHEMES = ("nats", "tls", "ws", "wss")
TROUBLE = (OSError, TimeoutError, Error)
_NO_JETSTREAM = (10039, 10076)  # of the API's errors: not enabled for the account, for the server


class ApiError(msgspec.Struct, frozen=True):
    code: int = 0
    err_code: int = 0
    description: str = ""


class Names(msgspec.Struct, frozen=True):
    streams: list[str] | None = None
    error: ApiError | None = None


class NoJetStream(Exception):
    """The server, or this account on it, has no JetStream now."""


def servers_of(url: str) -> list[str]:
    """The servers of a NATS URL: one or more, with commas between. Raises ValueError."""
    given = [each.strip() for each in url.split(",") if each.strip()]
    servers = [each if "://" in each else f"nats://{each}" for each in given]
    if not all(map(is_server, servers)):  # which of them is not shown: it may have a password
        raise ValueError("a server of NATS is written nats://HOST:PORT or tls://HOST:PORT, several with commas between")
    return servers


def is_server(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def shown(servers: Sequence[str]) -> str:
    """Servers as they may be logged: without what stands before an @."""
    return ", ".join(f"{urlsplit(each).hostname}:{urlsplit(each).port or 4222}" for each in servers)


def words(exc: BaseException) -> str:
    return str(exc) or type(exc).__name__


async def connect(
    servers: Sequence[str], name: str, *,
    closed: Callable[[], Awaitable[None]] | None = None, overrun: Callable[[], None] | None = None,
) -> Client:  # fmt: skip
    """A new line. Raises Unreachable.

    Args:
        closed: called at its end.
        overrun: called for each message that a subscription had no room for.
    """
    failures: deque[Exception] = deque(maxlen=1)

    async def failed(exc: Exception) -> None:
        if isinstance(exc, SlowConsumerError) and overrun is not None:
            overrun()
            return
        failures.append(exc)
        log.debug("nats: %s", words(exc))

    client = Client()
    try:
        async with asyncio.timeout(CONNECTING * 2):
            await client.connect(
                list(servers), name=f"recado {name}", allow_reconnect=False, max_reconnect_attempts=1,
                reconnect_time_wait=0, connect_timeout=CONNECTING, ping_interval=PING_SECONDS,
                max_outstanding_pings=1, error_cb=failed, closed_cb=closed,
            )  # fmt: skip
    except TROUBLE as exc:
        await let_go(client)
        why = words(failures[-1] if failures else exc)
        raise Unreachable(f"NATS at {shown(servers)} can't be reached: {why}") from None
    except asyncio.CancelledError:
        await let_go(client)
        raise
    return client


async def let_go(client: Client) -> None:
    """End a line, also one whose other end hangs or is gone.

    By itself the library would first write what is unsent and wait for the peer to read it; and where that fails, or is
    cancelled, leave the tasks of its subscriptions behind.
    """
    for subscription in client._subs.values():
        subscription._stop_processing()
    client._pending.clear()
    client._pending_data_size = 0
    writer: Any = getattr(client._transport, "_io_writer", None)
    if writer is not None:
        writer.transport.abort()
    with suppress(TimeoutError):  # of what it still waits for nothing is left to us
        async with asyncio.timeout(CLOSING):
            await client.close()


async def confirm(client: Client) -> None:
    """Return once the server has processed all that was published on this line.

    `flush` writes its PING at once, past what the library still holds back: only where nothing is held back does the
    PONG speak of it.

    Raises:
        Error, OSError: it is not known whether it has.
    """
    await asyncio.sleep(0)
    while client.pending_data_size:
        await ping(client)
    await ping(client)


async def ping(client: Client) -> None:
    await client.flush(int(PATIENCE))
    heed_cancel()
    if not client.is_connected:  # then `flush` returns without having asked
        raise OSError("the line has broken")


async def streams_of(client: Client, subject: str) -> list[str]:
    """The streams that hold messages of a subject or filter, by the JetStream API.

    Raises:
        NoJetStream; Error, OSError: no answer.
    """
    try:
        request = msgspec.json.encode({"subject": subject})
        answer = await client.request("$JS.API.STREAM.NAMES", request, timeout=PATIENCE)
        heed_cancel()
        names = msgspec.json.decode(answer.data, type=Names)
    except NoRespondersError:
        heed_cancel()
        raise NoJetStream from None
    except msgspec.MsgspecError as exc:
        raise Error(f"JetStream's answer is not understood: {exc}") from None
    if names.error is not None:
        if names.error.err_code in _NO_JETSTREAM:
            raise NoJetStream
        raise Error(f"JetStream: {names.error.description}")
    return names.streams or []
