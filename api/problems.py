"""Whatever goes wrong leaves as ``{"code", "message"}`` with its status: never a trace, never a token."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType

import msgspec
from aiohttp import ClientPayloadError, web
from aiohttp.typedefs import Handler

from api.shapes import Problem
from messaging.errors import BadRequest, RecadoError

log = logging.getLogger(__name__)

_CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 417: "expectation_failed", 500: "internal"}
_TEXTS = {
    400: "This is no request that can be understood.",
    404: "There is nothing at this path. What there is stands at /docs.",
    405: "This path does not take this method.",
    413: "The body is too large.",
    417: "The only expectation that is met is 100-continue.",
    500: "Something is wrong with the server. It has been noted in its log.",
}


class TooLarge(BadRequest):
    """The body is too large."""

    code = "too_large"
    status = 413


class NotJson(BadRequest):
    """A body must be of the type application/json."""

    status = 415


class Packed(BadRequest):
    """A body is sent as it is: without a Content-Encoding."""

    status = 415


class TooSlow(BadRequest):
    """The body did not arrive in time."""

    code = "too_slow"
    status = 408


def template(request: web.Request) -> str:
    """The path as the table has it: what stands in it, a name or a token, is nobody's business."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unknown"


def problem(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    body = msgspec.json.encode(Problem(code, message))
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


def refusal(exc: RecadoError) -> web.Response:
    """The answer that says no, with what HTTP wants beside it."""
    headers = {}
    if exc.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if exc.retryable:
        headers["Retry-After"] = "1"
    response = problem(exc.status, exc.code, exc.message, headers)
    if exc.status in (408, 413):
        response.force_close()  # the rest of the body is not waited for
    return response


@web.middleware
async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The outermost room: nothing but an answer leaves it."""
    try:
        return await handler(request)
    except RecadoError as exc:
        return refusal(exc)
    except web.HTTPException as exc:
        return of_aiohttp(exc.status, exc.headers)
    except (ConnectionError, ClientPayloadError, web.RequestPayloadError):
        return refusal(BadRequest("The body did not arrive."))
    except Exception as exc:
        # Without the exception's text, which may have what the request had.
        frames = "".join(traceback.format_tb(exc.__traceback__))
        log.error("%s %s: %s\n%s", request.method, template(request), type(exc).__name__, frames)
        return of_aiohttp(500)


def of_aiohttp(status: int, headers: Mapping[str, str] = MappingProxyType({})) -> web.Response:
    """In place of aiohttp's own answer, which may show pieces of the request."""
    code = _CODES.get(status, "bad_request" if status < 500 else "unavailable")
    kept = {"Allow": headers["Allow"]} if "Allow" in headers else None
    return problem(status, code, _TEXTS.get(status, f"{HTTPStatus(status).phrase}."), kept)
