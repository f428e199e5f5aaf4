"""How things stand, for who runs this server."""

from __future__ import annotations

import os
import socket
from dataclasses import asdict
from datetime import datetime
from typing import Literal

import msgspec
from prometheus_client import CollectorRegistry

from api.route import Answer, Request, Route
from messaging.store.overview import CROWD, LONGEST, Behind, Busy, Overview

MAX_LISTED = 20  # of each list


class BusyTopic(msgspec.Struct, frozen=True):
    """A topic that was written to within the last minute."""

    topic_name: str
    kind: Literal["public", "private", "direct"]
    last_seq: int
    per_minute: float


class MemberBehind(msgspec.Struct, frozen=True):
    """A member, and how many messages none of its devices has confirmed; `oldest_at`: when the first was sent."""

    username: str
    topic_name: str
    pending: int
    oldest_at: datetime | None


class Bounds(msgspec.Struct, frozen=True):
    """Among whom those behind were looked for: the longest topics, and so many members of each."""

    topics: int = LONGEST
    members: int = CROWD


class ProcessCounters(msgspec.Struct, frozen=True):
    """What the process that answers has counted since its start; other processes count for themselves."""

    name: str
    sessions: int
    deliveries: int


class OverviewState(msgspec.Struct, frozen=True):
    """`appended`: messages ever stored in the topics that there are; its rate is the difference of two answers over
    that of their `at`. `kept`: how many are still there, estimated. `bytes`: what they take on disk."""

    at: datetime
    appended: int
    topics: int
    kept: int | None
    bytes: int
    busiest: list[BusyTopic]
    behind: list[MemberBehind]
    behind_among: Bounds
    process: ProcessCounters


def routes() -> list[Route]:
    return [
        Route(method="GET", path="/api/v1/overview", handler=get, group="Operation", access="backend",
              summary="How much is stored, which topics are busiest, who is furthest behind. Cheap enough to ask for"
                      " every other second.",
              answers={200: OverviewState}),
    ]  # fmt: skip


async def get(request: Request[None, None]) -> Answer:
    overview = Overview(request.domain.node.store.pool)
    totals = await overview.totals()
    busiest, behind = await overview.busiest(MAX_LISTED), await overview.behind(MAX_LISTED)
    state = OverviewState(
        **asdict(totals),
        busiest=[busy_topic(busy) for busy in busiest],
        behind=[member_behind(each) for each in behind],
        behind_among=Bounds(),
        process=counters(request.domain.node.metrics.registry),
    )
    return Answer(200, state)


def busy_topic(busy: Busy) -> BusyTopic:
    return BusyTopic(busy.name, busy.kind, busy.last_seq, busy.per_minute)


def member_behind(behind: Behind) -> MemberBehind:
    return MemberBehind(behind.name, behind.topic, behind.pending, behind.oldest_at)


def counters(registry: CollectorRegistry) -> ProcessCounters:
    return ProcessCounters(
        name=f"{socket.gethostname()}:{os.getpid()}",
        sessions=int(registry.get_sample_value("recado_sessions") or 0),
        deliveries=int(registry.get_sample_value("recado_deliveries_total") or 0),
    )
