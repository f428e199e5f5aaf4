"""What those who watch the server ask."""

from __future__ import annotations

import asyncio

import msgspec
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from api.route import Answer, Request, Route
from messaging.errors import Unavailable

ANSWER_SECONDS = 2.0  # seconds


class Health(msgspec.Struct, frozen=True):
    status: str


def routes() -> list[Route]:
    group = "Health"
    return [
        Route(method="GET", path="/healthz", handler=alive, group=group, access="anyone",
              summary="Whether the process lives.", answers={200: Health}),
        Route(method="GET", path="/readyz", handler=ready, group=group, access="anyone",
              summary="Whether it can serve: whether the database answers within two seconds, and every worker serves.",
              answers={200: Health}, errors=(Unavailable,)),
        Route(method="GET", path="/metrics", handler=metrics, group=group, access="metrics",
              summary="Counters for Prometheus, for METRICS_TOKEN or the API key.",
              answers={200: str}, media=CONTENT_TYPE_LATEST),
    ]  # fmt: skip


async def alive(request: Request[None, None]) -> Answer:
    return Answer(200, Health("ok"))


async def ready(request: Request[None, None]) -> Answer:
    if trouble := request.domain.trouble():
        raise Unavailable(trouble)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await request.domain.node.store.ping()
    except TimeoutError:
        raise Unavailable("The database does not answer.") from None
    return Answer(200, Health("ok"))


async def metrics(request: Request[None, None]) -> Answer:
    return Answer(200, request.domain.node.metrics.text())
