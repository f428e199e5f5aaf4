"""The one place that tames nats-py: connections for the bus and for bridges, from connecting to their first failure.

The library could reconnect by itself. But what it published meanwhile would wait in its memory, unconfirmed, and be
sent later, beside the copy that a lane sends again; and after sixty tries it would give up for good.

What is put right here (and what of it is private is named nowhere else): its reader gives up at bytes that peers may
send; its tasks end in silence and leave a line that nobody reads; its end raises whatever the transport raises, and
waits for peers that are gone; `asyncio.wait_for` swallows cancellations.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import ConnectionClosedError, Error, ProtocolError, SlowConsumerError
from nats.protocol.parser import AWAITING_CONTROL_LINE, AWAITING_MSG_PAYLOAD, Parser

from messaging.bus.library_calls import normalized_errors
from messaging.errors import Unavailable

log = logging.getLogger(__name__)

CLOSING = 5.0  # seconds
ANSWER_SECONDS = 5.0  # seconds that a server has to answer
CONNECTING = 3
PING_SECONDS = 5  # the library's default notices a half-open line only after minutes
MAX_LINE_BYTES = 1024 * 1024  # bytes of a control line; INFO names every server of a cluster
TROUBLE = (OSError, TimeoutError, Error)
"""All that a connection raises: it may be broken, and another one is to be made."""


class Unreadable(dict[str, str]):
    """Headers that could not be read: empty."""


def fault_of(message: Msg) -> str | None:
    """What about a message can't be read, in words; it came all the same, so that it can be buried."""
    if isinstance(message.headers, Unreadable):
        return "its headers are none"
    try:
        (message.subject + (message.reply or "")).encode()
    except UnicodeEncodeError:
        return "its subject is no UTF-8"
    return None


def has_jetstream(client: Client) -> bool:
    """Whether the server said, in its INFO, that it has JetStream; this account may still have none."""
    return bool(client._server_info.get("jetstream"))


def shown(servers: Sequence[str]) -> str:
    """Servers as they may be logged: without what stands before an @."""
    return ", ".join(f"{urlsplit(each).hostname}:{urlsplit(each).port or 4222}" for each in servers)


def words(exc: BaseException) -> str:
    return str(exc) or type(exc).__name__


async def connect(
    servers: Sequence[str], name: str, *,
    closed: Callable[[], None] | None = None, overrun: Callable[[], None] | None = None,
) -> Client:  # fmt: skip
    """A new line, which breaks once and for all. Cancelling is safe.

    Args:
        closed: called at its end, in the synchronous step in which the last message may have come.
        overrun: called for each message that a subscription had no room for.

    Raises:
        Unavailable: no server of these takes it.
    """
    failures: deque[Exception] = deque(maxlen=1)

    async def failed(exc: Exception) -> None:
        if isinstance(exc, SlowConsumerError) and overrun is not None:
            overrun()
            return
        failures.append(exc)
        log.debug("nats: %s", words(exc))

    client = _Connection(closed)
    try:
        async with asyncio.timeout(CONNECTING * 2):
            await client.connect(
                list(servers), name=f"recado {name}", allow_reconnect=False, max_reconnect_attempts=1,
                reconnect_time_wait=0, connect_timeout=CONNECTING, ping_interval=PING_SECONDS,
                max_outstanding_pings=1, error_cb=failed,
            )  # fmt: skip
    except Exception as exc:  # of the library's, whatever it is
        await let_go(client)
        why = words(failures[-1] if failures else exc)
        raise Unavailable(f"NATS at {shown(servers)} can't be reached: {why}") from None
    except asyncio.CancelledError:
        await let_go(client)
        raise
    return client


async def let_go(client: Client) -> None:
    """End a line, also one whose other end hangs or is gone: at once, without what it has not sent. Never raises."""
    await client.close()


async def confirm(client: Client) -> None:
    """Return once the server has processed all that was published and subscribed to on this line.

    `flush` writes its PING at once, past what the library still holds back: only where nothing is held back does the
    PONG speak of it.

    Raises:
        TROUBLE: it is not known whether it has.
    """
    await asyncio.sleep(0)
    while client.pending_data_size:
        await ping(client)
    await ping(client)


async def ping(client: Client) -> None:
    """Return once the server has answered. Raises TROUBLE."""
    await client.flush(int(ANSWER_SECONDS))
    if not client.is_connected:  # then `flush` returns without having asked
        raise ConnectionClosedError


class _Connection(Client):
    """A client of the library whose reading is lenient, whose end is quiet, and which is cancelled where it should."""

    def __init__(self, closed: Callable[[], None] | None) -> None:
        super().__init__()
        self._ps = _Reader(self)
        self._tell_end = closed

    async def connect(self, *args: Any, **options: Any) -> None:
        with normalized_errors(ConnectionClosedError):
            await super().connect(*args, **options)

    async def publish(self, *args: Any, **options: Any) -> None:
        with normalized_errors(ConnectionClosedError):
            await super().publish(*args, **options)

    async def subscribe(self, *args: Any, **options: Any) -> Subscription:
        with normalized_errors(ConnectionClosedError):
            return await super().subscribe(*args, **options)

    async def request(self, *args: Any, **options: Any) -> Msg:
        with normalized_errors(ConnectionClosedError):
            return await super().request(*args, **options)

    async def flush(self, *args: Any, **options: Any) -> None:
        with normalized_errors(ConnectionClosedError):
            await super().flush(*args, **options)

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        """By itself the library would first write what is unsent and wait for the peer to read it; and where that
        fails, or is cancelled, leave the tasks of its subscriptions behind and tell nobody."""
        for subscription in self._subs.values():
            subscription._stop_processing()
        self._pending.clear()
        self._pending_data_size = 0
        writer: Any = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()
        if self._tell_end is not None:
            self._tell_end()
        try:
            async with asyncio.timeout(CLOSING):  # of what it still waits for nothing is left to us
                await super()._close(status, do_cbs)
        except Exception as exc:
            log.debug("nats, at its end: %s", words(exc))

    async def _read_loop(self) -> None:
        await self._to_the_end(super()._read_loop())

    async def _flusher(self) -> None:
        await self._to_the_end(super()._flusher())

    async def _ping_interval(self) -> None:
        await self._to_the_end(super()._ping_interval())

    async def _to_the_end(self, work: Awaitable[None]) -> None:
        """At what they don't expect the library's tasks end, and leave a line that nobody reads, writes or pings."""
        try:
            await work
        except Exception as exc:
            log.debug("nats: %s", words(exc))
        await self._process_op_err(ConnectionClosedError())  # nothing, where it is closed already

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """To the library ``tls://`` is a wish: it does as INFO says, which whoever stands between may have written."""
        assert self._current_server is not None
        if self._current_server.uri.scheme == "tls":
            info["tls_required"] = True
        await super()._process_info(info, initial_connection)

    async def _process_headers(self, headers: Any) -> dict[str, str] | None:
        try:
            return await super()._process_headers(headers)
        except (ValueError, IndexError):
            return Unreadable()

    def _build_message(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: Any) -> Msg:
        return self.msg_class(
            subject=subject.decode(errors="surrogateescape"), reply=reply.decode(errors="surrogateescape"), data=data,
            headers=headers, _client=self, _sid=sid,
        )  # fmt: skip


class _Reader(Parser):
    """The server's protocol, lenient where peers choose the bytes: a subject may have all but blank, tab and newline.

    The library's own reader takes other white space in it for the end, and the next word for a number.
    """

    async def parse(self, data: bytes = b"") -> None:
        self.buf.extend(data)
        while await (self._message() if self.state == AWAITING_MSG_PAYLOAD else self._line()):
            pass

    async def _message(self) -> bool:
        """Give out the message whose line has come. False where not all of it is here."""
        if len(self.buf) < self.needed + 2:
            return False
        block = bytes(self.buf[: self.needed])
        del self.buf[: self.needed + 2]
        self.state = AWAITING_CONTROL_LINE
        headers = block[: self.header_needed] or None
        await self.nc._process_msg(**self.msg_arg, data=block[self.header_needed :], headers=headers)
        return True

    async def _line(self) -> bool:
        """Do what a control line says. False where not all of it is here.

        Raises:
            ProtocolError: it says nothing that is known.
        """
        end = self.buf.find(b"\r\n")
        if end < 0:
            if len(self.buf) > MAX_LINE_BYTES:
                raise ProtocolError
            return False
        verb, _, rest = bytes(self.buf[:end]).partition(b" ")
        del self.buf[: end + 2]
        match verb:
            case b"MSG" | b"HMSG":
                self._expect(rest.split(b" "), has_headers=verb == b"HMSG")
            case b"PING":
                await self.nc._process_ping()
            case b"PONG":
                await self.nc._process_pong()
            case b"-ERR":
                await self.nc._process_err(rest.decode(errors="replace").lower())
            case b"INFO":
                await self.nc._process_info(msgspec.json.decode(rest))
            case b"+OK":
                pass
            case _:
                raise ProtocolError
        return True

    def _expect(self, parts: list[bytes], *, has_headers: bool) -> None:
        try:
            self.needed = int(parts.pop())
            self.header_needed = int(parts.pop()) if has_headers else 0
            subject, sid, *reply = parts
            self.msg_arg = {"subject": subject, "sid": int(sid), "reply": reply[0] if reply else b""}
        except (ValueError, IndexError):
            raise ProtocolError from None
        self.state = AWAITING_MSG_PAYLOAD
