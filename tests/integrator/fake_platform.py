"""A chat platform such as the first integrator served, as a process: `fake_platform.py KIND NAME PORT FOLDER USER…`.

It answers what those answer, knows what those know, and prints a line of JSON for each request that it gets. What it
was told it keeps in FOLDER, so that it can be killed. KIND hook is of today: one URL, and it looks at `webhook-id`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Habits:
    """How one kind behaves. ``kinds``: the types of room that it knows, and silently drops the others."""

    answer: tuple[str, bytes]
    pongs: bool
    lists_strangers: bool  # GET users has those of other platforms, too
    kinds: frozenset[str] = frozenset({"private", "public"})
    knows_ids: bool = False  # what it has under its webhook-id already is not taken again


HABITS = {
    "buas": Habits(("text/html; charset=utf-8", b"success"), pongs=False, lists_strangers=True),
    "gwt": Habits(("application/json", b'{"status":"ok"}'), pongs=True, lists_strangers=False),
    "net": Habits(("text/plain", b""), pongs=True, lists_strangers=False),
    "hook": Habits(("text/plain", b""), pongs=False, lists_strangers=False, knows_ids=True),
}


@dataclass
class Memory:
    """What a platform knows: users and rooms by (platform, id), and the messages that it shows to somebody."""

    name: str
    kinds: frozenset[str]
    users: dict[tuple[str, str], str] = field(default_factory=dict)
    rooms: dict[tuple[str, str], Json] = field(default_factory=dict)

    def take(self, path: str, body: Json) -> bool:
        """Whether it does something with it: nobody's messages and rooms of types that it does not know are dropped."""
        if path == "user":
            self.users[body["platform"], str(body["id"])] = body["name"]
        elif path == "room":
            if body["type"] not in self.kinds:
                return False
            self.rooms[body["platform"], str(body["id"])] = body
        elif path == "message":
            at = (body["roomOriginalPlatform"], str(body["roomId"]))
            sender = (body["senderPlatform"], str(body["senderId"]))
            return (at[0] == self.name or at in self.rooms) and sender in self.users
        return True


class FakePlatform(HTTPServer):
    def __init__(self, kind: str, name: str, port: int, folder: Path, users: list[Any]) -> None:
        self.habits, self.name = HABITS[kind], name
        self.own = [{"id": user, "name": f"{name} {user}", "platform": name} for user in users]
        self.memory = Memory(name, self.habits.kinds)
        self.ids: set[str] = set()
        self.journal = folder / f"{name}.jsonl"
        for line in self.journal.read_text().splitlines() if self.journal.exists() else ():
            path, body, identity = json.loads(line)
            self.memory.take(path, body)
            self.ids.add(identity)
        for user in self.own:
            self.memory.take("user", user)
        super().__init__(("127.0.0.1", port), Answering)

    def told(self, path: str, text: str, headers: dict[str, str]) -> None:
        body, identity = json.loads(text), headers.get("webhook-id", "")
        if path == "hook":
            path, body = body["type"].partition(".")[0], body["data"]
        again = identity in self.ids
        with self.journal.open("a") as journal:
            journal.write(json.dumps([path, body, identity]) + "\n")
        self.ids.add(identity)
        taken = not (again and self.habits.knows_ids) and self.memory.take(path, body)
        line = {"path": path, "body": body, "text": text, "taken": taken, "again": again, "headers": headers}
        print(json.dumps(line), flush=True)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who asked may have gone before it was answered."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def listed(self) -> list[Json]:
        if not self.habits.lists_strangers:
            return self.own
        return [{"id": key, "name": name, "platform": of} for (of, key), name in self.memory.users.items()
                if of != self.name] + self.own  # fmt: skip


class Answering(BaseHTTPRequestHandler):
    server: FakePlatform
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        if self.path == "/api/users":
            return self.answer(200, "application/json", json.dumps({"users": self.server.listed()}).encode())
        return self.answer(404, "text/html", b"Not Found")

    def do_POST(self) -> None:
        path = self.path.removeprefix("/api/")
        text = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if path not in ("user", "room", "message", "hook") and not (path == "pong" and self.server.habits.pongs):
            return self.answer(404, "text/html", b"Not Found")
        self.server.told(path, text, {name.lower(): value for name, value in self.headers.items()})
        return self.answer(200, *self.server.habits.answer)

    def answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


def main() -> None:
    kind, name, port, folder, *users = sys.argv[1:]
    server = FakePlatform(kind, name, int(port), Path(folder), [json.loads(user) for user in users])
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
