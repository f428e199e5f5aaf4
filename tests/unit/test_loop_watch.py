"""An event loop that stands says where, and for how long."""

from __future__ import annotations

import asyncio
import logging
import re
import threading

import pytest

from messaging.observability.loop_watch import watching_loop
from messaging.observability.metrics import Metrics


class Log(logging.Handler):
    """Sets an event once so many standstills were told."""

    def __init__(self, wanted: int) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.told = threading.Event()
        self._wanted = wanted

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())
        if len(self.texts) >= self._wanted:
            self.told.set()


@pytest.fixture
def log(request: pytest.FixtureRequest) -> Log:
    handler = Log(getattr(request, "param", 1))
    logger = logging.getLogger("messaging.observability.loop_watch")
    logger.addHandler(handler)
    request.addfinalizer(lambda: logger.removeHandler(handler))
    return handler


def stand_still(until: threading.Event) -> None:
    assert until.wait(30)


async def test_the_log_names_the_function_and_the_task_in_which_the_loop_stands(log: Log) -> None:
    async def greedy() -> None:
        stand_still(log.told)

    with watching_loop(stands=0.05):
        await asyncio.create_task(greedy(), name="the greedy one")
    assert "in task the greedy one:" in log.texts[0]
    assert "in greedy" in log.texts[0] and "in stand_still" in log.texts[0]


async def test_a_callback_has_no_task_but_a_stack(log: Log) -> None:
    with watching_loop(stands=0.05):
        asyncio.get_running_loop().call_soon(stand_still, log.told)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert "in no task:" in log.texts[0] and "in stand_still" in log.texts[0]


@pytest.mark.parametrize("log", [2], indirect=True)
async def test_it_is_told_again_only_where_it_has_lasted_twice_as_long(log: Log) -> None:
    with watching_loop(stands=0.05):
        stand_still(log.told)
    first, second = (float(re.findall(r"for ([\d.]+) s", text)[0]) for text in log.texts[:2])
    assert second >= 2 * first - 0.1


async def test_the_gauge_shows_how_late_the_loop_was(log: Log) -> None:
    with watching_loop(stands=0.3) as watch:
        metrics = Metrics()
        stand_still(log.told)
        late = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.2, late.set_result, None)  # behind the sign of life that is due
        await late
        assert watch.lag() >= 0.3
        found = re.search(rb"^recado_loop_lag_seconds ([\d.]+)$", metrics.text(), re.MULTILINE)
        assert found and float(found[1]) >= 0.3


async def test_without_a_watch_the_gauge_says_nothing_is_late() -> None:
    assert b"recado_loop_lag_seconds 0.0\n" in Metrics().text()
