"""One connection of the client: the library's, with what the client adds: who it is, and whether it still hears."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from typing import Any
from urllib.parse import urlencode, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.datastructures import Headers

MAX_FRAME = 1024 * 1024  # bytes; a thousand topics with long names are a third of that
OPEN_SECONDS = 10.0
CLOSE_SECONDS = 5.0


class Connection(ClientConnection):
    """A connection that knows when it last heard anything: a frame, a part of one, a ping."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.heard_at = time.monotonic()

    def data_received(self, data: bytes) -> None:
        self.heard_at = time.monotonic()
        super().data_received(data)


def dial(url: str, device: str, token: str) -> connect:
    """A connection in the making. The token goes as a header: no log of a proxy has it in its path.

    The client confirms by acks alone (`ack=explicit`), so that what it has in memory only is never confirmed. The
    server pings; the library's own pings are not needed. A proxy of the system is used, but not to this machine itself.
    """
    query = urlencode({"ack": "explicit", "epoch": "1", **({"device": device} if device else {})})
    host = urlsplit(url).hostname or ""
    return connect(
        f"{url}/?{query}", additional_headers={"Authorization": f"Bearer {token}"},
        create_connection=Connection, compression=None, proxy=None if is_loopback(host) else True,
        ping_interval=None, max_size=MAX_FRAME, open_timeout=OPEN_SECONDS, close_timeout=CLOSE_SECONDS,
        logger=_quiet_logger(),
    )  # fmt: skip


def is_loopback(host: str) -> bool:
    """Whether it is this machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def retry_after(headers: Headers) -> float:
    """Seconds that an HTTP answer asks to wait (RFC 9110, 10.2.3), at most a minute; 0 where it does not say."""
    text = next(iter(headers.get_all("Retry-After")), "")
    return min(60.0, float(text)) if text.isascii() and text.isdigit() else 0.0


async def until_silent(line: Connection, seconds: float, cut: asyncio.Event, deaf: asyncio.Event) -> None:
    """Return when ``cut`` is set, or nothing came for ``seconds``. While ``deaf`` is set it is we who do not read."""
    while not cut.is_set():
        if deaf.is_set():
            line.heard_at = time.monotonic()
        left = line.heard_at + seconds - time.monotonic()
        if left <= 0:
            return
        try:
            async with asyncio.timeout(left):
                await cut.wait()
        except TimeoutError:
            continue


def _quiet_logger() -> logging.Logger:
    logger = logging.getLogger("recado.line")
    logger.setLevel(max(logger.getEffectiveLevel(), logging.INFO))  # at DEBUG the library shows headers
    return logger
