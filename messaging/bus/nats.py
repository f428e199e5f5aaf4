"""The bus over core NATS: at most once, which is all that a notice needs. A cluster when one server is not enough."""

from __future__ import annotations

from nats.aio.client import Client
from nats.aio.msg import Msg

from messaging.bus.nats_connection import TROUBLE, confirm, connect, let_go, words
from messaging.bus.remote import HEARTBEAT_SECONDS, SILENCE_SECONDS, RemoteBus
from messaging.errors import Unavailable
from messaging.retrying import retrying

GATHER_SECONDS = 0.001
ENVELOPE = 1024  # bytes of max_payload left to the protocol
MAX_HELD_BYTES = 16 * 1024 * 1024  # bytes that have arrived and were not yet looked at; what finds no room was missed


class NatsBus(RemoteBus):
    """Notices on one subject."""

    def __init__(
        self, servers: list[str], subject: str, *,
        heartbeat: float = HEARTBEAT_SECONDS, silence: float = SILENCE_SECONDS,
    ) -> None:  # fmt: skip
        """``subject`` keeps other installations on the same servers from hearing these parcels, which they refuse."""
        super().__init__(heartbeat=heartbeat, silence=silence)
        self._servers = servers
        self._subject = subject

    async def run(self) -> None:
        """Keep the line up until cancelled."""
        await retrying(self._connected, "the bus over NATS")

    async def _connected(self) -> None:
        """One connection, from connecting to its failure: we reconnect ourselves, so that a resync follows each."""
        client = await connect(self._servers, "bus")
        try:
            await client.subscribe(self._subject, cb=self._received, pending_bytes_limit=MAX_HELD_BYTES)
            await confirm(client)
            self.line_up()
            await self._send(client)
        except TROUBLE as exc:
            raise Unavailable(f"the line to NATS is lost: {words(exc)}") from exc
        finally:
            await let_go(client)

    async def _send(self, client: Client) -> None:
        # max_payload is what the server's INFO says.
        async for parcel in self.departures(GATHER_SECONDS, lambda: client.max_payload - ENVELOPE):
            await client.publish(self._subject, parcel)
            self.check_line()

    async def _received(self, message: Msg) -> None:
        self.arrived(message.data)
