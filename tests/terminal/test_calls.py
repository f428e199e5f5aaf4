"""Requests that wait for answers: whatever comes instead of one."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from terminal_support import soon

from recado.client import Closed, Refused
from recado.client.pending_requests import PendingRequests


async def made(calls: PendingRequests, key: str, text: str) -> asyncio.Task[Mapping[str, Any]]:
    task = asyncio.create_task(calls.make(key, text))
    await soon(calls.due.wait())
    return task


async def unsent(calls: PendingRequests) -> list[str]:
    await soon(calls.due.wait())
    return calls.take_unsent()


async def test_each_is_sent_once_a_connection_in_order_until_it_is_answered() -> None:
    calls = PendingRequests()
    first, second = await made(calls, "1", "first"), await made(calls, "2", "second")
    await asyncio.sleep(0)
    assert calls.take_unsent() == ["first", "second"]
    assert calls.take_unsent() == []
    calls.settle({"action": "topics", "ref": "1"})
    await soon(first)
    calls.resend()

    assert await unsent(calls) == ["second"]
    calls.settle({"action": "message", "result": "ok", "id": "2", "seq": 7})
    assert (await soon(second))["seq"] == 7
    assert not calls


@pytest.mark.parametrize("code", ["unavailable", "rate_limited"])
async def test_what_may_pass_is_tried_again(code: str) -> None:
    calls = PendingRequests()
    task = await made(calls, "1", "again")
    assert await unsent(calls) == ["again"]
    calls.settle({"action": "error", "code": code, "message": "not now", "id": "1"})

    assert await unsent(calls) == ["again"]
    calls.settle({"action": "error", "code": "forbidden", "message": "no", "id": "1"})
    with pytest.raises(Refused, match="no"):
        await soon(task)


async def test_an_error_that_names_no_request_concerns_none_unless_it_is_about_speed() -> None:
    calls = PendingRequests()
    task = await made(calls, "1", "text")
    assert await unsent(calls) == ["text"]
    calls.settle({"action": "error", "code": "bad_json", "message": "?"})
    assert calls.take_unsent() == []
    calls.settle({"action": "error", "code": "rate_limited", "message": "too fast"})
    assert await unsent(calls) == ["text"]
    calls.settle({"action": "history", "ref": "somebody else's"})
    calls.fail(Closed("done"))
    with pytest.raises(Closed):
        await soon(task)
    with pytest.raises(Closed):
        await calls.make("2", "later")


async def test_answers_that_come_twice_or_too_late_are_dropped() -> None:
    calls = PendingRequests()
    task = await made(calls, "1", "text")
    calls.settle({"action": "topics", "ref": "1"})
    calls.settle({"action": "topics", "ref": "1", "again": True})
    calls.settle({"action": "error", "code": "forbidden", "ref": "1"})
    calls.fail(Closed("done"))

    assert "again" not in await soon(task)
    calls.settle({"action": "topics", "ref": "1"})


async def test_the_largest_is_given_up_when_a_frame_was_too_large() -> None:
    calls = PendingRequests()
    assert not calls.fail_largest(Refused("too_large", "too large"))
    small, large = await made(calls, "1", "x"), await made(calls, "2", "x" * 100)
    await asyncio.sleep(0)

    assert calls.fail_largest(Refused("too_large", "too large"))
    with pytest.raises(Refused):
        await soon(large)
    assert not small.done()
    small.cancel()
    await asyncio.wait([small])
