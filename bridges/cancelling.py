"""A cancellation that a library has swallowed, heeded after all.

`asyncio.wait_for` before Python 3.12 returns the answer where it comes in the same step as the cancellation, and nobody
hears of that one (cpython gh-86296). The brokers' clients stand on it; a loop around them would never end.
"""

from __future__ import annotations

import asyncio


def heed_cancel() -> None:
    """Raises CancelledError where this task was asked to end. To be called in every round of a loop around a client."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
