"""A BuasApp: `buas_app.py NAME PORT TOKEN INTEGRATOR`. What its users do comes as JSON lines; it prints what it hears.

It asks who there is once, at its start, shows no token for that, and deletes whom the answer leaves out. It knows rooms
of the types private and public alone, and users and platforms by what it has imported or was told.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

Json = dict[str, Any]


class App(HTTPServer):
    def __init__(self, name: str, port: int, token: str, integrator: str) -> None:
        self.name, self.token, self.integrator = name, token, integrator
        self.platforms: dict[str, bool] = {name: True}
        self.users: dict[tuple[str, str], str] = {}
        self.rooms: set[tuple[str, str]] = set()
        super().__init__(("127.0.0.1", port), Answering)

    def ask(self, path: str, body: Json | None = None) -> tuple[int, str]:
        """With requests' own headers: the type is JSON whatever is asked."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.integrator + path, data, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()

    def import_all(self) -> None:
        for platform in json.loads(self.ask("platforms")[1])["platforms"]:
            self.platforms[platform["name"]] = platform["supportAudio"] == "True"
            if platform["name"] != self.name:
                for user in platform["users"]:
                    self.users[platform["name"], str(user["id"])] = user["name"]

    def hear(self, path: str, body: Json) -> bool:
        """Whether it makes something of it."""
        if path == "user" and body["platform"] in self.platforms:
            self.users[body["platform"], str(body["id"])] = body["name"]
        elif path == "room" and body["type"] in ("private", "public"):
            self.rooms.add((body["platform"], str(body["id"])))
        elif path == "message":
            room = (body["roomOriginalPlatform"], str(body["roomId"]))
            sender = (body["senderPlatform"], str(body["senderId"]))
            return (room[0] == self.name or room in self.rooms) and sender in self.users
        else:
            return False
        return True


class Answering(BaseHTTPRequestHandler):
    server: App

    def do_GET(self) -> None:
        own = [{"id": 1, "name": f"{self.server.name}'s first", "platform": self.server.name}]
        self.answer("application/json", json.dumps({"users": own}))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path = self.path.removeprefix("/api/")
        say({"heard": path, "body": body, "taken": self.server.hear(path, body)})
        self.answer("text/html; charset=utf-8", "success")

    def answer(self, kind: str, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        return


def say(line: dict[str, object]) -> None:
    # One write: print() writes the end of a line for itself, and another thread's line may come between.
    os.write(sys.stdout.fileno(), json.dumps(line).encode() + b"\n")


def main() -> None:
    name, port, token, integrator = sys.argv[1:]
    app = App(name, int(port), token, integrator)
    threading.Thread(target=app.serve_forever, daemon=True).start()
    app.import_all()
    print("ready", json.dumps(app.platforms), flush=True)
    for line in sys.stdin:
        path, body = json.loads(line)
        say({"answered": app.ask(path, body | {"token": token})})


if __name__ == "__main__":
    main()
