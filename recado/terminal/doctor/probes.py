"""Asks the doors what the doctor judges. Thin: what is well and what is not is decided in `diagnosis`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from websockets.exceptions import InvalidStatus, WebSocketException

from recado.client import Refused
from recado.client.connection import dial
from recado.terminal.access import ONE_DAY, Access
from recado.terminal.doctor.diagnosis import Door
from recado.terminal.rest import Rest, Unreachable, bearer

USER = "recado-doctor"  # in whose name doors are tried; it becomes known by that


async def ask_doors(access: Access, nodes: Sequence[str]) -> tuple[tuple[Door, ...], str]:
    """What they answer, side by side; and where the token is from that they were asked with."""
    token, token_from = await any_token(access)
    addresses = dict.fromkeys([access.ws_url, access.api_url, *(node.rstrip("/") for node in nodes)])
    return tuple(await asyncio.gather(*(door_facts(url, token) for url in addresses))), token_from


async def any_token(access: Access) -> tuple[str, str]:
    """A token to try the doors with, and where it is from."""
    if access.sign is not None:
        return access.sign(USER, ONE_DAY), "the secret here"
    async with Rest(access.api_url) as rest:
        try:
            return await access.issue(rest, USER), f"the API at {access.api_url}"
        except (Refused, Unreachable):
            return "", ""


async def door_facts(url: str, token: str) -> Door:
    """Whether a door is ready, and lets a token in."""
    is_ws = url.startswith("ws")
    door = Door(url, "WebSocket" if is_ws else "API")
    async with Rest(url.replace("ws", "http", 1) if is_ws else url) as rest:
        try:
            answer = await rest.once("GET", "/readyz")
            if answer.status != 200:
                return replace(door, reason=f"HTTP {answer.status} {_told(answer.body)}".strip())
            if not token:
                return replace(door, ready=True)
            accepts, reason = await (enter(url, token) if is_ws else ask(rest, token))
        except (Unreachable, OSError, TimeoutError, WebSocketException) as exc:
            return replace(door, error=str(exc) or type(exc).__name__)
    return replace(door, ready=True, accepts=accepts, reason=reason)


async def enter(url: str, token: str) -> tuple[bool | None, str]:
    try:
        async with dial(url, USER, token):
            return True, ""
    except InvalidStatus as exc:
        with suppress(ValueError):
            return _verdict(exc.response.status_code, json.loads(bytes(exc.response.body)))
        return _verdict(exc.response.status_code, None)


async def ask(rest: Rest, token: str) -> tuple[bool | None, str]:
    answer = await rest.once("GET", f"/api/v1/topics?user={USER}", headers=bearer(token))
    return _verdict(answer.status, answer.body)


def _verdict(status: int, body: object) -> tuple[bool | None, str]:
    if status in (200, 401):
        return status == 200, _told(body)
    return None, f"HTTP {status} {_told(body)}".strip()


def _told(body: object) -> str:
    return str(body.get("message", "")) if isinstance(body, dict) else ""
