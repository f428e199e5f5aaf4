"""One table says what there is: every path is a `Route`, from which the application and its description are made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from api.shapes import Path
from messaging.actions import Actions, Caller
from messaging.errors import BadRequest, RecadoError
from messaging.model import NAME_RULE, is_name
from messaging.node import Node
from messaging.settings import Settings
from messaging.tokens import Tokens

Q = TypeVar("Q")
B = TypeVar("B")

# anyone: probes; nothing is checked but the Origin. visitor: pages without data. caller: a user's token or a backend.
# backend: the API key, or anyone in open mode. inside: a backend, or a peer of OPEN_NETS without any key.
Access = Literal["anyone", "visitor", "caller", "backend", "inside"]


@dataclass(frozen=True, slots=True)
class Domain:
    """What handlers work with."""

    node: Node
    tokens: Tokens
    settings: Settings


@dataclass(frozen=True, slots=True)
class Asked(Generic[Q, B]):
    """A request that was decoded and whose caller is known."""

    domain: Domain
    caller: Caller
    path: Path
    query: Q
    body: B
    parameters: Mapping[str, str]  # all of the query, as it came
    headers: Mapping[str, str]

    @property
    def actions(self) -> Actions:
        return self.domain.node.actions

    @property
    def key(self) -> str | None:
        """The Idempotency-Key, if there is one. Raises BadRequest for what is no name."""
        key = self.headers.get("Idempotency-Key")
        if key is not None and not is_name(key):
            raise BadRequest(f"Idempotency-Key is no name: {NAME_RULE}.")
        return key


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: ``body`` is of the type that the route gives for the status, or bytes as they are."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Asked[Any, Any]], Awaitable[Answer]]


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
    query: Any = None
    body: Any = None
    body_limit: int | None = None  # bytes; None: one message and what is around it
    headers: tuple[str, ...] = ()  # of the request, beside the usual ones
    errors: tuple[type[RecadoError], ...] = ()  # beside those that its access and its form bring along
    media: str = "application/json"  # of the answer
    example: Any = None  # of the body
