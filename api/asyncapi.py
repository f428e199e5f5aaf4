"""The AsyncAPI 3 description of the WebSocket door, made from the types of `messaging.frames`.

Operations are seen from the application that connects: it sends commands and receives the rest.
"""

from __future__ import annotations

from typing import Any, get_args

import msgspec

from messaging import frames
from messaging.frames import AnyCommand
from messaging.settings.settings import Settings

ANSWERS: dict[str, type[msgspec.Struct]] = {
    "Subscribe": frames.Done,
    "Suscribe": frames.Done,
    "Unsubscribe": frames.Done,
    "Invite": frames.Done,
    "Publish": frames.Done,
    "History": frames.HistoryPage,
    "Topics": frames.TopicList,
}


def replies() -> list[type[msgspec.Struct]]:
    return list(dict.fromkeys(ANSWERS.values()))


def pushes() -> list[type[msgspec.Struct]]:
    return [kind for kind in frames.Push.__subclasses__() if kind not in ANSWERS.values()]


def document() -> dict[str, Any]:
    """The description as plain data."""
    commands: tuple[type[msgspec.Struct], ...] = get_args(AnyCommand)
    everything = (*commands, *replies(), *pushes())
    _, schemas = msgspec.json.schema_components(everything, ref_template="#/components/schemas/{name}")
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Recado over WebSocket",
            "version": "1",
            "description": "Every frame is one JSON object as text. A request's `ref` comes back in its replies.",
        },
        "servers": {"recado": {"host": f"127.0.0.1:{Settings().ws_port}", "protocol": "ws"}},
        "channels": {"session": _channel(everything)},
        "operations": {
            **{f"send{command.__name__}": _sends(command) for command in commands},
            **{f"receive{push.__name__}": _operation("receive", push) for push in pushes()},
        },
        "components": {"schemas": schemas, "messages": {kind.__name__: _message(kind) for kind in everything}},
    }


def _channel(kinds: tuple[type[msgspec.Struct], ...]) -> dict[str, Any]:
    return {
        "address": "/{token}",
        "parameters": {"token": {"description": "A token, or a one-use ticket."}},
        "messages": {kind.__name__: {"$ref": f"#/components/messages/{kind.__name__}"} for kind in kinds},
        "bindings": {
            "ws": {
                "method": "GET",
                "query": {
                    "type": "object",
                    "properties": {
                        "device": {"type": "string", "description": "A cursor of its own."},
                        "ack": {"const": "explicit", "description": "Acks move cursors, pongs do not."},
                        "heartbeat": {"const": "1", "description": "A JSON heartbeat every 30 s."},
                        "epoch": {"const": "1", "description": "A push `topic` before the first frame of each topic."},
                    },
                },
            }
        },
        "x-close-codes": {str(code.value): code.meaning for code in frames.CloseCode},
    }


def _message(kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {
        "name": kind.__name__,
        "summary": (kind.__doc__ or "").strip().split("\n")[0],
        "contentType": "application/json",
        "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
    }


def _in_session(kind: type[msgspec.Struct]) -> dict[str, Any]:
    where = "#/channels/session"
    return {"channel": {"$ref": where}, "messages": [{"$ref": f"{where}/messages/{kind.__name__}"}]}


def _sends(command: type[msgspec.Struct]) -> dict[str, Any]:
    operation = _operation("send", command)
    answer = ANSWERS.get(command.__name__)
    if answer is not None:
        operation["reply"] = _in_session(answer)
    return operation


def _operation(action: str, kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {"action": action, **_in_session(kind)}
