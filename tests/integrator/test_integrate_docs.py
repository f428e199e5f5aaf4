"""docs/integrate.md: its file is read, its commands are there, its events are those that are told."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from api.routes.integrator import event_of
from conftest import ROOT
from messaging.integrator.events import NewsType
from messaging.integrator.importing import Diff
from messaging.integrator.incoming import IncomingMessage
from messaging.integrator.registry import read_file
from messaging.node import Node
from recado.terminal.commands import make_parser

TEXT = (ROOT / "docs" / "integrate.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def objects(text: str) -> list[Any]:
    """JSON values one after the other."""
    found, decoder, place = [], json.JSONDecoder(), 0
    while place < len(text.rstrip()):
        value, place = decoder.raw_decode(text, place)
        found.append(value)
        place += len(text[place:]) - len(text[place:].lstrip())
    return found


def test_the_file_is_one(tmp_path: Path) -> None:
    [text] = [block for block in blocks("json") if block.startswith("[")]
    file = tmp_path / "platforms.json"
    file.write_text(text)
    assert [each.name for each in read_file(file)] == ["GWT_CHAT", "net core", "BuasApp"]


COMMANDS = [line for block in blocks("console") for line in block.splitlines() if "-m recado" in line]


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_is_one(line: str) -> None:
    words = shlex.split(line, comments=True)
    options = make_parser().parse_args(words[words.index("recado") + 1 :])
    assert callable(options.run)


def shape(value: Any) -> Any:
    """Fields in their order, and types."""
    if isinstance(value, dict):
        return [(name, shape(each)) for name, each in value.items()]
    return [shape(each) for each in value] if isinstance(value, list) else type(value).__name__


async def test_events_are_as_they_are_told(node: Node) -> None:
    shown = objects(next(block for block in blocks("json") if '"cursor"' in block))
    assert [each["type"] for each in shown] == [kind for kind in get_args(NewsType) if kind != "platform.test"]
    buas = (await node.registry.register("BuasApp", "pull", None)).platform
    fourth = (await node.registry.register("Fourth", "pull", None)).platform
    desk = node.integrator
    members: list[dict[str, list[int | str]]] = [{"BuasApp": [17]}, {"Fourth": ["f"]}]
    await desk.take_user(buas, 17, "Ana")
    await desk.take_user(buas, 17, "Ana María")
    await desk.take_user(buas, 18, "Leo")
    await desk.import_users(buas, Diff(removed=("18",)))
    for name in ("Trip", "Trip to Rome"):
        await desk.take_room(buas, 5, name, "private", members)
    await desk.take_message(buas, IncomingMessage(room_platform=None, room=5, sender=17, text="Hi", id="m-1"))
    pulled = await node.pulling.news(fourth, None, 100, 0)
    told = {each["type"]: each for each in json.loads(msgspec.json.encode([event_of(each) for each in pulled.entries]))}
    for each in shown:
        assert shape(each) == shape(told[each["type"]])
    assert told["message.created"]["data"]["recipients"] == ["f"]


def test_every_style_and_state_is_explained() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)
    assert {"up", "waiting", "failing", "paused", "queued", "will_retry", "delivered", "dead"} <= set(rows)
    assert re.findall(r"^### (\w+)$", TEXT, re.MULTILINE) == ["pull", "webhook", "paths"]
