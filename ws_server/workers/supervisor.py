"""Several processes on one port: started, started again when one dies, and stopped together.

The kernel spreads new connections over them (SO_REUSEPORT), also over one that stands: each gives a sign of life on
its standard output, and one that is silent is killed. A worker ends when its standard input does, so none outlives the
parent, however that ends.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress

from messaging.retrying import jittered
from messaging.runtime.listening import named
from messaging.settings.settings import Settings, SettingsError

log = logging.getLogger(__name__)

SETTLED = 10.0  # seconds: a worker that lived for so long is started again at once
SIGN_OF_LIFE = b"alive\n"
BEAT_EVERY = 1.0  # seconds
SUSPECT_AFTER = 3  # beats missing: not ready
SILENT_AFTER = 10  # beats missing: killed
LOADING = 60  # beats that a worker has until its first


class WorkerFailed(OSError):
    """A worker of the WebSocket door ended before it was ready. Its own message is above."""


class Worker:
    """One process, and what is known of it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.is_ready = False
        self.missing = 0  # beats
        self._most = LOADING

    @property
    def serves(self) -> bool:
        return self.is_ready and self.missing < SUSPECT_AFTER

    async def listen(self, became_ready: Callable[[], None]) -> None:
        """Read what it says, until its end."""
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.missing, self._most = 0, SILENT_AFTER
            if line == b"ready\n":
                self.is_ready = True
                log.info("worker %d is ready", self.process.pid)
                became_ready()

    async def watch(self) -> None:
        """Kill it when it has been silent for too long. Counted, not timed: our own standstill makes nobody late."""
        while self.missing < self._most:
            await asyncio.sleep(BEAT_EVERY)
            self.missing += 1
        log.error("worker %d has given no sign of life for %d s: killing it", self.process.pid, self.missing)
        with suppress(ProcessLookupError):
            self.process.kill()


class Workers:
    """WORKERS processes of `ws_server.workers.worker`, with what a start and a stop call of a `WebSocketServer`."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        """``environ``: what the workers get beside this process's own environment."""
        self._settings = settings
        # Each has less time for its end than this process has, so that it can say itself what held it up.
        self._environ = {**os.environ, **environ, "STOP_SECONDS": str(max(1, settings.stop_seconds * 3 // 4))}
        self._alive: dict[int, Worker] = {}
        self._listening = asyncio.Event()
        self._stopping = False
        self._port = 0

    async def run(self) -> None:
        """Keep the workers running until `drain`.

        Raises:
            WorkerFailed, SettingsError: they can't start.
        """
        # Bound, but listening to nobody: the port stays ours while workers come and go.
        with _bound(self._settings) as held:
            self._port = held.getsockname()[1]
            self._environ["WS_PORT"] = str(self._port)
            async with asyncio.TaskGroup() as tasks:
                for number in range(self._settings.workers):
                    tasks.create_task(self._keep(number), name=f"worker {number}")

    async def listening(self) -> int:
        """Wait until every worker has been ready. The port's number."""
        await self._listening.wait()
        return self._port

    async def drain(self) -> bool:
        """Ask every worker to show its sessions out and end; end those that do not. `run` returns then.

        Whether they left nothing without an answer.
        """
        self._stopping = True
        workers = list(self._alive.values())
        for worker in workers:
            with suppress(ProcessLookupError):
                worker.process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(self._settings.stop_seconds * 0.9):
                codes = await asyncio.gather(*(worker.process.wait() for worker in workers))
            # One that was still being loaded had taken nothing in.
            return not any(code for worker, code in zip(workers, codes, strict=True) if worker.is_ready)
        except TimeoutError:
            for worker in workers:
                if worker.process.returncode is None:
                    log.error("worker %d did not end in time", worker.process.pid)
                    with suppress(ProcessLookupError):
                        worker.process.kill()
            return False

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

    def trouble(self) -> str:
        """Why connections may hang: which of the workers do not serve. "" where all do."""
        serving = sum(worker.serves for worker in self._alive.values())
        if serving == self._settings.workers:
            return ""
        return f"{serving} of {self._settings.workers} workers of the WebSocket door serve."

    def _count_ready(self) -> None:
        if [worker.is_ready for worker in self._alive.values()].count(True) == self._settings.workers:
            self._listening.set()

    async def _once(self, number: int) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ws_server.workers.worker", env=self._environ,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C goes to the parent, which stops them in order
        )  # fmt: skip
        worker = self._alive[number] = Worker(process)
        if self._stopping:  # too late for `drain` to ask it; it has served nobody
            process.kill()
        watch = asyncio.create_task(worker.watch())
        try:
            await worker.listen(self._count_ready)
            code = await process.wait()
            if not self._listening.is_set() and not self._stopping:
                raise WorkerFailed(WorkerFailed.__doc__)
            if not self._stopping:
                log.error("worker %d ended with %d; starting another", process.pid, code)
        finally:
            watch.cancel()
            del self._alive[number]
            if process.returncode is None:
                process.kill()


def _bound(settings: Settings) -> socket.socket:
    host, port = settings.ws_host, settings.ws_port
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        with named("WS", host, port):
            sock.bind((host, port))
    except SettingsError:
        sock.close()
        raise
    return sock
