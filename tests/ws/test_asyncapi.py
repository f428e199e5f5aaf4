"""The AsyncAPI description is what the types say, and every frame of a conversation fits it."""

from __future__ import annotations

import json
from typing import Any

import jsonschema

from api.asyncapi import document
from api.routes import pages
from support.ws import receive, running, send


def test_the_api_serves_it() -> None:
    served = {route.path for route in pages.routes([])}
    assert {"/openapi.json", "/asyncapi.json"} <= served


def checker(name: str) -> jsonschema.Draft202012Validator:
    described = document()
    schema = {**described["components"]["schemas"][name], "components": described["components"]}
    return jsonschema.Draft202012Validator(schema)


def described_as(frame: dict[str, Any]) -> list[str]:
    """The names of the messages that a frame may be."""
    names = document()["components"]["messages"]
    return [name for name in names if checker(name).is_valid(frame)]


def test_every_reference_leads_somewhere() -> None:
    described = document()

    def follow(node: Any) -> None:
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                target: Any = described
                for part in node["$ref"].removeprefix("#/").split("/"):
                    target = target[part]
            for child in node.values():
                follow(child)
        elif isinstance(node, list):
            for child in node:
                follow(child)

    follow(described)


async def test_every_frame_of_a_conversation_is_described(database: str) -> None:
    sent: list[dict[str, Any]] = [
        {"action": "subscribe", "topic_name": "general", "ref": "1"},
        {"action": "suscribe", "topic_name": "general"},
        {"action": "invite", "topic_name": "general", "username": "ben"},
        {"action": "message", "topic_name": "general", "content": {"a": [1, None]}, "id": "k", "ttl": 60},
        {"action": "message", "topic_name": "nowhere", "content": 1},
        {"action": "ack", "topic_name": "general", "seq": 1},
        {"action": "history", "topic_name": "general", "limit": 10},
        {"action": "topics"},
        {"action": "unsubscribe", "topic_name": "general"},
        {"action": "nonsense"},
        {"action": "disconnect"},
    ]
    got: list[dict[str, Any]] = []
    async with running(database) as recado:
        await recado.node.actions.know("ben")
        async with recado.client("ana", "?heartbeat=1") as ana, recado.client("ben") as ben:
            got += [await receive(ana), await receive(ben)]
            for frame in sent:
                await send(ana, **frame)
            async for raw in ana:
                got.append(json.loads(raw))
            got += [await receive(ben, "invited"), await receive(ben, "message")]
    for frame in sent[:-2] + sent[-1:]:
        assert described_as(frame), frame
    for frame in got:
        assert described_as(frame), frame
    seen = "connected subscribe invite message error history topics unsubscribe heartbeat invited"
    assert set(seen.split()) == {frame["action"] for frame in got}
