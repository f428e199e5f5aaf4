"""To NATS: by JetStream where a stream holds the subject, by core NATS elsewhere; never on a guess which it is.

Where nobody answers for a subject, the library's JetStream publish only times out, or takes the answer of a plain
subscriber for a failure: so the API is asked first.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
from nats.aio.client import Client
from nats.errors import Error, MaxPayloadError, NoRespondersError

from bridges.config import NatsOut
from bridges.envelope import payload_of
from bridges.nats.connection import ApiError, NoJetStream, streams_of
from bridges.outlet import OutgoingMessage, Undeliverable, Unreachable
from bridges.subjects import subject_of
from messaging.bus.nats_connection import ANSWER_SECONDS, TROUBLE, confirm, connect, let_go, words
from messaging.errors import Unavailable

log = logging.getLogger(__name__)

ASK_AGAIN = 5.0  # seconds after which a subject without a stream may have got one
SUBJECTS_KNOWN = 10_000
ORIGIN = "Recado-Origin"
_TOO_LARGE = 10054  # of the API's errors: over the stream's own limit


class Ack(msgspec.Struct, frozen=True):
    """A stream's answer. ``duplicate``: it had this id already, which is as good."""

    stream: str = ""
    duplicate: bool = False
    error: ApiError | None = None


@dataclass(frozen=True, slots=True)
class Known:
    has_stream: bool
    at: float


class NatsOutlet:
    """Publishes one message at a time, each confirmed before the next."""

    def __init__(
        self, bridge: NatsOut, servers: Sequence[str], origin: Callable[[], Awaitable[str]],
        is_read: Callable[[str], bool], skipped: Callable[[], None], ask_again: float = ASK_AGAIN,
    ) -> None:  # fmt: skip
        """``origin``: of this installation; ``is_read``: whether a bridge of ours reads a subject there."""
        self._bridge = bridge
        self._servers = servers
        self._origin = origin
        self._is_read = is_read
        self._skipped = skipped
        self._ask_again = ask_again
        self._client: Client | None = None
        self._known: dict[str, Known] = {}
        self._once_held: set[str] = set()  # subjects that had a stream, on this line or an earlier one
        self._warned = False

    async def send(self, outgoing: OutgoingMessage) -> None:
        """See `Outlet`. What would come back by a bridge of ours is left out."""
        subject = checked_subject(self._bridge.subject, outgoing.topic)
        if self._is_read(subject):
            self._leave_out(subject)
            return
        payload = payload_of(outgoing, self._bridge.payload)
        client = await self._line()
        headers = headers_of(outgoing, await self._origin())
        if (size := weight(headers, payload)) > client.max_payload:
            raise Undeliverable(f"it has {size} bytes with its headers; this NATS takes {client.max_payload}")
        try:
            await self._publish(client, subject, payload, headers)
        except MaxPayloadError:
            raise Undeliverable("it is larger than this NATS takes") from None
        except TROUBLE as exc:
            await self.close()
            raise Unreachable(f"NATS has not confirmed {subject}: {words(exc)}") from None

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await let_go(client)

    def _leave_out(self, subject: str) -> None:
        self._skipped()
        if not self._warned:
            self._warned = True
            log.warning("bridge %s leaves out %s: a bridge reads that subject", self._bridge.name, subject)

    async def _line(self) -> Client:
        if self._client is None or not self._client.is_connected:
            await self.close()
            self._known.clear()
            try:
                self._client = await connect(self._servers, self._bridge.name)
            except Unavailable as exc:
                raise Unreachable(str(exc)) from None
        return self._client

    async def _publish(self, client: Client, subject: str, payload: bytes, headers: dict[str, str]) -> None:
        if await self._has_stream(client, subject):
            await self._to_stream(client, subject, payload, headers)
        else:
            await client.publish(subject, payload, headers=headers)
            await confirm(client)

    async def _to_stream(self, client: Client, subject: str, payload: bytes, headers: dict[str, str]) -> None:
        try:
            answer = await client.request(subject, payload, timeout=ANSWER_SECONDS, headers=headers)
            ack = msgspec.json.decode(answer.data, type=Ack)
        except NoRespondersError:
            self._known.pop(subject, None)
            raise Unreachable(f"the stream that held {subject} has gone") from None
        except msgspec.MsgspecError:
            raise Error("the answer is not a stream's: a subscriber replies on this subject") from None
        if ack.error is not None:
            raise refusal(ack.error)

    async def _has_stream(self, client: Client, subject: str) -> bool:
        """Raises Unreachable where it should have one."""
        known, now = self._known.get(subject), time.monotonic()
        if known is None or not (known.has_stream or now - known.at < self._ask_again):
            known = Known(await self._ask(client, subject), now)
            if len(self._known) >= SUBJECTS_KNOWN:
                self._known.clear()
            self._known[subject] = known
        if known.has_stream:
            self._once_held.add(subject)
        elif self._bridge.jetstream == "always":
            raise Unreachable(f"no stream holds {subject}, and this bridge publishes to streams alone")
        return known.has_stream

    async def _ask(self, client: Client, subject: str) -> bool:
        try:
            return bool(await streams_of(client, subject))
        except NoJetStream:
            if subject in self._once_held:  # core NATS would take it, and the stream would never have it
                raise Unreachable(f"JetStream does not answer, and a stream held {subject}") from None
            return False


def checked_subject(template: str, topic: str) -> str:
    """Raises Undeliverable."""
    try:
        return subject_of(template, topic)
    except ValueError as exc:
        raise Undeliverable(str(exc)) from None


def headers_of(outgoing: OutgoingMessage, origin: str) -> dict[str, str]:
    return {
        "Nats-Msg-Id": outgoing.id,
        "Recado-Topic": outgoing.topic,
        "Recado-Seq": str(outgoing.message.seq),
        "Recado-Sender": outgoing.message.sender,
        ORIGIN: origin,
    }


def weight(headers: Mapping[str, str], payload: bytes) -> int:
    """What the server measures against its max_payload: the block of headers, and the payload."""
    lines = sum(len(f"{name}: {value}\r\n".encode()) for name, value in headers.items())
    return len("NATS/1.0\r\n\r\n") + lines + len(payload)


def refusal(error: ApiError) -> Exception:
    """What a stream's no means for a lane."""
    text = f"the stream refuses it: {error.description}"
    return Undeliverable(text) if error.err_code == _TOO_LARGE else Unreachable(text)
