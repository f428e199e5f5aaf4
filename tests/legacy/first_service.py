"""The first WebSocket service, as far as others see it: `first_service.py PORT REST_ADDRESS SECRET`.

It keeps nothing: topics, members and what is pending it asks of the REST service, with requests' own headers and JSON,
and what it is answered it uses without a look: a field that is missing ends what it was doing.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import sys
from typing import Any
from urllib.parse import urlencode, urlsplit

import jwt
from websockets.asyncio.server import ServerConnection, serve

HEADERS = {"User-Agent": "python-requests/2.31.0", "Accept-Encoding": "gzip, deflate", "Accept": "*/*"}

Json = dict[str, Any]


class Rest:
    """The calls that it makes, one connection each."""

    def __init__(self, address: str) -> None:
        self._place = urlsplit(address).netloc

    async def ask(self, method: str, path: str, body: Json | None = None, **query: str) -> tuple[int, Any]:
        return await asyncio.to_thread(self._ask, method, path, body, query)

    def _ask(self, method: str, path: str, body: Json | None, query: dict[str, str]) -> tuple[int, Any]:
        line = http.client.HTTPConnection(self._place, timeout=30)
        target = f"/api/v1{path}" + (f"?{urlencode(query)}" if query else "")
        data = None if body is None else json.dumps(body).encode()
        line.request(method, target, data, HEADERS | ({} if data is None else {"Content-Type": "application/json"}))
        answer = line.getresponse()
        status, text = answer.status, answer.read()
        line.close()
        return status, json.loads(text)


class Service:
    def __init__(self, rest: Rest, secret: str) -> None:
        self._rest = rest
        self._secret = secret
        self._connected: dict[str, ServerConnection] = {}

    async def handle(self, socket: ServerConnection) -> None:
        """Where the token is bad the seed closes without a word."""
        assert socket.request is not None
        try:
            user = jwt.decode(socket.request.path[1:], self._secret, ["HS256"])["sub"]
        except jwt.PyJWTError:
            return
        self._connected[user] = socket
        try:
            await self._give_pending(user)
            await socket.send('{"action": "heartbeat"}')
            async for text in socket:
                frame = json.loads(text)
                if frame["action"] == "disconnect":
                    return
                await self._obey(user, frame)
        finally:
            del self._connected[user]

    async def _give_pending(self, user: str) -> None:
        _, pending = await self._rest.ask("GET", "/messages", user=user)
        for message in pending["messages"]:
            del message["not_delivered_to_user_id_topic"]
            await self._send(user, message)
        await self._rest.ask("PUT", "/messages", pending | {"user": user})

    async def _obey(self, user: str, frame: Json) -> None:
        topic = frame["topic_name"]
        if frame["action"] == "message":
            await self._pass_on(user, topic, frame["content"])
            return
        invited = {"user": frame["username"], "user_source": user} if frame["action"] == "invite" else {"user": user}
        status, _ = await self._rest.ask("PUT", "/topics", {"topic_name": topic, **invited})
        result = "ok" if status == 200 else "error"
        await self._send(user, {"action": frame["action"], "topic_name": topic, "result": result})

    async def _pass_on(self, user: str, topic: str, content: Any) -> None:
        status, found = await self._rest.ask("GET", "/topics", topic_name=topic)
        if status != 200:
            await self._send(user, {"topic": "error", "topic_name": topic, "message": "Topic not found"})
        elif found["is_user"]:
            await self._send(topic, {"user_source": user, "content": content})
        elif user not in found["members"]:
            await self._send(user, {"topic": "error", "topic_name": topic, "message": "You are not a member"})
        else:
            for member in found["members"]:
                await self._send(member, {"topic_name": topic, "content": content})

    async def _send(self, user: str, message: Json) -> None:
        """To its socket, or to be kept for it."""
        if user in self._connected:
            await self._connected[user].send(json.dumps(message))
            return
        status, _ = await self._rest.ask("POST", "/messages", message | {"user": user})
        assert status == 201, "it would be lost"


async def main() -> None:
    port, address, secret = sys.argv[1:]
    async with serve(Service(Rest(address), secret).handle, "127.0.0.1", int(port)) as server:
        print("ready", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
