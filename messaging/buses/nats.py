"""The bus over core NATS: at most once, which is all that a notice needs. A cluster when one server is not enough."""

from __future__ import annotations

import asyncio
import logging

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error

from messaging.buses.exchange import Exchange
from messaging.retrying import backoff_delays

log = logging.getLogger(__name__)

GATHER_SECONDS = 0.001
PING_SECONDS = 5  # the library's default notices a half-open line only after minutes
ENVELOPE = 1024  # bytes of max_payload left to the protocol


class NatsBus(Exchange):
    """Notices on one subject."""

    def __init__(self, servers: list[str], subject: str) -> None:
        """``subject`` tells this installation from others on the same servers."""
        super().__init__()
        self._servers = servers
        self._subject = subject

    async def run(self) -> None:
        """Keep the line up until cancelled."""
        for pause in backoff_delays():
            try:
                await self._connected()
            except (OSError, TimeoutError, Error) as exc:
                log.warning("the bus has lost its line to NATS, trying again: %s", str(exc) or type(exc).__name__)
            await asyncio.sleep(pause)

    async def _connected(self) -> None:
        """One connection, from connecting to its failure: we reconnect ourselves, so that a resync follows each."""
        client = await nats.connect(
            self._servers, allow_reconnect=False, max_reconnect_attempts=1, connect_timeout=3,
            ping_interval=PING_SECONDS, max_outstanding_pings=1, error_cb=_logged, name=f"recado {self.name}",
        )  # fmt: skip
        try:
            await client.subscribe(self._subject, cb=self._received)
            await client.flush(timeout=3)
            self.line_up()
            await self._send(client)
        finally:
            await client.close()

    async def _send(self, client: Client) -> None:
        # max_payload is what the server's INFO says.
        async for parcel in self.departures(GATHER_SECONDS, lambda: client.max_payload - ENVELOPE):
            await client.publish(self._subject, parcel)
            self.check_line()

    async def _received(self, message: Msg) -> None:
        self.arrived(message.data)


async def _logged(exc: Exception) -> None:
    log.debug("nats: %s", exc)
