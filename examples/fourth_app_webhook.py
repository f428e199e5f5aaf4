"""The same application with a webhook: Recado calls it, so it needs an address, and no loop.

    INTEGRATOR_ALLOW_NETS=127.0.0.0/8 make run          # an address of this machine is refused otherwise
    curl -X POST http://127.0.0.1:5001/platforms -H 'Content-Type: application/json' \\
         -d '{"name": "Hook", "url": "http://127.0.0.1:8080/"}'
    TOKEN=… SECRET=whsec_… python examples/fourth_app_webhook.py
"""

import base64
import hmac
import json
import os
import time
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.request import Request, urlopen

API = os.environ.get("RECADO_API", "http://127.0.0.1:5001")
HEADERS = {"Authorization": f"Bearer {os.environ['TOKEN']}", "Content-Type": "application/json"}
seen: set[str] = set()  # a real application keeps it with what it has done


def is_signed(headers: Message, body: bytes) -> bool:
    """Standard Webhooks, without a library. With one: Webhook(secret).verify(body, headers)."""
    key = base64.b64decode(os.environ["SECRET"].removeprefix("whsec_"))
    identity, sent_at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "0")
    ours = b"v1," + base64.b64encode(hmac.digest(key, f"{identity}.{sent_at}.".encode() + body, "sha256"))
    signatures = headers.get("webhook-signature", "").encode().split()
    return any(hmac.compare_digest(ours, each) for each in signatures) and abs(time.time() - int(sent_at)) < 300


def say(path: str, **body: object) -> None:
    urlopen(Request(API + path, json.dumps(body).encode(), HEADERS), timeout=10).close()


class Hook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if is_signed(self.headers, body):
            event, identity = json.loads(body), self.headers["webhook-id"]
            if event["type"] == "message.created" and identity not in seen:
                self.hear(event["data"], identity)
            seen.add(identity)
            self.send_response(204)  # only now: what fails above is sent again
        else:
            self.send_response(401)
        self.end_headers()

    def hear(self, said: dict[str, Any], identity: str) -> None:
        print(f"{said['senderName']} ({said['senderPlatform']}): {said['text']}", flush=True)
        room = {"roomOriginalPlatform": said["roomOriginalPlatform"], "roomId": said["roomId"]}
        say("/message", **room, senderId=1, text=f"I heard: {said['text']}", id=f"re {identity}")


server = HTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8080"))), Hook)
say("/user", id=1, name="Eva")
say("/room", id="lobby", name="Lobby", type="public", users=[{"Hook": [1]}, {"recado": ["omar"]}])
say("/message", roomId="lobby", senderId=1, text="Hello from a webhook!")
server.serve_forever()
