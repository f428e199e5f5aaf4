"""One table says what there is: every path is a `Route`, from which the application and its description are made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from api.shapes import Path
from api.streaming import Streams
from messaging.actions import Actions
from messaging.auth.access import bearer
from messaging.auth.tokens import Tokens
from messaging.errors import BadRequest, RecadoError, Unauthorized
from messaging.model import NAME_RULE, is_name
from messaging.node import Node
from messaging.permissions import Caller
from messaging.readers.pages import Pages
from messaging.settings.settings import Settings

Q = TypeVar("Q")
B = TypeVar("B")

# anyone: probes; nothing is checked but the Origin. visitor: pages without data, and what brings its own proof.
# caller: a user's token or a backend. backend: the API key, or anyone in open mode. platform: an integrated platform,
# by its own token, wherever that stands; or a backend. metrics: METRICS_TOKEN, or a backend.
Access = Literal["anyone", "visitor", "caller", "backend", "platform", "metrics"]


@dataclass(frozen=True, slots=True)
class Domain:
    """What handlers work with."""

    node: Node
    tokens: Tokens
    settings: Settings
    streams: Streams
    pages: Pages[bytes]  # as events
    trouble: Callable[[], str]  # why others of this installation's processes do not serve; "" where all do


@dataclass(frozen=True, slots=True)
class Requester:
    """Who asks; ``again`` finds it out anew, as a token may expire or be revoked while an answer goes on.

    It raises Unauthorized, Unavailable.
    """

    caller: Caller
    again: Callable[[], Awaitable[Caller]]
    is_legacy: bool = False  # a program of an older system, which shows nothing; see Route.legacy


@dataclass(frozen=True, slots=True)
class Request(Generic[Q, B]):
    """A request that was decoded and whose caller is known."""

    domain: Domain
    caller: Caller
    again: Callable[[], Awaitable[Caller]]  # see Requester
    is_legacy: bool
    path: Path
    query: Q
    body: B
    parameters: Mapping[str, str]  # all of the query, as it came
    headers: Mapping[str, str]

    @property
    def actions(self) -> Actions:
        return self.domain.node.actions

    @property
    def token(self) -> str:
        """What it shows as Authorization: Bearer, "" where nothing. Raises Unauthorized."""
        return bearer([line] if (line := self.headers.get("Authorization")) else [])

    @property
    def key(self) -> str | None:
        """The Idempotency-Key, if there is one. Raises BadRequest for what is no name."""
        key = self.headers.get("Idempotency-Key")
        if key is not None and not is_name(key):
            raise BadRequest(f"Idempotency-Key is no name: {NAME_RULE}.")
        return key


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: ``body`` is of the type that the route gives for the status, or bytes as they are; or a `Flow`,
    then with 200."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request[Any, Any]], Awaitable[Answer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method of one path: who may ask, with what, and what comes back."""

    method: str
    path: str
    handler: Handler
    summary: str
    answers: Mapping[int, Any]  # by status, the type of the body, or types in a tuple; None: there is none
    group: str = ""  # in the description; "": not described
    access: Access = "caller"
    legacy: bool = False  # an older system's: open to its programs, in LEGACY_NETS
    query: Any = None
    body: Any = None
    undecoded: bool = False  # the handler reads the body by itself, and has an answer of its own for what is wrong
    body_limit: int | None = None  # bytes; None: one message and what is around it
    headers: tuple[str, ...] = ()  # of the request, beside the usual ones
    errors: tuple[type[RecadoError], ...] = ()  # beside those that its access and its form bring along
    media: str = "application/json"  # of the answer
    example: Any = None  # of the body

    @property
    def reads_proof(self) -> bool:
        """Whether it is the handler that finds out who asks, or whether they may."""
        return self.access == "platform" or Unauthorized in self.errors
