"""What every call into a broker's library passes: its lost line is one kind of error, and a cancellation is heard."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def normalized_errors(lost: type[Exception]) -> Iterator[None]:
    """The call inside raises ``lost`` where its line has ended, and CancelledError where it was cancelled, only then.

    In the turn in which its result arrives, `asyncio.wait_for` before Python 3.12 swallows a cancellation (cpython
    gh-86296); the task has counted it. A transport that is gone raises RuntimeError with uvloop, the libraries' own
    asserts and None the others.
    """
    task = asyncio.current_task()
    assert task is not None
    before = task.cancelling()
    try:
        yield
    except asyncio.CancelledError as exc:
        if not task.cancelling():  # nobody asked for it
            raise lost("the line was lost") from exc
        raise
    except (RuntimeError, AttributeError, AssertionError) as exc:
        raise lost(f"the line was lost ({exc or type(exc).__name__})") from exc
    finally:
        if task.cancelling() > before:
            raise asyncio.CancelledError
