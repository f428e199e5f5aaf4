"""`python -m hostile [ROW…]`: attack a real Recado row by row, and print what that does to somebody else."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from hostile import brokers, connections, lines, memberships, peers, strangers
from hostile.bystander import percentile
from hostile.measuring import Found, Row
from hostile.rig import Unable, rig

ATTACKS: dict[str, tuple[str, Callable[[Row], Awaitable[None]]]] = {
    "A1": ("bursts that end with a close frame", peers.bursts),
    "A2": ("a price of 12,000 digits", peers.digits),
    "A3": ("numbers that hash alike", peers.colliding_numbers),
    "A4": ("an AMQP property nobody can read", brokers.property_of_amqp),
    "A5": ("a NATS subject that is no UTF-8", brokers.subject_of_nats),
    "A6": ("somebody listens to all of NATS", brokers.listener_to_everything),
    "A8": ("suspended, and the bus line reset", brokers.bus_reset),
    "A9": ("a line silent at a COMMIT", lines.silent_commit),
    "A10": ("all lines silent, new ones work", lines.silent_lines),
    "A13": ("the bridges' leader silent", lines.silent_leader),
    "A16": ("a stranger on the bus", strangers.on_the_bus),
    "A17": ("a stranger holds locks", strangers.with_locks),
    "A18": ("one of two workers stopped", peers.stopped_worker),
    "C1": ("one of 100,000 memberships reconnects", memberships.reconnecting),
    "C1n": ("the same, over a bus of NATS", memberships.reconnecting_over_nats),
    "C2": ("answers that nobody takes", connections.answers_not_taken),
    "C3": ("1,100 sockets that say nothing", connections.silent_sockets),
    "C4": ("frames that are no messages", peers.no_messages),
    "C5": ("48 sessions of one user publish 60 KB each", peers.large_messages),
    "C6": ("16 users with 64 streams each", connections.all_streams),
}


async def attack(name: str, seconds: float) -> Found:
    row: Row | None = None
    try:
        async with rig() as made:
            row = Row(made, seconds)
            try:
                await ATTACKS[name][1](row)
            except (Exception, pytest.fail.Exception, pytest.skip.Exception) as exc:  # one row less, not the others
                traceback.print_exc()
                row.found.check(False, f"{type(exc).__name__}: {exc}")
            for server in made.servers if not row.found.holds else ():
                print(f"--- {name}, the last words of process {server.pid}:\n{server.log[-1500:]}", file=sys.stderr)
            return row.found
    except Exception as exc:
        traceback.print_exc()
        found = row.found if row is not None else Found()
        found.check(False, f"the end: {type(exc).__name__}: {exc}")
        return found


def shown(name: str, found: Found) -> str:
    before, under, after = found.times or [[], [], []]
    bad = [text for good, text in found.checks if not good]
    good = [text for good, text in found.checks if good]
    verdict = "holds" if found.holds else "**fails**: " + "; ".join(bad).replace("\n", " ").replace("|", "/")
    return (
        f"| {name} {ATTACKS[name][0]} | {_both(before)} | {_both(under)} | {_ms(after, 0.99)} | {found.memory:+.0f}"
        f" | {verdict} | {'; '.join(good)} |"
    )


def _both(times: list[float]) -> str:
    return f"{_ms(times, 0.5)} / {_ms(times, 0.99)}"


def _ms(times: list[float], share: float) -> str:
    return f"{percentile(times, share) * 1000:.0f}"


async def main(names: list[str], seconds: float) -> bool:
    this = asyncio.current_task()
    assert this is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    results: dict[str, Found] = {}
    try:
        for name in names:
            print(f"  … {name} {ATTACKS[name][0]}", file=sys.stderr, flush=True)
            results[name] = await attack(name, seconds)
    finally:
        print(
            f"\n{len(os.sched_getaffinity(0))} cores, {platform.system()} {platform.machine()}, {seconds:.0f} s each;"
            f" load average {os.getloadavg()[0]:.1f}\n\n"
            "| attack | before: p50 / p99 ms | under it | after: p99 | MiB | verdict | what holds |\n"
            "|---|---|---|---|---|---|---|"
        )
        for name, found in results.items():
            print(shown(name, found), flush=True)
    return all(found.holds for found in results.values())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m hostile", description="Attack Recado, and see who is hurt.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {' '.join(ATTACKS)}; all of them by default")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each phase: before, under, after")
    options = parser.parse_args()
    if wrong := set(options.rows) - set(ATTACKS):
        parser.error(f"there is no row {' '.join(sorted(wrong))}")
    start = time.monotonic()
    try:
        holds = uvloop.run(main(options.rows or list(ATTACKS), options.seconds))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit("hostile: interrupted")
    except Unable as exc:
        sys.exit(f"hostile: {exc}")
    print(f"\nTook {time.monotonic() - start:.0f} s.")
    sys.exit(0 if holds else 1)
