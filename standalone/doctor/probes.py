"""Gathers the facts that the doctor judges. Thin: what is well and what is not is decided in `diagnosis`."""

from __future__ import annotations

import asyncio
import logging
import resource
import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from messaging.bus.choose import make_bus
from messaging.bus.seal import Seal
from messaging.errors import Unavailable
from messaging.model import Changed, Notice
from messaging.settings.settings import Settings
from messaging.store.migrations import applied, shipped
from messaging.store.pool import connect
from messaging.store.queries import load_queries
from recado.terminal.access import Access
from recado.terminal.doctor.probes import ask_doors
from standalone.doctor.diagnosis import Bus, Database, Facts, Machine
from standalone.postgres.options import address

BUS_SECONDS = 6.0
NOBODY = 0  # no user has this id: a notice of it moves nobody


async def gather(settings: Settings, access: Access, nodes: Sequence[str]) -> Facts:
    """All facts, side by side."""
    dsn = settings.database_url or embedded_dsn(settings.data_dir)
    async with asyncio.TaskGroup() as tasks:
        database = tasks.create_task(database_facts(dsn))
        bus = tasks.create_task(bus_facts(settings, dsn))
        asked = tasks.create_task(ask_doors(access, nodes))
    doors, token_from = asked.result()
    return Facts(
        database.result(), bus.result(), machine_facts(settings), doors, shipped(), settings.unsafe_durability,
        token_from,
    )  # fmt: skip


# The database


def embedded_dsn(data_dir: Path) -> str:
    """How to reach the PostgreSQL that `recado up` runs in this directory; its pid file names the socket's place."""
    sockets = str(data_dir.resolve() / "run")
    with suppress(OSError, IndexError):
        sockets = (data_dir / "pg" / "postmaster.pid").read_text().splitlines()[4].strip() or sockets
    return address(sockets)


async def database_facts(dsn: str) -> Database:
    try:
        connection = await connect(dsn)
    except Unavailable as exc:
        return Database(error=exc.message)
    try:
        row = await connection.fetchrow(load_queries()["fitness"])
        before = time.time()
        moment = await connection.fetchval(load_queries()["clock"])
        ahead = moment.timestamp() - (before + time.time()) / 2
        return Database(
            "", row["version"], row["fsync"], row["full_page_writes"], row["synchronous_commit"], ahead,
            await applied(connection) or None, row["encoding"],
        )  # fmt: skip
    except Exception as exc:  # whatever it is, it is what the doctor was asked to find
        return Database(error=f"PostgreSQL answers with an error ({type(exc).__name__}: {exc}).")
    finally:
        connection.terminate()


# The bus


async def bus_facts(settings: Settings, dsn: str) -> Bus:
    """Whether a notice from one end of the bus comes out at another, as between two nodes."""
    alone = settings.workers == 1 and not settings.database_url
    url = settings.bus_url or ("local:" if alone else "postgres:")
    if url == "local:":
        return Bus(url)
    complaints = Complaints()
    logger = logging.getLogger("messaging.retrying")
    logger.addHandler(complaints)
    logger.propagate = False
    try:
        async with asyncio.timeout(BUS_SECONDS), asyncio.TaskGroup() as tasks:
            trip = tasks.create_task(round_trip(url, dsn))
            complaints.listener = trip.cancel
        if trip.cancelled():
            return Bus(shown(url), complaints.last)
    except TimeoutError:
        return Bus(shown(url), "nothing came back")
    except Exception as exc:
        return Bus(shown(url), f"{type(exc).__name__}: {exc}")
    finally:
        logger.removeHandler(complaints)
        logger.propagate = True
    return Bus(shown(url))


async def round_trip(url: str, dsn: str) -> None:
    """Until a notice has come through. Raises what ends the bus."""
    ends = [make_bus(url, dsn) for _ in range(2)]
    names, secret = [secrets.token_hex(16) for _ in ends], secrets.token_bytes(32)
    for end, name in zip(ends, names, strict=True):
        end.open(Seal(name, secret), lambda: None, lambda: None)
        end.know(frozenset(names))
    up = [asyncio.Event() for _ in ends]
    heard = asyncio.Event()

    def receive(notice: Notice) -> None:
        if notice == Changed(NOBODY):
            heard.set()

    for end, event in zip(ends, up, strict=True):
        end.attach(receive if end is ends[1] else lambda notice: None, event.set)
    works = [asyncio.create_task(end.run()) for end in ends]
    try:
        for event in up:
            await first_of(event, works)
        ends[0].tell(Changed(NOBODY))
        await first_of(heard, works)
    finally:
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)


async def first_of(event: asyncio.Event, works: Sequence[asyncio.Task[None]]) -> None:
    """Wait for the event, or for a work to end, which is a failure that it raises."""
    wanted = asyncio.create_task(event.wait())
    try:
        await asyncio.wait({wanted, *works}, return_when=asyncio.FIRST_COMPLETED)
        for work in works:
            if work.done():
                work.result()
    finally:
        wanted.cancel()


class Complaints(logging.Handler):
    """What the bus warns of: it would go on trying, but one failure is what the doctor wants to know."""

    def __init__(self) -> None:
        super().__init__()
        self.last = ""
        self.listener: Callable[[], object] = lambda: None

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage().rpartition("tries again: ")[2]
        self.listener()


def shown(url: str) -> str:
    """An address without its password."""
    parts = urlsplit(url)
    return url.replace(f":{parts.password}@", ":…@") if parts.password else url


# This machine


def machine_facts(settings: Settings) -> Machine:
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if descriptors == resource.RLIM_INFINITY:
        descriptors = 1 << 30
    if settings.database_url:
        return Machine(descriptors)
    there = next(path for path in (settings.data_dir.resolve(), *settings.data_dir.resolve().parents) if path.exists())
    return Machine(descriptors, str(settings.data_dir), shutil.disk_usage(there).free)
