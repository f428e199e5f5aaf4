"""What this process holds for its peers, and that after an ending it holds no more than before.

One measure for all kinds of endings: descriptors, tasks, timers, gauges, and the objects that stand for a peer.
"""

from __future__ import annotations

import asyncio
import gc
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from aiohttp.web import RequestHandler
from prometheus_client import CollectorRegistry

from api.routes.stream import Reading
from messaging.readers.notifier import Listener
from support.waiting import until
from ws_server.connection import Connection
from ws_server.requests import Requests
from ws_server.session import Session

WITHIN = 60.0  # seconds, on a busy machine; a look costs a walk over all that is new
# What is made for one peer, one reader, one request, and has to go with it.
LIVING = (Session, Connection, Requests, Listener, Reading, RequestHandler)
# Timers that belong to a task, which is counted, and asyncpg's, one for each statement that a line has prepared.
OTHERS = ("_set_result_unless_cancelled", "Timeout._on_timeout", "_StatementCache.")

Held = Counter[str]


def held(registry: CollectorRegistry | None = None, mine: Iterable[int] = ()) -> Held:
    """What this process holds, but for the descriptors of the test's ``mine``."""
    gc.collect()
    found = descriptors("self", mine)
    found.update(f"task {task.get_coro().__qualname__}" for task in asyncio.all_tasks())  # type: ignore[union-attr]
    for thing in gc.get_objects():
        kind = type(thing).__name__
        if issubclass(type(thing), LIVING):
            found[f"object {kind}"] += 1
        elif kind == "TimerHandle" and not thing.cancelled() and not any(other in repr(thing) for other in OTHERS):
            found[f"timer {re.sub('when=[0-9.]+ ', '', repr(thing))}"] += 1
    for metric in registry.collect() if registry is not None else ():
        if metric.type == "gauge":
            for sample in metric.samples:
                found[f"gauge {sample.name}{sorted(sample.labels.items())}"] = int(sample.value)
    return found


def descriptors(process: int | str, mine: Iterable[int] = ()) -> Held:
    """The open descriptors of a process, by kind."""
    found: Held = Counter()
    for entry in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):
            if int(entry.name) not in mine:
                found["descriptor " + str(entry.readlink()).partition(":")[0]] += 1
    return found


def beyond(before: Held, now: Held) -> Held:
    """What is held now and was not before; a gauge may not be lower either."""
    more = now - before
    more.update({name: now[name] for name in {*before, *now} if name.startswith("gauge") and now[name] != before[name]})
    return more


@asynccontextmanager
async def nothing_left(look: Callable[[], Held], within: float = WITHIN) -> AsyncIterator[None]:
    """What is held after the block is soon what was held before it. Raises AssertionError with what is left."""
    gc.collect()
    gc.freeze()  # what is there already is not looked at again: only what is new can be left
    before = look()
    yield
    try:
        await until(look, lambda now: not beyond(before, now), within)
    except TimeoutError:
        raise AssertionError(f"still held: {dict(beyond(before, look()))}") from None
