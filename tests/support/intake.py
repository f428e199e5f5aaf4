"""A node that takes in what is published by SQL, and looks at what became of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from messaging.log.intake import Intake
from messaging.observability.metrics import Metrics
from messaging.settings.settings import Settings
from messaging.store.intake import IntakeStore
from support.log import Desk, connected, rows, stored
from support.tasks import at_work
from support.waiting import until

PUBLISH = "SELECT recado.publish($1, $2, $3)"


@asynccontextmanager
async def taking_in(node: Desk, **settings: Any) -> AsyncIterator[None]:
    """A node that takes in, and tells ``node.notices`` of it."""
    store, given = IntakeStore(node.store.pool), Settings(**settings)
    async with at_work(Intake(store, node.store.leases, given, node.notices.append, Metrics()).run()):
        yield


async def until_empty(dsn: str, but: int = 0) -> None:
    async with connected(dsn) as connection:
        await until(lambda: connection.fetchval("SELECT count(*) = $1 FROM recado.intake", but))


async def contents(dsn: str, topic_id: int) -> list[Any]:
    return [content for _, content in await stored(dsn, topic_id)]


async def dead(dsn: str) -> list[tuple[Any, ...]]:
    columns = "bridge, topic, topic_id, sender, content, reason"
    return await rows(dsn, f"SELECT {columns} FROM recado.dead_letters ORDER BY seq")
