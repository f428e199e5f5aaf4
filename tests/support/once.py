"""What is dear to make, made once a run, however many processes the tests run in."""

from __future__ import annotations

import fcntl
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

import pytest

T = TypeVar("T")


def once_a_run(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], T]) -> T:
    """What ``make`` gives, which is given a folder: the first process that needs it makes it, others wait for it."""
    base = factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with root.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = root / "made"
        if not made.exists():
            shutil.rmtree(root, ignore_errors=True)  # somebody came no further than that
            root.mkdir()
            made.write_bytes(pickle.dumps(make(root)))
        return cast(T, pickle.loads(made.read_bytes()))
