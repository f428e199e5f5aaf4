"""The application: the table of routes behind its middlewares (metrics, errors as JSON, who may ask)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from api.auth import arrival_of, caller_of, check_origin, decide, is_strangers
from api.connection import connection_of
from api.endpoint import Endpoint
from api.observing import observing
from api.problems import answer_problems
from api.route import Domain, Requester, Route
from api.routes import all_routes
from api.routes.about import ws_url_for
from api.routes.stream import events
from api.streaming import Streams
from messaging.auth.access import Rules, WrongCredentials
from messaging.auth.tokens import Tokens
from messaging.errors import BadRequest, Forbidden, Misdirected, Unauthorized
from messaging.limits.strangers import TooManyStrangers
from messaging.node import Node
from messaging.readers.pages import Pages
from messaging.settings.addresses import client_address
from messaging.settings.settings import Settings, origin_of

ROUTES: web.AppKey[list[Route]] = web.AppKey("routes", list)

_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_POLICY = (
    "default-src 'self'; connect-src 'self' {ws}; object-src 'none'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Action",
    "Access-Control-Max-Age": "600",
}


def make_app(
    node: Node, tokens: Tokens, settings: Settings, trouble: Callable[[], str] = lambda: "",
    wrong: WrongCredentials | None = None,
) -> web.Application:  # fmt: skip
    """The API over this process's share of the domain. ``trouble``: see `Domain`."""
    pages = Pages(node.store, lambda topic, page: events(topic, page, node.store.epochs.of(topic)))
    domain = Domain(node, tokens, settings, Streams(), pages, trouble)
    rules = Rules.of(settings)
    table, requester = all_routes(), web.RequestKey("requester", Requester)
    guard = guarding(rules, wrong or WrongCredentials(node.metrics.reached), domain, table, requester)
    app = web.Application(middlewares=[observing(node.metrics.registry), answer_problems, guard])
    app[ROUTES] = table
    app.on_response_prepare.append(heading(rules, settings))
    app.on_shutdown.append(domain.streams.close)

    async def answer_polls(_: web.Application) -> None:  # else the server's end waits for platforms that wait for news
        node.pulling.close()

    app.on_shutdown.append(answer_polls)
    for route in table:
        handle = Endpoint(route, domain, requester).handle
        if route.method == "GET":
            app.router.add_get(route.path, handle)  # and HEAD
        else:
            app.router.add_route(route.method, route.path, handle)
    return app


def guarding(
    rules: Rules, wrong: WrongCredentials, domain: Domain, table: Iterable[Route], key: web.RequestKey[Requester]
) -> Middleware:
    """The middleware that lets nobody in who may not, before anything of the body is read; ``key``: for who asks."""
    routes = {(route.method, route.path): route for route in table}

    limits = domain.node.actions.limits

    async def let_in(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        method = "GET" if request.method == "HEAD" else request.method
        route = routes.get((method, resource.canonical)) if resource is not None else None
        access, arrival = route.access if route else "visitor", arrival_of(request)
        address = client_address(arrival.peer, arrival.forwarded, rules.proxies)
        reads_proof, is_counted = route is not None and route.reads_proof, False
        loop = asyncio.get_running_loop()
        try:
            await limits.turns.begin()
            check_origin(rules, access, request.headers)
            credential = decide(rules, access, arrival, legacy=route is not None and route.legacy)
            again = partial(caller_of, credential, domain)
            caller = await again()
            if is_strangers(rules, access, arrival) and not reads_proof:
                limits.strangers.check(address, loop.time())
            is_counted = not reads_proof or caller.is_backend or credential.is_legacy
            limits.check_request(caller, loop.time())
            if is_preflight(request):
                return web.Response(status=204, headers=_PREFLIGHT)
            if access == "backend" and not caller.is_backend:
                raise Forbidden("This needs the API key.")
            request[key] = Requester(caller, again, credential.is_legacy)
            return await handler(request)
        except (Unauthorized, Forbidden, Misdirected, BadRequest) as exc:
            if not is_counted:
                limits.strangers.check(address, loop.time())
            raise wrong.answer_to(exc, address, time.monotonic()) from None

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await let_in(request, handler)
        except TooManyStrangers as exc:
            await connection_of(request).hold_back(exc.wait)
            raise

    return guard


def is_preflight(request: web.Request) -> bool:
    """Whether a browser asks what a page may ask (the Fetch standard, 4.8)."""
    headers = request.headers
    return request.method == "OPTIONS" and "Origin" in headers and "Access-Control-Request-Method" in headers


def heading(rules: Rules, settings: Settings) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """What every answer carries, errors included."""

    async def head(request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(_ALWAYS)
        ws = origin_of(ws_url_for(settings, request.headers.get("Host", "")))  # another port: not 'self'
        response.headers["Content-Security-Policy"] = _POLICY.format(ws=ws)
        response.headers["Vary"] = "Origin"
        origin = request.headers.get("Origin")
        if origin is not None and origin_of(origin) in rules.origins:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = "Idempotent-Replayed, Retry-After"

    return head
