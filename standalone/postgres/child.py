"""A program of PostgreSQL as our child: ended with us, in a session of its own, holding the lock."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from standalone.postgres import parent_death

_KERNEL_TELLS = sys.platform == "linux"
# Not our own environment: it holds secrets, and libpq's settings for other servers.
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}


class Child:
    """A program that ends when this process does. A thread reaps it: not every event loop can watch every child."""

    def __init__(self, command: list[str], owner: tuple[int, int], cwd: Path, text: str, log: int, lock: int) -> None:
        """Start `command` as `owner` (uid, gid), with `text` as its input, writing to `log`, holding `lock`."""
        self._loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[int] = self._loop.create_future()
        # Read end for the watching process, and ours, which ends with us.
        self._pipe: tuple[int, ...] = () if _KERNEL_TELLS else os.pipe()
        how = ("pipe", self._pipe[0]) if self._pipe else ("signal", os.getpid())
        with _input(text) as stdin:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", parent_death.__file__, *map(str, (*how, *owner)), *command],
                stdin=stdin, stdout=log, stderr=log, pass_fds=(lock, *self._pipe[:1]),
                cwd=cwd, env=_ENVIRONMENT, umask=0o077,
                # The terminal's Ctrl-C goes to a whole group, and would stop PostgreSQL before our last commit.
                start_new_session=True,
            )  # fmt: skip
        self.pid = self._process.pid
        threading.Thread(target=self._reap, name=f"reaper of {command[0]}", daemon=True).start()

    def interrupt(self) -> None:
        """To PostgreSQL: stop now and cleanly. Nothing happens if the process is gone."""
        self._process.send_signal(signal.SIGINT)

    def abandon(self) -> None:
        """To PostgreSQL: end at once; the next start recovers."""
        self._process.send_signal(signal.SIGQUIT)

    def _reap(self) -> None:
        code = self._process.wait()
        for fd in self._pipe:
            os.close(fd)
        # Whose loop is closed waits for nothing more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.exited.set_result, code)


@contextlib.contextmanager
def _input(text: str) -> Iterator[int]:
    readable, writable = os.pipe()
    try:
        os.write(writable, text.encode())
        os.close(writable)
        yield readable
    finally:
        os.close(readable)
