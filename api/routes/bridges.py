"""Bridges for their operator: how they fare, what they gave up on, and a second try for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated

import msgspec

from api.route import Answer, Request, Route
from api.shapes import BridgeName, Limit, Moment, Position, Seq
from messaging.errors import Conflict, Unavailable
from messaging.replay import MAX_REPLAYED, Replayed, UnknownBridge
from messaging.store.bridges import Buried, Direction, Report

MAX_PAGE = 500


class Bridge(msgspec.Struct, frozen=True):
    """`direction`: "out" of here, or "in". `lag`: messages before it, null where nobody knows, as before a bridge in.
    `oldest`: when the first of them came. `dead_letters`: what it gave up on."""

    name: str
    kind: str
    direction: Direction
    state: str
    paused: bool
    reason: str | None
    failed_attempts: int
    since: datetime
    lag: int | None
    oldest: datetime | None
    dead_letters: int


class DeadLettersQuery(msgspec.Struct, frozen=True):
    """Those of one bridge, or all; `after`: an `id`."""

    bridge: BridgeName | None = None
    after: Position = 0
    limit: Limit = 100


class DeadLetter(msgspec.Struct, frozen=True):
    """`content` is null where the message had expired before it could be sent.

    Of what came in, `came_by` is the subject or queue, and `user_source` "" where it could not be read: `content` then
    only shows what it was. `replayable`: there is all that a second try needs."""

    id: int
    bridge: str
    topic_name: str
    seq: int
    user_source: str
    content: msgspec.Raw
    sent_at: datetime | None
    reason: str
    came_by: str | None
    replayable: bool
    died_at: datetime


class ReplayRequest(msgspec.Struct, frozen=True):
    """Dead letters by their `ids`, or all that died from `since` until before `until`. `dry_run`: only count."""

    bridge: BridgeName
    ids: Annotated[list[Seq], msgspec.Meta(max_length=MAX_REPLAYED)] | None = None
    since: Moment | None = None
    until: Moment | None = None
    dry_run: bool = False


class DropRequest(msgspec.Struct, frozen=True):
    """Dead letters that nobody wants any more, by their `ids`."""

    bridge: BridgeName
    ids: Annotated[list[Seq], msgspec.Meta(min_length=1, max_length=MAX_REPLAYED)]


class Count(msgspec.Struct, frozen=True):
    count: int


class Refused(msgspec.Struct, frozen=True):
    """A dead letter that stays, and why."""

    id: int
    reason: str


class Outcome(msgspec.Struct, frozen=True):
    """`count`: how many are on their way again; `refused`: which are not."""

    count: int
    refused: list[Refused]


def routes() -> list[Route]:
    group, one = "Bridges", "/api/v1/bridges/{bridge}"
    return [
        Route(method="GET", path="/api/v1/bridges", handler=get_all, group=group, access="backend",
              summary="Every bridge: how it fares, and what lies before it.", answers={200: list[Bridge]}),
        Route(method="GET", path=one, handler=get_one, group=group, access="backend", summary="One bridge.",
              answers={200: Bridge}, errors=(UnknownBridge,)),
        Route(method="POST", path=one + "/pause", handler=pausing(True), group=group, access="backend",
              summary="Stop a bridge: what comes for it is kept; of a bridge in, by the other system.",
              answers={200: Bridge}, errors=(UnknownBridge,)),
        Route(method="POST", path=one + "/resume", handler=pausing(False), group=group, access="backend",
              summary="Go on; a bridge that waits tries at once.",
              answers={200: Bridge}, errors=(UnknownBridge,)),
        Route(method="DELETE", path=one, handler=forget, group=group, access="backend", answers={204: None},
              summary="Forget a bridge that is configured no more: it leaves its topics, what was pending is dropped.",
              errors=(UnknownBridge, Conflict)),
        Route(method="GET", path="/api/v1/dead-letters", handler=get_dead, group=group, access="backend",
              query=DeadLettersQuery,
              summary="What a bridge, or the intake of recado.publish (`intake`), gave up on, oldest first. At most 500"
                      " and about 1 MiB: go on behind the last `id` until none come.",
              answers={200: list[DeadLetter]}, errors=(UnknownBridge,)),
        Route(method="POST", path="/api/v1/dead-letters/replay", handler=replay, group=group, access="backend",
              body=ReplayRequest,
              summary="Give dead letters another try, at most 1000 at a time; what came in goes to its topic.",
              answers={202: Outcome}, errors=(UnknownBridge, Unavailable),
              example={"bridge": "shops", "dry_run": True}),
        Route(method="POST", path="/api/v1/dead-letters/drop", handler=drop, group=group, access="backend",
              body=DropRequest, summary="Drop dead letters for good; how many there were.",
              answers={200: Count}, errors=(UnknownBridge, Unavailable), example={"bridge": "shops", "ids": [1]}),
    ]  # fmt: skip


async def get_all(request: Request[None, None]) -> Answer:
    return Answer(200, [shown(report) for report in await request.domain.node.bridge_store.reports()])


async def get_one(request: Request[None, None]) -> Answer:
    found = await request.domain.node.bridge_store.reports(request.path.bridge)
    if not found:
        raise UnknownBridge
    return Answer(200, shown(found[0]))


def pausing(paused: bool) -> Callable[[Request[None, None]], Awaitable[Answer]]:
    async def change(request: Request[None, None]) -> Answer:
        await request.domain.node.bridges.pause(request.path.bridge, paused)
        return await get_one(request)

    return change


async def forget(request: Request[None, None]) -> Answer:
    await request.domain.node.bridges.forget(request.path.bridge)
    return Answer(204)


async def get_dead(request: Request[DeadLettersQuery, None]) -> Answer:
    query = request.query
    if query.bridge is not None:
        await request.domain.node.bridges.known(query.bridge)
    found = await request.domain.node.bridge_store.buried(query.bridge, query.after, min(query.limit, MAX_PAGE))
    return Answer(200, [shown_dead(buried) for buried in found])


async def replay(request: Request[None, ReplayRequest]) -> Answer:
    body = request.body
    done = await request.domain.node.bridges.replay(body.bridge, body.ids, body.since, body.until, dry_run=body.dry_run)
    return Answer(202, shown_replayed(done))


async def drop(request: Request[None, DropRequest]) -> Answer:
    await request.domain.node.bridges.known(request.body.bridge)
    return Answer(200, Count(await request.domain.node.bridge_store.drop(request.body.bridge, request.body.ids)))


def shown(report: Report) -> Bridge:
    return Bridge(
        report.name, report.kind, report.direction, report.state, report.paused, report.reason, report.attempts,
        report.since, report.lag, report.oldest, report.dead,
    )  # fmt: skip


def shown_dead(buried: Buried) -> DeadLetter:
    letter = buried.letter
    return DeadLetter(
        buried.id, letter.bridge, letter.topic, letter.seq, letter.sender,
        msgspec.Raw(b"null" if letter.content is None else letter.content.encode()),
        letter.sent_at, letter.reason, letter.came_by, buried.replayable, buried.died_at,
    )  # fmt: skip


def shown_replayed(done: Replayed) -> Outcome:
    return Outcome(done.count, [Refused(id_, reason) for id_, reason in done.refused.items()])
