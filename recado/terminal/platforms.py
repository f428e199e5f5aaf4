"""`recado platforms` and `recado bridges`: how other systems fare, and what an operator does about it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, unquote, urlencode

from recado.client import Refused
from recado.terminal.access import Access
from recado.terminal.formatting import Paint, safe
from recado.terminal.options import add_server, moment
from recado.terminal.rest import Rest

Json = dict[str, Any]

PAGE = 500  # dead letters; the most that the server gives at once
MAX_REPLAYED = 1000  # dead letters; the most that the server replays at once
_SHOWN = 200  # characters of a dead letter
_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


@dataclass(frozen=True, slots=True)
class Server:
    """The API, and the headers of an operator."""

    rest: Rest
    headers: Mapping[str, str]

    async def ask(self, method: str, path: str, body: Json | None = None, tries: int = 3) -> Any:
        return await self.rest.ask(method, path, body, headers=self.headers, tries=tries)


@dataclass(frozen=True, slots=True)
class Kind:
    """What is listed and acted upon. ``path``: of all of them; the others of one, by its name."""

    word: str
    path: str
    dead: Callable[[str, int], str]  # a page of one's dead letters, after an id
    replay: Callable[[str, Json], tuple[str, Json]]

    def one(self, name: str, action: str = "") -> str:
        return f"{self.path}/{quote(name, safe='')}{action}"


Doing = Callable[[Kind, Server, argparse.Namespace], Coroutine[Any, Any, int | None]]  # an exit code; None: 0


def platform_kind() -> Kind:
    def dead(name: str, after: int) -> str:
        return f"/platforms/{quote(name, safe='')}/deliveries?{urlencode({'after': after, 'limit': PAGE})}"

    def replay(name: str, wish: Json) -> tuple[str, Json]:
        return f"/platforms/{quote(name, safe='')}/replay", wish

    return Kind("platform", "/platforms", dead, replay)


def bridge_kind() -> Kind:
    def dead(name: str, after: int) -> str:
        return f"/api/v1/dead-letters?{urlencode({'bridge': name, 'after': after, 'limit': PAGE})}"

    def replay(name: str, wish: Json) -> tuple[str, Json]:
        return "/api/v1/dead-letters/replay", {"bridge": name, **wish}

    return Kind("bridge", "/api/v1/bridges", dead, replay)


# --- options ---------------------------------------------------------------------------------------


def add_platforms_options(parser: argparse.ArgumentParser) -> None:
    actions = _add_actions(parser, platform_kind())
    add = _action(actions, "add", run_add, "register one; its token and secret are printed this once")
    add.add_argument("--url", help="where it is told its news (default: nowhere, it asks for them)")
    add.add_argument("--style", choices=("paths", "webhook", "pull"), help="default: webhook with --url, else pull")
    _action(actions, "rotate", run_rotate, "a new signing secret; the old one signs too for 24 hours")


def add_bridges_options(parser: argparse.ArgumentParser) -> None:
    _add_actions(parser, bridge_kind())


def _add_actions(parser: argparse.ArgumentParser, kind: Kind) -> Any:
    parser.add_argument("--json", action="store_true", help="as JSON")
    add_server(parser)
    parser.set_defaults(kind=kind, act=run_list)
    actions = parser.add_subparsers(metavar="ACTION", title="actions (none: list them)")
    _action(actions, "pause", run_pause, f"stop a {kind.word}; what comes for it is kept")
    _action(actions, "resume", run_resume, "go on, at once")
    _action(actions, "forget", run_forget, f"a {kind.word} is no more; what waits for it is dropped")
    _action(actions, "dead", run_dead, "what was given up, oldest first")
    replay = _action(actions, "replay", run_replay, "give another try to what was given up")
    replay.add_argument("ids", nargs="*", type=int, default=[], metavar="ID", help="dead letters (default: all)")
    replay.add_argument("--since", type=moment, default=None, metavar="TIME", help="that were given up from then on")
    replay.add_argument("--until", type=moment, default=None, metavar="TIME", help="that were given up before")
    replay.add_argument("--dry-run", action="store_true", default=False, help="only say how many they are")
    return actions


def _action(actions: Any, name: str, act: Doing, text: str) -> argparse.ArgumentParser:
    """Options that are not given again behind the action stay as they were given before it."""
    parser: argparse.ArgumentParser = actions.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + ".", argument_default=argparse.SUPPRESS
    )
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="as JSON")
    add_server(parser)
    parser.set_defaults(act=act)
    return parser


# --- what they do ----------------------------------------------------------------------------------


async def run(options: argparse.Namespace) -> int:
    access = Access.from_options(options, os.environ)
    async with Rest(access.api_url, lambda text: print(f"recado: {text}", file=sys.stderr)) as rest:
        try:
            return await options.act(options.kind, Server(rest, access.headers(None)), options) or 0
        except Refused as exc:
            raise Refused(exc.code, advised(exc, options)) from None


def advised(exc: Refused, options: argparse.Namespace) -> str:
    word = options.kind.word
    if exc.code in ("unauthorized", "forbidden"):
        return f"This is for who has the API key: --key KEY, or API_KEY. ({exc})"
    if exc.code in ("not_found", "unknown_bridge"):
        return f"There is no {word} {options.name!r}. `recado {word}s` lists them."
    return str(exc)


async def run_list(kind: Kind, server: Server, options: argparse.Namespace) -> None:
    found = await server.ask("GET", "/api/v1/bridges")
    if kind.word == "platform":
        found = [{**each, "name": unquote(each["name"])} for each in found if each["kind"] in ("platform", "rooms")]
    if options.json:
        print(safe(json.dumps(found, ensure_ascii=False)))
    elif not found:
        print(f"There is no {kind.word} yet." + (" `recado platforms add NAME` makes one." * (kind.word == "platform")))
    else:
        print("\n".join(table(found, Paint.for_stream(sys.stdout, os.environ), datetime.now(UTC))))


def table(found: list[Json], paint: Paint, now: datetime) -> list[str]:
    """A line for each: its state, what waits for it and how long already, what was given up, why."""
    colours = {"up": paint.good, "waiting": paint.warning, "paused": paint.warning, "failing": paint.bad}
    width = max(len(safe(each["name"])) for each in found)
    lines = []
    for each in found:
        name, state = safe(each["name"]), "paused" if each["paused"] else each["state"]
        words = [_waiting(each, now), f"{each['dead_letters']} dead" if each["dead_letters"] else ""]
        reason = safe(" ".join(each["reason"].split())) if each["reason"] else ""
        figures = ", ".join(word for word in words if word)
        line = [paint.bold(name) + " " * (width - len(name)), colours[state](state) + " " * (7 - len(state)), figures]
        lines.append("  ".join([*line, paint.faint(reason)]).rstrip())
    return lines


def _waiting(each: Json, now: datetime) -> str:
    if _comes_in(each):
        return "comes in"
    if not each["lag"]:
        return "0 to come"
    since = f" since {age(now - datetime.fromisoformat(each['oldest']))}" if each["oldest"] else ""
    return f"{each['lag']} to come{since}"


def age(span: timedelta) -> str:
    """A length of time in its largest unit."""
    seconds = max(0, int(span.total_seconds()))
    unit, length = next(((unit, length) for unit, length in _UNITS if seconds >= length), _UNITS[-1])
    return f"{seconds // length} {unit}"


async def run_pause(kind: Kind, server: Server, options: argparse.Namespace) -> None:
    found = await server.ask("POST", kind.one(options.name, "/pause"))
    kept = "nothing is taken from there" if _comes_in(found) else "what comes for it is kept"
    print(f"{safe(options.name)} is paused; {kept}. `recado {kind.word}s resume` goes on.")


async def run_resume(kind: Kind, server: Server, options: argparse.Namespace) -> None:
    found = await server.ask("POST", kind.one(options.name, "/resume"))
    print(f"{safe(options.name)} {'is read' if _comes_in(found) else 'gets what waits for it'}, from now on.")


def _comes_in(bridge: Json | None) -> bool:
    return bridge is not None and bridge.get("direction") == "in"


async def run_forget(kind: Kind, server: Server, options: argparse.Namespace) -> None:
    await server.ask("DELETE", kind.one(options.name))
    print(f"{safe(options.name)} is forgotten.")


async def run_dead(kind: Kind, server: Server, options: argparse.Namespace) -> None:
    found = await dead_letters(kind, server, options.name)
    if options.json:
        print(safe(json.dumps(found, ensure_ascii=False)))
    elif not found:
        print(f"{safe(options.name)} has no dead letters.")
    else:
        print("\n".join(dead_line(each) for each in found))


async def dead_letters(kind: Kind, server: Server, name: str) -> list[Json]:
    found: list[Json] = []
    while page := await server.ask("GET", kind.dead(name, found[-1]["id"] if found else 0)):
        found += page
    return found


def dead_line(each: Json) -> str:
    content = json.dumps(each["content"], ensure_ascii=False)
    shown = content if len(content) <= _SHOWN else content[:_SHOWN] + "…"
    return f"{each['id']}  {each['died_at']}  {safe(each['reason'])}\n    {safe(shown)}"


async def run_replay(kind: Kind, server: Server, options: argparse.Namespace) -> int:
    """Those that there are now: what dies once more meanwhile is not sent for ever."""
    ids = options.ids
    if not ids:
        found = await dead_letters(kind, server, options.name)
        ids = [each["id"] for each in found if each["replayable"]]
    times = {"since": options.since, "until": options.until}
    wish: Json = {name: time.isoformat() for name, time in times.items() if time is not None}
    count, refused = 0, []
    for start in range(0, len(ids), MAX_REPLAYED):
        portion = {"ids": ids[start : start + MAX_REPLAYED], "dry_run": options.dry_run}
        path, body = kind.replay(options.name, wish | portion)
        done = await server.ask("POST", path, body)
        count += done["count"]
        refused += done["refused"]
    print(f"{count} would be sent again." if options.dry_run else f"{count} on the way again.")
    for each in refused:
        print(f"recado: {each['id']} stays: {safe(each['reason'])}", file=sys.stderr)
    return 1 if refused else 0


async def run_add(kind: Kind, server: Server, options: argparse.Namespace) -> None:
    given = {name: getattr(options, name, None) for name in ("name", "url", "style")}
    body = {name: value for name, value in given.items() if value is not None}
    made = await server.ask("POST", kind.path, body, tries=1)  # once more, and its name would be taken
    if options.json:
        print(safe(json.dumps(made)))
    else:
        print(f"{safe(made['name'])} is known. Keep these, they are not shown again:\n"
              f"  token   {made['token']}\n  secret  {made['secret']}")  # fmt: skip


async def run_rotate(kind: Kind, server: Server, options: argparse.Namespace) -> None:
    made = await server.ask("POST", kind.one(options.name, "/rotate"), tries=1)  # twice, and the old one would be lost
    if options.json:
        print(safe(json.dumps(made)))
    else:
        print(f"The new secret of {safe(made['name'])}; the old one signs too for 24 hours:\n  {made['secret']}")
