"""The doctor: every finding by its facts, and every ailment that can be made found in a real installation."""

import json
from dataclasses import replace

import asyncpg
import pytest
from terminal_support import Server, command, environment, soon

from messaging.store.migrations import shipped
from recado.terminal.doctor.diagnosis import Door, Finding
from recado.terminal.doctor.doctor import report
from recado.terminal.formatting import Paint
from standalone.doctor.diagnosis import Bus, Database, Facts, Machine, findings
from standalone.doctor.probes import embedded_dsn
from support import ws as ws_support
from support.places import free_port
from support.waiting import until
from support.ws import SECRET, running

pytest_plugins = ["terminal_support"]

FILES = {"schema.sql": "a", "migrations/0001.sql": "b", "functions.sql": "c"}
HEALTHY = Facts(
    database=Database("", 180006, "on", "on", "on", 0.1, FILES),
    bus=Bus("postgres:"),
    machine=Machine(20000, "data", 10 * 1024**3),
    doors=(Door("ws://n1", "WebSocket", ready=True, accepts=True), Door("http://n1", "API", ready=True, accepts=True)),
    shipped=FILES,
    token_from="the secret here",
)


def worst(facts: Facts) -> list[Finding]:
    return [finding for finding in findings(facts) if finding.level != "ok"]


def database(**changes: object) -> Facts:
    return replace(HEALTHY, database=replace(HEALTHY.database, **changes))  # type: ignore[arg-type]


def one_door(**changes: object) -> Facts:
    return replace(HEALTHY, doors=(replace(HEALTHY.doors[0], **changes),))  # type: ignore[arg-type]


def test_a_healthy_installation_has_no_findings_but_good_ones() -> None:
    assert worst(HEALTHY) == []
    assert len(findings(HEALTHY)) == 12


@pytest.mark.parametrize(
    ("facts", "level", "word"),
    [
        (database(error="PostgreSQL can't be reached"), "fault", "reached"),
        (database(version=130014), "fault", "13.14"),
        (database(fsync="off"), "fault", "fsync is off"),
        (database(fsync="off", full_page_writes="off"), "fault", "fsync and full_page_writes are off"),
        (replace(database(fsync="off"), unsafe_durability=True), "warn", "UNSAFE_DURABILITY"),
        (database(synchronous_commit="off"), "warn", "synchronous_commit"),
        (database(applied=None), "warn", "empty"),
        (database(applied={"schema.sql": "a"}), "warn", "0001"),
        (database(applied=FILES | {"functions.sql": "z"}), "warn", "functions.sql"),
        (database(applied=FILES | {"schema.sql": "z"}), "fault", "schema.sql"),
        (database(applied=FILES | {"migrations/0009.sql": "z"}), "fault", "newer"),
        (database(clock_ahead=60.0), "fault", "60.0 s ahead of"),
        (database(clock_ahead=-60.0), "fault", "60.0 s behind"),
        (database(clock_ahead=30.0), "fault", "tokens"),
        (database(clock_ahead=-6.0), "warn", "6.0 s behind"),
        (replace(HEALTHY, bus=Bus("nats://n", "refused")), "fault", "refused"),
        (one_door(error="refused"), "fault", "no answer"),
        (one_door(ready=False, reason="HTTP 503"), "fault", "503"),
        (one_door(accepts=False, reason="Signature"), "fault", "Signature"),
        (one_door(accepts=None, reason="HTTP 500"), "warn", "500"),
        (replace(one_door(accepts=None), token_from=""), "warn", "no token"),
        (replace(HEALTHY, machine=Machine(1024)), "warn", "1024"),
        (replace(HEALTHY, machine=Machine(20000, "data", 5 * 1024**2)), "fault", "0.0 GiB"),
        (replace(HEALTHY, machine=Machine(20000, "data", 500 * 1024**2)), "warn", "0.5 GiB"),
    ],
)
def test_each_ailment_is_found_alone_and_comes_with_advice(facts: Facts, level: str, word: str) -> None:
    found = [finding for finding in worst(facts) if finding.level == level]

    assert len(found) == 1
    assert word in found[0].text
    assert found[0].advice


@pytest.mark.parametrize("ahead", [0.0, 4.9, -4.9, 5.0])
def test_a_few_seconds_between_clocks_are_well(ahead: float) -> None:
    assert worst(database(clock_ahead=ahead)) == []


def test_the_report_has_a_line_for_each_and_counts() -> None:
    text = report(findings(database(fsync="off", clock_ahead=6.0)), Paint())

    assert "fault  durability: fsync is off" in text
    assert "       → Set fsync=on" in text
    assert text.endswith("1 fault, 1 warning.")
    assert report([Finding("ok", "x", "y")], Paint()).endswith("no faults, no warnings.")


# --- real ones -------------------------------------------------------------------------------------


Findings = dict[str, list[tuple[str, str]]]


def by_subject(out: str) -> Findings:
    found: Findings = {}
    for finding in json.loads(out):
        found.setdefault(finding["subject"].split()[0], []).append((finding["level"], finding["text"]))
    return found


async def examine(server: Server, *arguments: str, **environ: str) -> tuple[int, Findings]:
    code, out, error = await server.run("doctor", "--json", *arguments, **environ)
    assert error == ""
    return code, by_subject(out)


async def test_a_running_server_is_well(server: Server) -> None:
    code, out, _ = await server.run("doctor")

    assert code == 0, out
    assert out.endswith("no faults, no warnings.\n")


async def test_nodes_without_a_secret_here_are_compared_by_a_token_of_the_api(server: Server) -> None:
    api = f"http://127.0.0.1:{server.ports['API_PORT']}"
    _, found = await examine(server, "--api", api)

    assert ("ok", f"accepts a token from the API at {api}") in found["WebSocket"]


async def test_fsync_that_is_off_is_found(server: Server) -> None:
    admin = await asyncpg.connect(embedded_dsn(server.data_dir))
    try:
        await admin.execute("ALTER SYSTEM SET fsync = off")
        await admin.execute("SELECT pg_reload_conf()")

        async def off() -> bool:
            return bool(await admin.fetchval("SHOW fsync") == "off")

        await until(off)
        code, found = await examine(server)
    finally:
        await admin.execute("ALTER SYSTEM RESET fsync")
        await admin.execute("SELECT pg_reload_conf()")
        await admin.close()

    assert code == 1
    assert ("fault", "fsync is off: a crash may lose acknowledged messages") in found["durability"]


async def test_a_node_with_another_secret_is_found(
    server: Server, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(database) as good:
        monkeypatch.setattr(ws_support, "SECRET", "another secret, of 32 bytes or more, by mistake")
        async with running(database) as bad:
            code, found = await examine(
                server, "--ws", good.url, "--node", bad.url, DATABASE_URL=database, JWT_SECRET=SECRET
            )

    assert code == 1
    assert ("ok", "accepts a token from the secret here") in found["WebSocket"]
    assert [level for level, text in found["WebSocket"] if "refuses a token" in text] == ["fault"]
    assert ("ok", "a notice went through postgres: and came back") in found["bus"]


@pytest.mark.parametrize("scheme", ["nats", "postgresql"])
async def test_a_bus_that_cannot_be_reached_is_found(server: Server, scheme: str) -> None:
    code, found = await examine(server, BUS_URL=f"{scheme}://nobody:secret@127.0.0.1:{free_port()}")

    assert code == 1
    assert found["bus"][0][0] == "fault"
    assert "10 s late" in found["bus"][0][1]
    assert "secret" not in found["bus"][0][1]


async def test_a_database_and_doors_that_cannot_be_reached_are_found(server: Server) -> None:
    code, found = await examine(
        server, "--api", f"http://127.0.0.1:{free_port()}", "--ws", f"ws://127.0.0.1:{free_port()}",
        DATABASE_URL=f"postgresql://nobody@127.0.0.1:{free_port()}/none",
    )  # fmt: skip

    assert code == 1
    assert [found[subject][0][0] for subject in ("database", "WebSocket", "API")] == ["fault"] * 3


async def test_a_database_that_was_never_used_is_told(server: Server, postgres_dsn: str) -> None:
    _, found = await examine(server, DATABASE_URL=postgres_dsn.replace("/recado?", "/postgres?"))

    assert found["migrations"] == [("warn", "the database is empty")]


async def test_too_few_descriptors_are_found(server: Server) -> None:
    limited = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024));"
    run = "import sys; sys.argv = ['recado', 'doctor', '--json']; from recado.__main__ import main; main()"
    process = await command("-c", limited + run, environ=server.environ)
    out, _ = await soon(process.communicate())

    assert process.returncode == 0
    level, text = by_subject(out.decode())["descriptors"][0]
    assert level == "warn"
    assert "1024" in text


async def test_a_wrong_setting_is_a_finding() -> None:
    process = await command("-m", "recado", "doctor", "--json", environ=environment(WORKERS="none"))
    out, _ = await soon(process.communicate())

    assert process.returncode == 1
    assert by_subject(out.decode())["settings"][0][0] == "fault"


def test_what_is_shipped_is_what_is_applied() -> None:
    assert {"schema.sql", "functions.sql"} <= shipped().keys()
