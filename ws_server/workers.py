"""Several processes on one port: started, started again when one dies, and stopped together.

The kernel spreads new connections over them (SO_REUSEPORT). A worker ends when its standard input does, so none
outlives the parent, however that ends.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress

from messaging.retrying import jittered
from messaging.settings import Settings

log = logging.getLogger(__name__)

SETTLED = 10.0  # seconds: a worker that lived for so long is started again at once
STOP_TIME = 30.0


class WorkerFailed(OSError):
    """A worker of the WebSocket door ended before it was ready. Its own message is above."""


class Workers:
    """``count`` processes of `ws_server.worker`; stands where a `Door` does."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        """``environ``: what the workers get beside this process's own environment."""
        self._settings = settings
        self._environ = {**os.environ, **environ}
        self._alive: dict[int, asyncio.subprocess.Process] = {}
        self._ready = 0
        self._listening = asyncio.Event()
        self._stopping = False
        self._port = 0

    async def run(self) -> None:
        """Keep the workers running until `drain`.

        Raises:
            WorkerFailed, OSError: they can't start.
        """
        # Bound, but listening to nobody: the port stays ours while workers come and go.
        with _bound(self._settings.ws_host, self._settings.ws_port) as held:
            self._port = held.getsockname()[1]
            self._environ["WS_PORT"] = str(self._port)
            async with asyncio.TaskGroup() as tasks:
                for number in range(self._settings.workers):
                    tasks.create_task(self._keep(number), name=f"worker {number}")

    async def listening(self) -> int:
        """Wait until every worker has been ready. The port's number."""
        await self._listening.wait()
        return self._port

    async def drain(self) -> None:
        """Ask every worker to show its sessions out and end; end those that do not. `run` returns then."""
        self._stopping = True
        workers = list(self._alive.values())
        for process in workers:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_TIME):
                await asyncio.gather(*(process.wait() for process in workers))
        except TimeoutError:
            for process in workers:
                log.error("worker %d did not end in time", process.pid)
                with suppress(ProcessLookupError):
                    process.kill()

    async def _keep(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while not self._stopping:
            started = loop.time()
            await self._once(number)
            if self._stopping:
                return
            failures = 0 if loop.time() - started > SETTLED else failures + 1
            await asyncio.sleep(jittered(failures, base=0.1, cap=5) if failures else 0)

    def _count_ready(self) -> None:
        self._ready += 1
        if self._ready == self._settings.workers:
            self._listening.set()

    async def _once(self, number: int) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ws_server.worker", env=self._environ,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C goes to the parent, which stops them in order
        )  # fmt: skip
        self._alive[number] = process
        try:
            assert process.stdout is not None
            async for line in process.stdout:
                if line == b"ready\n":
                    log.info("worker %d is ready", process.pid)
                    self._count_ready()
            code = await process.wait()
            if not self._listening.is_set() and not self._stopping:
                raise WorkerFailed(WorkerFailed.__doc__)
            if not self._stopping:
                log.error("worker %d ended with %d; starting another", process.pid, code)
        finally:
            del self._alive[number]
            if process.returncode is None:
                process.kill()


def _bound(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((host, port))
    return sock
