"""Gathers the facts that the doctor judges. Thin: what is well and what is not is decided in `findings`."""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from websockets.exceptions import InvalidStatus, WebSocketException

from messaging.bus.choose import make_bus
from messaging.bus.seal import Seal
from messaging.errors import Unavailable
from messaging.model import Changed, Notice
from messaging.settings.settings import Settings
from messaging.store.migrations import applied, shipped
from messaging.store.pool import connect
from messaging.store.queries import load_queries
from recado.client import Refused
from recado.client.connection import dial
from recado.terminal.access import Access
from recado.terminal.doctor.diagnosis import Bus, Database, Door, Facts, Machine
from recado.terminal.rest import Rest, Unreachable, bearer
from standalone.postgres.options import address

USER = "recado-doctor"  # in whose name doors are tried; it becomes known by that
BUS_SECONDS = 6.0
NOBODY = 0  # no user has this id: a notice of it moves nobody


async def gather(settings: Settings, access: Access, nodes: Sequence[str]) -> Facts:
    """All facts, side by side."""
    dsn = settings.database_url or embedded_dsn(settings.data_dir)
    token, token_from = await any_token(access)
    addresses = list(dict.fromkeys([access.ws_url, access.api_url, *(node.rstrip("/") for node in nodes)]))
    async with asyncio.TaskGroup() as tasks:
        database = tasks.create_task(database_facts(dsn))
        bus = tasks.create_task(bus_facts(settings, dsn))
        doors = [tasks.create_task(door_facts(url, token)) for url in addresses]
    return Facts(
        database.result(), bus.result(), machine_facts(settings), tuple(door.result() for door in doors),
        shipped(), settings.unsafe_durability, token_from,
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


# The doors


async def any_token(access: Access) -> tuple[str, str]:
    """A token to try the doors with, and where it is from."""
    token = access.local_token(USER) if access.secret else None
    if token is not None:
        return token, "the secret here"
    async with Rest(access.api_url) as rest:
        try:
            return await access.issue(rest, USER), f"the API at {access.api_url}"
        except (Refused, Unreachable):
            return "", ""


async def door_facts(url: str, token: str) -> Door:
    """Whether a door is ready, and lets a token in."""
    is_ws = url.startswith("ws")
    door = Door(url, "WebSocket" if is_ws else "API")
    async with Rest(url.replace("ws", "http", 1) if is_ws else url) as rest:
        try:
            answer = await rest.once("GET", "/readyz")
            if answer.status != 200:
                return replace(door, reason=f"HTTP {answer.status} {_told(answer.body)}".strip())
            if not token:
                return replace(door, ready=True)
            accepts, reason = await (enter(url, token) if is_ws else ask(rest, token))
        except (Unreachable, OSError, TimeoutError, WebSocketException) as exc:
            return replace(door, error=str(exc) or type(exc).__name__)
    return replace(door, ready=True, accepts=accepts, reason=reason)


async def enter(url: str, token: str) -> tuple[bool | None, str]:
    try:
        async with dial(url, USER, token):
            return True, ""
    except InvalidStatus as exc:
        with suppress(ValueError):
            return _verdict(exc.response.status_code, json.loads(bytes(exc.response.body)))
        return _verdict(exc.response.status_code, None)


async def ask(rest: Rest, token: str) -> tuple[bool | None, str]:
    answer = await rest.once("GET", f"/api/v1/topics?user={USER}", headers=bearer(token))
    return _verdict(answer.status, answer.body)


def _verdict(status: int, body: object) -> tuple[bool | None, str]:
    if status in (200, 401):
        return status == 200, _told(body)
    return None, f"HTTP {status} {_told(body)}".strip()


def _told(body: object) -> str:
    return str(body.get("message", "")) if isinstance(body, dict) else ""


# This machine


def machine_facts(settings: Settings) -> Machine:
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if descriptors == resource.RLIM_INFINITY:
        descriptors = 1 << 30
    if settings.database_url:
        return Machine(descriptors)
    there = next(path for path in (settings.data_dir.resolve(), *settings.data_dir.resolve().parents) if path.exists())
    return Machine(descriptors, str(settings.data_dir), shutil.disk_usage(there).free)
