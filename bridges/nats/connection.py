"""Servers of NATS by their URL, and what a bridge asks of JetStream's API."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec
from nats.aio.client import Client
from nats.errors import Error, NoRespondersError

from messaging.bus.nats_connection import ANSWER_SECONDS, has_jetstream

SCHEMES = ("nats", "tls", "ws", "wss")
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
    """The servers of a NATS URL: one or more, with commas between; one without a scheme has the first one's.

    Raises ValueError.
    """
    given = [each.strip() for each in url.split(",") if each.strip()]
    scheme = given[0].rpartition("://")[0] or "nats" if given else ""
    servers = [each if "://" in each else f"{scheme}://{each}" for each in given]
    if not all(map(is_server, servers)):  # which of them is not shown: it may have a password
        raise ValueError("a server of NATS is written nats://HOST:PORT or tls://HOST:PORT, several with commas between")
    return servers


def is_server(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


async def streams_of(client: Client, subject: str) -> list[str]:
    """The streams that hold messages of a subject or filter, by the JetStream API.

    Raises:
        NoJetStream; Error, OSError: no answer.
    """
    if not has_jetstream(client):  # asked all the same, a bystander on ">" would keep us waiting
        raise NoJetStream
    try:
        request = msgspec.json.encode({"subject": subject})
        answer = await client.request("$JS.API.STREAM.NAMES", request, timeout=ANSWER_SECONDS)
        names = msgspec.json.decode(answer.data, type=Names)
    except NoRespondersError:
        raise NoJetStream from None
    except msgspec.MsgspecError as exc:
        raise Error(f"JetStream's answer is not understood: {exc}") from None
    if names.error is not None:
        if names.error.err_code in _NO_JETSTREAM:
            raise NoJetStream
        raise Error(f"JetStream: {names.error.description}")
    return names.streams or []
