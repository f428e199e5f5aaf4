"""A chat application that talks with all others through Recado. It asks for its news, so it needs no address.

curl -X POST http://127.0.0.1:5001/platforms -H 'Content-Type: application/json' -d '{"name": "Fourth"}'
TOKEN=… python examples/fourth_app.py
"""

import json
import os
import time
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

API = os.environ.get("RECADO_API", "http://127.0.0.1:5001")
HEADERS = {"Authorization": f"Bearer {os.environ['TOKEN']}", "Content-Type": "application/json"}


def ask(path: str, body: dict[str, Any] | None = None) -> bytes:
    """What Recado answers; where it is away, as soon as it is back. Asking twice is harmless."""
    data = json.dumps(body).encode() if body else None
    while True:
        try:
            with urlopen(Request(API + path, data, HEADERS), timeout=60) as answer:
                return bytes(answer.read())
        except OSError as exc:
            if isinstance(exc, HTTPError) and exc.code < 500:
                raise SystemExit(f"{path}: {exc.read().decode()}") from None
            time.sleep(1)


members = [{"Fourth": [1]}, {"recado": ["omar"]}]
ask("/user", {"id": 1, "name": "Eva"})
ask("/room", {"id": "lobby", "name": "Lobby", "type": "public", "users": members})
ask("/message", {"roomId": "lobby", "senderId": 1, "text": "Hello from a fourth app!", "id": f"hello {time.time()}"})
after = ""
while True:
    news = json.loads(ask(f"/events?wait=30{after}"))
    for event in news["events"]:
        said = event["data"]
        if event["type"] == "message.created":
            print(f"{said['senderName']} ({said['senderPlatform']}): {said['text']}", flush=True)
            room = {"roomOriginalPlatform": said["roomOriginalPlatform"], "roomId": said["roomId"]}
            ask("/message", {**room, "senderId": 1, "text": f"I heard: {said['text']}", "id": f"re {event['id']}"})
    after = f"&after={news['next']}"  # by asking for what comes after them, these are confirmed
