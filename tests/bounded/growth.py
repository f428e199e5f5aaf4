"""How a reader's work grows with what it is fed: the CPU of this thread, for an input and one 16 times as large."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

TIMES = 16
MOST = 48  # times the CPU: linear work takes 16, quadratic 256
TRIES = 5
# Inputs are as large as their door lets in: what is through with the largest in less than MOST times this stops nobody,
# however it grows; and it is far above the clock's grain.
FLOOR = 25e-6  # seconds


def growth(read: Callable[[T], object], small: T, large: T) -> float:
    """Times the CPU that the larger input takes, each at its best; at most what it is, where FLOOR alone allows it."""
    if (many := _cpu(read, large)) <= MOST * FLOOR:
        return many / FLOOR
    few = max(FLOOR, min(_cpu(read, small) for _ in range(TRIES)))
    for _ in range(TRIES - 1):
        if many <= MOST * few:
            break
        many = min(many, _cpu(read, large))
    return many / few


def _cpu(read: Callable[[T], object], given: T) -> float:
    gc.disable()  # when it collects, what it looks at: all that depends on what else is there
    try:
        started = time.thread_time()
        read(given)
        return time.thread_time() - started
    finally:
        gc.enable()


async def growth_beside(ask: Callable[[T], Awaitable[object]], small: T, large: T) -> float:
    """The same of a server in this loop; who asks it works in another thread, so that only reading is measured."""
    if (many := await _cpu_beside(ask, large)) <= MOST * FLOOR:
        return many / FLOOR
    few = max(FLOOR, min([await _cpu_beside(ask, small) for _ in range(TRIES)]))
    for _ in range(TRIES - 1):
        if many <= MOST * few:
            break
        many = min(many, await _cpu_beside(ask, large))
    return many / few


async def _cpu_beside(ask: Callable[[T], Awaitable[object]], given: T) -> float:
    await asyncio.sleep(0)
    started = time.thread_time()
    await ask(given)
    return time.thread_time() - started
