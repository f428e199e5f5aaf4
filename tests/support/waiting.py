"""Waiting for what tells nobody when it happens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")
Good = Callable[[Any], object]


@overload
async def until(look: Callable[[], Awaitable[T | None]], good: Good = ..., within: float = ...) -> T: ...
@overload
async def until(look: Callable[[], T | None], good: Good = ..., within: float = ...) -> T: ...
async def until(look: Callable[[], Any], good: Good = bool, within: float = 20) -> Any:
    """Look until what is found is good; what was found. Raises TimeoutError.

    ``look``: async or not. Cancelling this is safe where cancelling ``look`` is.
    """
    found = None
    try:
        async with asyncio.timeout(within):
            while True:
                found = look()
                if isinstance(found, Awaitable):
                    found = await found
                if good(found):
                    return found
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise TimeoutError(f"within {within} s; found at last: {found!r}") from None
