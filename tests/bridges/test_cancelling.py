"""Who is told to end does, also where the answer comes in the same step: the library keeps that to itself."""

import asyncio
import types
from typing import Any

import pytest

from bridges.nats_line import streams_of


async def test_a_cancellation_that_comes_with_the_answer_is_heeded() -> None:
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def request(*_: Any, **__: Any) -> Any:
        return await asyncio.wait_for(answer, 5)

    client: Any = types.SimpleNamespace(request=request)
    asking = asyncio.ensure_future(streams_of(client, "orders.>"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    answer.set_result(types.SimpleNamespace(data=b'{"streams":["ORDERS"]}'))
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
