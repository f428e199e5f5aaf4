"""All errors that a caller can receive, and what the store raises where a statement of ours is wrong.

RecadoError
├── BadRequest            bad_request    400
│   ├── BadJson           bad_json       400
│   └── UnknownAction     unknown_action 400
├── Unauthorized          unauthorized   401
│   ├── NoCredential      unauthorized   401  where none was shown
│   ├── TokenExpired      unauthorized   401
│   └── TokenRevoked      unauthorized   401
├── Forbidden             forbidden      403
│   └── NotAMember        not_a_member   403
├── NotFound              not_found      404
│   ├── UnknownTopic      unknown_topic  404
│   └── UnknownUser       unknown_user   404
├── Conflict              conflict       409
├── Misdirected           misdirected    421
├── LimitReached          limit_reached  409
├── RateLimited           rate_limited   429  retryable
└── Unavailable           unavailable    503  retryable: what passes by itself

StatementFailed            a defect: it reaches no caller, but ends the task that meets it

The class docstring is the message where none is given; ``code`` is the same on every door.
"""

from __future__ import annotations

from typing import ClassVar


class RecadoError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)

    @property
    def message(self) -> str:
        return str(self.args[0])


class BadRequest(RecadoError):
    """The request is not of the right form."""

    code = "bad_request"
    status = 400


class BadJson(BadRequest):
    """The request is not JSON."""

    code = "bad_json"


class UnknownAction(BadRequest):
    """Unknown action received"""

    code = "unknown_action"


class Unauthorized(RecadoError):
    """The token is missing, wrong, expired or revoked. Ask for a new one."""

    code = "unauthorized"
    status = 401


class NoCredential(Unauthorized):
    """A key or a token is needed, as Authorization: Bearer."""


class TokenExpired(Unauthorized):
    """The token has expired. Ask for a new one."""


class TokenRevoked(Unauthorized):
    """The token was revoked. Ask for a new one."""


class Forbidden(RecadoError):
    """You may not do this."""

    code = "forbidden"
    status = 403


class NotAMember(Forbidden):
    """You are not a member of this topic but you can subscribe to this topic cause is public"""

    code = "not_a_member"


class NotFound(RecadoError):
    """There is nothing of this name here."""

    code = "not_found"
    status = 404


class UnknownTopic(NotFound):
    """Topic not found"""

    code = "unknown_topic"


class UnknownUser(NotFound):
    """User not found: a user is known once a token was issued for it or it connected."""

    code = "unknown_user"


class Conflict(RecadoError):
    """This is taken already."""

    code = "conflict"
    status = 409


class Misdirected(RecadoError):
    """This server is not asked by this name. Add the name to ALLOWED_HOSTS, or set AUTH_MODE=key."""

    code = "misdirected"
    status = 421


class LimitReached(RecadoError):
    """This is as many as you may have."""

    code = "limit_reached"
    status = 409


class RateLimited(RecadoError):
    """Too fast: wait a moment, then go on more slowly."""

    code = "rate_limited"
    status = 429
    retryable = True


class Unavailable(RecadoError):
    """The server can't do this now. Try again; with the same id nothing is done twice."""

    code = "unavailable"
    status = 503
    retryable = True


class StatementFailed(Exception):
    """PostgreSQL refuses a statement of ours, and would refuse it again. ``sqlstate`` says why, where it gave one."""

    def __init__(self, message: str, sqlstate: str = "") -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
