"""The opening handshake, decided: where a token may stand, which options a client sets, how it is refused. Pure."""

from __future__ import annotations

import http
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs

import msgspec
from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from messaging.auth.access import Arrival, bearer
from messaging.errors import BadRequest, NoCredential, RecadoError
from messaging.model import is_name
from messaging.observability.sparse_log import Sparse

BEARER = "bearer"


@dataclass(frozen=True, slots=True)
class ConnectOptions:
    """What the query of the address asks for."""

    device: str  # '' unless the connection names one
    explicit: bool  # acks move cursors, pongs do not
    heartbeat: bool  # a JSON heartbeat every 30 s
    epoch: bool = False  # to be told which log the seqs of a topic belong to


def connect_options(query: str) -> ConnectOptions:
    """Raises BadRequest for a device whose name is outside the rule."""
    values = {name: given[0] for name, given in parse_qs(query).items()}
    device = values.get("device", "")
    if device and not is_name(device):
        raise BadRequest("device: this is not a name that a device may have.")
    return ConnectOptions(
        device, values.get("ack") == "explicit", values.get("heartbeat") == "1", values.get("epoch") == "1"
    )


def token_of(path: str, headers: Headers) -> str:
    """The token, from the path, else the subprotocols, else the Authorization header. Raises Unauthorized."""
    if len(path) > 1:
        return path[1:]
    offered = [item.strip() for line in headers.get_all("Sec-WebSocket-Protocol") for item in line.split(",")]
    if offered[:1] == [BEARER] and len(offered) > 1:
        return offered[1]  # a browser has no other way, and its Authorization may be Basic, for a proxy
    if token := bearer(headers.get_all("Authorization")):
        return token
    raise NoCredential("A token is needed: in the path, as Authorization: Bearer, or as subprotocols bearer, <token>.")


def choose_subprotocol(connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Only ``bearer`` is ever echoed: a token offered beside it does not come back."""
    return Subprotocol(BEARER) if BEARER in offered else None


def arrival_of(peer: str, headers: Headers, *, is_old: bool = False) -> Arrival:
    return Arrival(
        is_old=is_old,
        peer=peer,
        names=frozenset(name.lower() for name in headers),
        host=headers.get_all("Host")[0] if "Host" in headers else "",
        credentials=tuple(headers.get_all("Authorization")),
        forwarded=tuple(headers.get_all("X-Forwarded-For")),
    )


def refused(error: RecadoError) -> Response:
    """An answer to a handshake that is not let in."""
    body = msgspec.json.encode({"code": error.code, "message": error.message})
    response = answer(error.status, body)
    if error.retryable:
        response.headers["Retry-After"] = "1"
    return response


def answer(status: int, body: bytes, content_type: str = "application/json") -> Response:
    headers = Headers({"Content-Type": content_type, "Content-Length": str(len(body)), "Connection": "close"})
    return Response(status, http.HTTPStatus(status).phrase, headers, body)


_WORDS = {
    400: ("bad_request", "This is no handshake of a WebSocket."),
    405: ("method_not_allowed", "A WebSocket is opened with GET."),
    426: ("upgrade_required", "This is the address of a WebSocket: ask for an upgrade."),
}


def json_refusal(_: ServerConnection, request: Request, response: Response) -> Response | None:
    """What the library answers by itself, as all else is answered; to HEAD without a body (RFC 9110, 9.3.2)."""
    shown = response
    if response.headers.get("Content-Type") == "text/plain; charset=utf-8":  # with no version, as metrics have
        code, message = _WORDS.get(response.status_code, ("internal", "The handshake failed."))
        shown = answer(response.status_code, msgspec.json.encode({"code": code, "message": message}))
        for name in ("Allow", "Upgrade"):
            if name in response.headers:
                shown.headers[name] = response.headers[name]
    if request.method == "HEAD":
        shown.body = b""
    return None if shown is response else shown


def quiet_logger() -> logging.Logger:
    """The library's logger, without what could show a token: request lines, at DEBUG and in failed handshakes."""
    logger = logging.getLogger("recado.ws")
    logger.setLevel(max(logger.getEffectiveLevel(), logging.WARNING))
    logger.filters = [_hide_requests, Sparse()]
    return logger


def _hide_requests(record: logging.LogRecord) -> bool:
    if record.getMessage() == "opening handshake failed":
        record.exc_info = None
        record.levelno, record.levelname = logging.INFO, "INFO"
    return True
