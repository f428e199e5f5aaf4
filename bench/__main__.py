"""`python -m bench [--json FILE]`: measure, and print a table. Takes one to three minutes."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

from bench import integrator, measures, news, rig
from standalone.postgres import PostgresError

FAN_OUTS = {"fan_out_single": "one message at a time", "fan_out_burst": f"bursts of {measures.BURST}"}


def say(text: str) -> None:
    print(f"  … {text}", file=sys.stderr, flush=True)


async def measure() -> dict[str, Any]:
    rig.allow_files()
    with tempfile.TemporaryDirectory(prefix="recado-bench-") as name:
        folder = Path(name)
        say("compiling the load, starting PostgreSQL")
        program = rig.compile_load(folder)
        async with rig.database(folder) as db:
            results: dict[str, Any] = {
                "machine": {
                    "cores": len(os.sched_getaffinity(0)),
                    "system": f"{platform.system()} {platform.machine()}",
                    "python": platform.python_version(),
                    "postgres": (await db.sql.fetchval("SHOW server_version")).split()[0],
                    "load_average": os.getloadavg()[0],
                    "flush_ms": rig.flush_time(folder),
                }
            }
            results["memory"] = await measures.memory(db, program, say)
            results["sql_commit"] = await measures.sql_commit(db, say)
            results["integrator"] = await integrator.measure(db, say)
            results["news"] = await news.measure(db, say)
            results["latency"], results["publish"] = await measures.publish(db, program, say)
            results["fan_out_single"], results["fan_out_burst"] = await measures.fan_out(db, program, say)
    return results


def table(results: dict[str, Any]) -> str:
    """The results as text, in Markdown."""
    machine, memory, latency = results["machine"], results["memory"], results["latency"]
    commit = results["sql_commit"]
    lines = [
        f"{machine['cores']} cores, {machine['system']}, Python {machine['python']}, PostgreSQL {machine['postgres']};"
        f" one flush to the disk takes {machine['flush_ms']:.2f} ms;"
        f" load average before the run: {machine['load_average']:.1f}",
        "",
        f"| fan-out, 1 → {measures.MEMBERS} | p50 / p99 ms | deliveries/s | CPU µs each | ratio |",
        "|---|---|---|---|---|",
    ]
    for key, text in FAN_OUTS.items():
        ratio = results[key]["ratio_to_raw"]
        lines += [
            f"| {text}{whose} | {row['p50_ms']:.1f} / {row['p99_ms']:.1f} | {row['deliveries_per_s']:,.0f}"
            f" | {row['cpu_us_per_delivery']:.2f} | {ratio if row is results[key]['recado'] else 1:.2f} |"
            for whose, row in (("", results[key]["recado"]), (", send(2) in C", results[key]["raw"]))
        ]
    lines += [
        "",
        f"| publish with receipt, {measures.PUBLISHERS} connections | in flight each | per second | p50 / p99 ms"
        " | CPU µs each: server, database | cores of the load | INSERTs/s | ratio |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['to']} | {row['in_flight']} | {row['per_s']:,.0f} | {row['p50_ms']:.1f} / {row['p99_ms']:.1f}"
        f" | {row['server_us_per_message']:.0f}, {row['database_us_per_message']:.0f} | {row['load_cores']:.2f}"
        f" | {row['raw_inserts_per_s']:,.0f} | {row['ratio_to_raw']:.1f} |"
        for row in results["publish"]
    ]
    lines += [
        "",
        f"One publish alone, until its receipt: p50 {latency['p50_ms']:.2f} ms, p99 {latency['p99_ms']:.2f} ms",
        *integrator.lines(results["integrator"]),
        *news.lines(results["news"]),
        f"A commit in SQL, until a member has it: p50 {commit['p50_ms']:.1f} ms, p99 {commit['p99_ms']:.1f} ms",
        f"Memory: {memory['base_mib']:.0f} MiB, and {memory['kib_per_session']:.1f} KiB for each idle session"
        f" ({measures.SESSIONS} of them; {memory['handshakes_per_s']:,.0f} handshakes/s)",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Recado on this machine.")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the numbers there")
    options = parser.parse_args()
    start = time.monotonic()
    try:
        results = uvloop.run(measure())
    except KeyboardInterrupt:
        sys.exit("bench: interrupted")
    except (rig.Unable, PostgresError) as exc:
        sys.exit(f"bench: {exc}")
    print(f"\n{table(results)}\n\nTook {time.monotonic() - start:.0f} s.")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
        print(f"The numbers are in {options.json}.")


if __name__ == "__main__":
    main()
