"""A request that publishes waits for the commit; the append itself belongs to the appender and goes on without it."""

from __future__ import annotations

import asyncio

from messaging.actions import Actions
from messaging.errors import RecadoError
from messaging.model import Content
from messaging.permissions import Aim
from messaging.store.append import Verdict

Outcome = Verdict | RecadoError
REPLAYED = {"Idempotent-Replayed": "true"}


class PublishResults:
    """The origin of a request's drafts: hears of each by its place, and wakes the request after the last."""

    def __init__(self, count: int) -> None:
        self._outcomes: list[Outcome | None] = [None] * count
        self._left = count
        self._all = asyncio.Event()

    def on_result(self, context: int, outcome: Outcome) -> None:
        self._outcomes[context] = outcome
        self._left -= 1

    def on_batch_end(self) -> None:
        if not self._left:
            self._all.set()

    async def wait(self) -> list[Outcome]:
        """What became of each. The appender answers in bounded time."""
        await self._all.wait()
        return [outcome for outcome in self._outcomes if outcome is not None]


def told(verdict: Verdict) -> dict[str, str]:
    """The headers of an answer: whether this very message had been stored before."""
    return REPLAYED if verdict.outcome == "repeated" else {}


async def publish(
    actions: Actions, aim: Aim, sender: str, content: Content, *, key: str | None = None, ttl: int | None = None
) -> Verdict:
    """Publish one message and wait until it is stored.

    Raises:
        RecadoError: why it is not; Unavailable where that is not known.
    """
    outcomes = PublishResults(1)
    actions.publish(aim, sender, content, key, ttl, outcomes, 0)
    [outcome] = await outcomes.wait()
    if isinstance(outcome, RecadoError):
        raise outcome
    return outcome
