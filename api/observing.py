"""Counts requests for Prometheus, by route and status: never by path, which has names in it."""

from __future__ import annotations

import time

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import CollectorRegistry, Histogram

from api.problems import template

_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"})


def observing(registry: CollectorRegistry) -> Middleware:
    """The middleware that fills ``registry``."""
    seconds = Histogram(
        "recado_http_request_seconds", "From a request's headers to its answer",
        ["method", "route", "status"], registry=registry, buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2, 10),
    )  # fmt: skip

    @web.middleware
    async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        response = await handler(request)
        method = request.method if request.method in _METHODS else "other"
        seconds.labels(method, template(request), response.status).observe(time.perf_counter() - started)
        return response

    return observe
