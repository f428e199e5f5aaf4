"""How many requests begin in a turn of the loop."""

from __future__ import annotations

import asyncio

from messaging.limits.turns import MAX_IN_TURN, RequestTurns


async def test_a_turn_of_the_loop_has_a_few_requests() -> None:
    turns, met = RequestTurns(), 0

    async def ask() -> None:
        nonlocal met
        await turns.begin()
        met += 1

    tasks = [asyncio.create_task(ask()) for _ in range(100)]
    tasks[50].cancel()
    while met < 99:
        before = met
        await asyncio.sleep(0)
        assert met - before <= MAX_IN_TURN
    await ask()
