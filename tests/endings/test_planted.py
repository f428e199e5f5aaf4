"""The measure itself: what is left behind on purpose is found, each kind of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import pytest
from held import held, nothing_left
from prometheus_client import CollectorRegistry, Gauge

from api.connection import Connection
from ws_server.session import Session

kept: list[Any] = []


def a_descriptor(_: Gauge) -> Callable[[], None]:
    number = os.dup(0)
    return lambda: os.close(number)


def a_task(_: Gauge) -> Callable[[], object]:
    return asyncio.ensure_future(asyncio.sleep(3600)).cancel


def a_timer(_: Gauge) -> Callable[[], None]:
    return asyncio.get_running_loop().call_later(3600, print).cancel


def a_session(_: Gauge) -> Callable[[], None]:
    kept.append(object.__new__(Session))
    return kept.clear


def a_connection_of_the_api(_: Gauge) -> Callable[[], None]:
    kept.append(object.__new__(Connection))
    return kept.clear


def a_count(gauge: Gauge) -> Callable[[], None]:
    gauge.inc()
    return gauge.dec


def a_count_too_few(gauge: Gauge) -> Callable[[], None]:
    gauge.dec()
    return gauge.inc


LEAKS = [a_descriptor, a_task, a_timer, a_session, a_connection_of_the_api, a_count, a_count_too_few]


@pytest.mark.parametrize("leak", LEAKS)
async def test_a_planted_leak_is_caught(leak: Callable[[Gauge], Callable[[], object]]) -> None:
    registry = CollectorRegistry()
    gauge = Gauge("planted", "of this test", registry=registry)
    async with nothing_left(lambda: held(registry)):  # once it is mended nothing is left
        with pytest.raises(AssertionError, match="still held"):
            async with nothing_left(lambda: held(registry), within=0.1):
                mend = leak(gauge)
        mend()
