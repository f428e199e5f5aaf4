"""What facts about an installation mean: for each, whether it is well, what is wrong, and what to do. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from messaging.store.migrations import VERSION
from messaging.store.start import OLDEST_POSTGRES
from recado.terminal.doctor.diagnosis import Door, Finding, Level, door_findings

CLOCK_WARN, CLOCK_FAULT = 5.0, 30.0  # seconds; tokens allow for 30
DESCRIPTORS_FEW = 4096
DISK_FAULT, DISK_WARN = 100 * 1024**2, 1024**3  # bytes


@dataclass(frozen=True, slots=True)
class Database:
    """What the database says of itself. ``error``: why it says nothing."""

    error: str = ""
    version: int = 0  # such as 180006
    fsync: str = ""
    full_page_writes: str = ""
    synchronous_commit: str = ""
    clock_ahead: float = 0.0  # seconds before this machine's clock
    applied: dict[str, str] | None = None  # checksums by file, and the version; None: nothing was ever applied
    encoding: str = "UTF8"


@dataclass(frozen=True, slots=True)
class Bus:
    url: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    descriptors: int  # that a process may have open
    data_dir: str = ""  # "" where the database is not here
    disk_free: int = 0  # bytes


@dataclass(frozen=True, slots=True)
class Facts:
    database: Database
    bus: Bus
    machine: Machine
    doors: tuple[Door, ...] = ()
    shipped: dict[str, str] = field(default_factory=dict)  # checksums of this version's files
    unsafe_durability: bool = False
    token_from: str = ""  # where the token for the doors is from; "": there was none


def findings(facts: Facts) -> list[Finding]:
    """Every finding, in the order in which things depend on each other."""
    found = [*database_findings(facts)]
    found += [bus_finding(facts.bus)]
    found += [*door_findings(facts.doors, facts.token_from)]
    found += [*machine_findings(facts.machine)]
    return found


def database_findings(facts: Facts) -> Iterator[Finding]:
    database = facts.database
    if database.error:
        yield Finding("fault", "database", database.error, "Start it, or correct DATABASE_URL (DATA_DIR).")
        return
    yield version_finding(database.version)
    if database.encoding != "UTF8":
        text = f"its encoding is {database.encoding}, which can't hold every message"
        yield Finding("fault", "database", text, "Make one with: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0")
    yield durability_finding(database, facts.unsafe_durability)
    yield commit_finding(database.synchronous_commit)
    yield migrations_finding(database.applied, facts.shipped)
    yield clock_finding(database.clock_ahead)


def version_finding(version: int) -> Finding:
    text = f"PostgreSQL {version // 10000}.{version % 10000} answers"
    if version < OLDEST_POSTGRES:
        return Finding("fault", "database", f"{text}; that is too old", "Upgrade to PostgreSQL 14 or newer.")
    return Finding("ok", "database", text)


def durability_finding(database: Database, unsafe: bool) -> Finding:
    off = [name for name in ("fsync", "full_page_writes") if getattr(database, name) != "on"]
    if not off:
        return Finding("ok", "durability", "fsync and full_page_writes are on: what was committed survives a crash")
    text = f"{' and '.join(off)} {'is' if len(off) == 1 else 'are'} off: a crash may lose acknowledged messages"
    advice = f"Set {', '.join(f'{name}=on' for name in off)} in postgresql.conf and reload."
    if unsafe:
        return Finding("warn", "durability", f"{text}; UNSAFE_DURABILITY=1 allows it", advice)
    return Finding("fault", "durability", text, advice)


def commit_finding(setting: str) -> Finding:
    if setting == "off":
        text = "synchronous_commit is off by default here: Recado sets it on for its own commits, applications do not"
        return Finding("warn", "durability", text, "Set synchronous_commit=on where applications publish by SQL.")
    return Finding("ok", "durability", f"synchronous_commit is {setting}")


def migrations_finding(applied: dict[str, str] | None, shipped: dict[str, str]) -> Finding:
    if applied is None:
        return Finding("warn", "migrations", "the database is empty", "Start Recado once: it makes its tables.")
    newer = sorted(name for name in applied.keys() - shipped.keys() if name.startswith("migrations/"))
    if int(applied.get(VERSION, "0")) > int(shipped.get(VERSION, "0")):
        newer.append(f"version {applied[VERSION]} of schema and functions")
    missing = sorted(shipped.keys() - applied.keys())
    changed = sorted(name for name in applied.keys() & shipped.keys() if applied[name] != shipped[name])
    if newer:
        return Finding("fault", "migrations", f"a newer Recado was here (it has {newer[-1]})", "Install that version.")
    if edited := [name for name in changed if not name.startswith("functions") and name != VERSION]:
        return Finding("fault", "migrations", f"sql/{edited[0]} is not what was applied", "Put the file back.")
    if missing or changed:
        behind = ", ".join([*missing, *changed])
        return Finding("warn", "migrations", f"not applied yet: {behind}", "Restart Recado: it applies them.")
    return Finding("ok", "migrations", f"all {len(shipped.keys() - {VERSION})} files are applied")


def clock_finding(ahead: float) -> Finding:
    which = "ahead of" if ahead > 0 else "behind"
    text = f"the database's clock is {abs(ahead):.1f} s {which} this machine's"
    advice = "Let both machines keep time by NTP (timedatectl, chronyc tracking)."
    if abs(ahead) >= CLOCK_FAULT:
        return Finding("fault", "clock", f"{text}: tokens and lifetimes go wrong", advice)
    if abs(ahead) > CLOCK_WARN:
        return Finding("warn", "clock", text, advice)
    return Finding("ok", "clock", "this machine and the database agree")


def bus_finding(bus: Bus) -> Finding:
    if bus.error:
        text = f"{bus.url} does not carry notices: {bus.error}"
        return Finding("fault", "bus", f"{text}. Between nodes, messages come up to 10 s late", "Mend BUS_URL.")
    if bus.url == "local:":
        return Finding("ok", "bus", "local: one process needs no other; several need BUS_URL=postgres: or nats://…")
    return Finding("ok", "bus", f"a notice went through {bus.url} and came back")


def machine_findings(machine: Machine) -> Iterator[Finding]:
    if machine.descriptors < DESCRIPTORS_FEW:
        text = f"a process may have {machine.descriptors} files open, and each connection is one"
        advice = "Raise it: ulimit -n 65536, or LimitNOFILE=65536 in the systemd unit."
        yield Finding("warn", "descriptors", text, advice)
    else:
        yield Finding("ok", "descriptors", f"a process may have {machine.descriptors} files open")
    if machine.data_dir:
        text = f"{machine.disk_free / 1024**3:.1f} GiB are free in {machine.data_dir}"
        level: Level = "ok" if machine.disk_free >= DISK_WARN else "warn"
        level = "fault" if machine.disk_free < DISK_FAULT else level
        yield Finding(level, "disk", text, "" if level == "ok" else "Make room: a full disk stops every publish.")
