"""What all tests share: the event loop, the database, and tools that may be missing."""

import asyncio
import atexit
import fcntl
import gc
import itertools
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import asyncpg
import pytest
import uvloop
from pytest_asyncio import is_async_test

from support import missing_tools, other_postgres, places, time_limit

pytest_plugins = ["support.doors", "support.rabbit_server"]

ROOT = Path(__file__).resolve().parent.parent
REQUIRE_ALL = os.environ.get("REQUIRE_ALL") == "1"
TEMPLATE = "recado_template"
MEMORY = Path("/dev/shm")
ROOM = 8 * 2**30  # bytes
RUN = "recado-run-"

_Loop = asyncio.AbstractEventLoop
_errors: list[dict[str, Any]] = []
_loops: list[_Loop] = []
_numbers = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "faults: longer tests of crashes, dead buses, cut lines (make faults)")
    time_limit.install(config)
    _keep_in_memory()
    other_postgres.use_it()


def _keep_in_memory() -> None:
    """What tests write needs no disk: a thousand databases take a third less where there is memory for them."""
    if "TMPDIR" in os.environ or not _has_room():  # the controller has set it for its workers
        return
    for folder in MEMORY.glob(f"{RUN}*"):
        if _is_mine(folder):  # that run was killed
            shutil.rmtree(folder, ignore_errors=True)
    folder = places.make_folder(MEMORY, RUN)
    if _is_mine(folder):
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)


def _has_room() -> bool:
    """Whether programs and much data may lie in memory, by the file system, the machine, and a container's limit."""
    if not os.access(MEMORY, os.W_OK | os.X_OK):
        return False
    system = os.statvfs(MEMORY)
    room = [system.f_bavail * system.f_frsize]
    with suppress(OSError, ValueError):
        room.append(int(Path("/proc/meminfo").read_text().partition("MemAvailable:")[2].split()[0]) * 1024)
    with suppress(OSError, ValueError):
        room.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(room) >= ROOM and not system.f_flag & os.ST_NOEXEC


def _is_mine(folder: Path) -> bool:
    """Whether no living run has this folder; then it is ours, as long as we live."""
    try:
        fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


# --- tools that may be missing ---------------------------------------------------------------------


def needs(*tools: str) -> str:
    """The path of the first of these that is here. Without any the test is skipped, or fails if REQUIRE_ALL=1."""
    places = (f"{ROOT}/tests/node_modules/.bin", str(Path(sys.executable).parent), os.environ.get("PATH", ""))
    found = next(filter(None, (shutil.which(tool, path=os.pathsep.join(places)) for tool in tools)), None)
    if not found:
        lacks(tools[-1] + missing_tools.MISSING)
    return found


def lacks(reason: str) -> NoReturn:
    """The test can't run here: it is skipped, or fails if REQUIRE_ALL=1."""
    if REQUIRE_ALL:
        pytest.fail(f"{reason}, and REQUIRE_ALL=1", pytrace=False)
    pytest.skip(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [report.longrepr[2] for report in terminalreporter.stats.get("skipped", ())]
    if skipped:
        terminalreporter.section("not run here")
        for line in missing_tools.summary(skipped):
            terminalreporter.write_line(line)


# --- the event loop: uvloop unless RECADO_TEST_LOOP=asyncio; what nobody handles fails the test ----


def _new_loop() -> _Loop:
    stock = os.environ.get("RECADO_TEST_LOOP") == "asyncio"
    loop = asyncio.new_event_loop() if stock else uvloop.new_event_loop()
    _loops.append(loop)
    return loop


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Callable[[], _Loop]]:
    return {"loop": _new_loop}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Only async tests get a loop; a plain one would tear down the session's, and the database with it."""
    for item in items:
        if "postgres_dsn" in getattr(item, "fixturenames", ()) and not is_async_test(item):
            raise pytest.UsageError(f"{item.nodeid} uses the database: write it as async def")
    items.sort(key=time_limit.seconds_of, reverse=True)  # what may take long is not begun last, when others are done


def pytest_collection_finish(session: pytest.Session) -> None:
    """What was imported so far is not looked at again, which makes the collection after each test cheap."""
    gc.collect()
    gc.freeze()


def _describe(context: dict[str, Any]) -> str:
    whose = context.get("task") or context.get("future") or context.get("handle") or ""
    return f"{context.get('message', '')}: {context.get('exception')!r} {whose}"


@pytest.fixture(autouse=True)
def loop_errors() -> Iterator[list[dict[str, Any]]]:
    """Fails the test if an exception reached the event loop's handler. A test that means it clears this."""
    for loop in _loops:
        loop.set_exception_handler(lambda _, context: _errors.append(context))
    yield _errors
    gc.collect()
    found = [_describe(context) for context in _errors]
    _errors.clear()
    if found:
        pytest.fail("unhandled in the event loop:\n" + "\n".join(found), pytrace=False)


# --- the database ----------------------------------------------------------------------------------


def _with_name(dsn: str, name: str) -> str:
    parts = urlsplit(dsn)
    return f"{parts.scheme}://{parts.netloc}/{name}" + (f"?{parts.query}" if parts.query else "")


@pytest.fixture(scope="session")
async def postgres_dsn() -> AsyncIterator[str]:
    """One PostgreSQL for all tests of a session."""
    from standalone.postgres import EmbeddedPostgres

    with places.data_dir() as data:
        postgres = EmbeddedPostgres(data)
        try:
            yield await postgres.start()
        finally:
            await postgres.stop()


@pytest.fixture(scope="session")
async def _admin(postgres_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the server, which holds a template that was migrated once."""
    from messaging.store.migrations import migrate

    admin = await asyncpg.connect(postgres_dsn)
    await admin.execute(f"CREATE DATABASE {TEMPLATE}")
    await migrate(_with_name(postgres_dsn, TEMPLATE))  # the one place where tests meet the migrations
    yield admin
    await admin.close()


@asynccontextmanager
async def fresh_database(postgres_dsn: str, admin: asyncpg.Connection) -> AsyncIterator[str]:
    name = f"test_{next(_numbers)}"
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    yield _with_name(postgres_dsn, name)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def database(postgres_dsn: str, _admin: asyncpg.Connection) -> AsyncIterator[str]:
    """The DSN of a fresh, migrated database of this test's own."""
    async with fresh_database(postgres_dsn, _admin) as dsn:
        yield dsn


@pytest.fixture(scope="module")
async def module_database(postgres_dsn: str, _admin: asyncpg.Connection) -> AsyncIterator[str]:
    """One that the tests of a module share."""
    async with fresh_database(postgres_dsn, _admin) as dsn:
        yield dsn
