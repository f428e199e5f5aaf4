"""What goes on beside a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

TIME = 60  # seconds to an end


@asynccontextmanager
async def at_work(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """It runs meanwhile, and is cancelled at the end; where it fails, so does the test."""
    task = asyncio.ensure_future(work)
    try:
        yield task
    finally:
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=TIME)
        assert done, "it goes on though it was cancelled"
        if not task.cancelled():
            task.result()
