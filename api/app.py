"""The application: the table of routes behind its three rooms (counting, errors, the guard)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from api.auth import Rules, caller_of, decide
from api.endpoint import Endpoint
from api.observing import observing
from api.problems import answer_problems
from api.route import Access, Domain, Route
from api.routes import all_routes
from messaging.actions import Caller
from messaging.errors import Forbidden
from messaging.node import Node
from messaging.settings import Settings, origin_of
from messaging.tokens import Tokens

ROUTES: web.AppKey[list[Route]] = web.AppKey("routes", list)

_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'",
}
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key, Action",
    "Access-Control-Max-Age": "600",
}


def make_app(node: Node, tokens: Tokens, settings: Settings) -> web.Application:
    """The API over this process's share of the domain."""
    domain = Domain(node, tokens, settings)
    rules = Rules.of(settings)
    table, caller = all_routes(), web.RequestKey("caller", Caller)
    app = web.Application(
        middlewares=[observing(node.metrics.registry), answer_problems, guarding(rules, domain, table, caller)],
    )
    app[ROUTES] = table
    app.on_response_prepare.append(heading(rules))
    for route in table:
        handle = Endpoint(route, domain, caller).handle
        if route.method == "GET":
            app.router.add_get(route.path, handle)  # and HEAD
        else:
            app.router.add_route(route.method, route.path, handle)
    return app


def guarding(rules: Rules, domain: Domain, table: Iterable[Route], key: web.RequestKey[Caller]) -> Middleware:
    """The middleware that lets nobody in who may not, before anything of the body is read; ``key``: for who asks."""
    levels: dict[tuple[str, str], Access] = {(route.method, route.path): route.access for route in table}

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        method = "GET" if request.method == "HEAD" else request.method
        access = levels.get((method, resource.canonical), "visitor") if resource is not None else "visitor"
        caller = await caller_of(decide(rules, access, request.headers, request.remote), domain)
        if is_preflight(request):
            return web.Response(status=204, headers=_PREFLIGHT)
        if access in ("backend", "inside") and not caller.is_backend:
            raise Forbidden("This needs the API key.")
        request[key] = caller
        return await handler(request)

    return guard


def is_preflight(request: web.Request) -> bool:
    """Whether a browser asks what a page may ask (the Fetch standard, 4.8)."""
    headers = request.headers
    return request.method == "OPTIONS" and "Origin" in headers and "Access-Control-Request-Method" in headers


def heading(rules: Rules) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """What every answer carries, errors included."""

    async def head(request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(_ALWAYS)
        response.headers["Vary"] = "Origin"
        origin = request.headers.get("Origin")
        if origin is not None and origin_of(origin) in rules.origins:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = "Idempotent-Replayed, Retry-After"

    return head
