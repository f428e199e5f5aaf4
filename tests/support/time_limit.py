"""A limit for each phase of each test, kept from outside: a hang names itself, and ends.

At the limit a thread of our own writes the stacks of all tasks and threads to the real stderr, kills the children and
ends the process (under xdist the controller then names the test, and starts another worker). Where that thread gets
no turn, because something holds the interpreter, the one of faulthandler, which needs none, does it a little later.
Neither rests on a signal: uvloop or a blocked thread may never look at one.
"""

import asyncio
import contextlib
import faulthandler
import gc
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

SECONDS = 120.0
_GRACE = 5.0  # how much later faulthandler does it


class TimeLimit:
    """A pytest plugin. `@pytest.mark.limit(seconds)` gives a test more (or less) than SECONDS a phase."""

    def __init__(self, stderr: int) -> None:
        self._stderr = stderr
        self._changed = threading.Condition()
        self._armed: tuple[float, str] | None = None
        threading.Thread(target=self._watch, name="time limit", daemon=True).start()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Iterator[None]:
        return (yield from self._limited(item, "setup"))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        return (yield from self._limited(item, "call"))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Iterator[None]:
        return (yield from self._limited(item, "teardown"))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        # What is left (fixtures of the session, threads that are no daemons) has a limit too: it is never taken off.
        self._arm(SECONDS, "the end of the session")

    def pytest_unconfigure(self, config: pytest.Config) -> None:
        # A worker of xdist lives on, idle, until the last of them has finished.
        if hasattr(config, "workerinput"):
            self._disarm()

    def pytest_enter_pdb(self) -> None:
        self._disarm()

    def _limited(self, item: pytest.Item, phase: str) -> Iterator[None]:
        seconds = seconds_of(item)
        self._arm(seconds, f"{item.nodeid} ({phase}) has not ended within {seconds:g} s")
        try:
            return (yield)
        finally:
            self._disarm()

    def _arm(self, seconds: float, what: str) -> None:
        faulthandler.dump_traceback_later(seconds + _GRACE, file=self._stderr, exit=True)
        with self._changed:
            self._armed = (time.monotonic() + seconds, what)
            self._changed.notify()

    def _disarm(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        with self._changed:
            self._armed = None

    def _watch(self) -> None:
        with self._changed:
            while True:
                left = self._armed[0] - time.monotonic() if self._armed else None
                if self._armed and left is not None and left <= 0:
                    self._end(self._armed[1])
                self._changed.wait(left)

    def _end(self, what: str) -> None:
        # os.write: a test may hold the lock of a stream.
        os.write(self._stderr, f"\n=== {what}\n".encode())
        for text in _stacks_of_tasks():
            os.write(self._stderr, text.encode(errors="backslashreplace"))
        faulthandler.dump_traceback(file=self._stderr)
        _kill_children()
        os._exit(70)


def seconds_of(item: pytest.Item) -> float:
    mark = item.get_closest_marker("limit")
    return float(mark.args[0]) if mark else SECONDS


def _stacks_of_tasks() -> Iterator[str]:
    """Of the tasks of all loops and threads that have not ended."""
    for found in gc.get_objects():
        if issubclass(type(found), asyncio.Task) and not found.done():
            frames = [(frame, frame.f_lineno) for frame in _frames(found.get_coro())]
            stack = traceback.StackSummary.extract(iter(frames), lookup_lines=True)
            yield f"\nTask {found.get_name()}:\n{''.join(stack.format())}"


def _frames(waits: Any) -> Iterator[FrameType]:
    """Of a coroutine and of what it waits for, the outermost first. Task.get_stack knows only that one."""
    while waits is not None:
        if type(waits).__name__ in ("async_generator_asend", "async_generator_athrow", "coroutine_wrapper"):
            waits = next(iter(gc.get_referents(waits)), None)  # they tell in no other way what they drive
        kind = next((kind for kind in ("cr", "gi", "ag") if hasattr(waits, f"{kind}_frame")), None)
        if kind is None:
            return
        if frame := getattr(waits, f"{kind}_frame"):
            yield frame
        waits = waits.gi_yieldfrom if kind == "gi" else getattr(waits, f"{kind}_await")


def _kill_children() -> None:
    """They would outlive the test, and keep its pipes open. Only Linux tells who they are."""
    for children in Path("/proc/self/task").glob("*/children"):
        for pid in children.read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


def install(config: pytest.Config) -> None:
    """To be called while the real stderr is in place, as it is when plugins are configured."""
    config.addinivalue_line("markers", f"limit(seconds): what a phase of the test may take, instead of {SECONDS:g} s")
    stderr = sys.__stderr__
    assert stderr is not None
    config.pluginmanager.register(TimeLimit(os.dup(stderr.fileno())), "time limit")
