"""PLATFORMS_FILE: what is taken from it, and how a mistake in it is told."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT
from messaging.errors import Unauthorized
from messaging.node import Node
from messaging.settings.settings import SettingsError
from support.places import data_dir, free_port

SEEDS = [
    {
        "id": 1, "name": "GWT_CHAT", "endpoint": "http://localhost:8080/api/", "supportAudio": "True",
        "supportImage": "False", "token": "1111",
    },
    {
        "id": 2, "name": "net core", "endpoint": "https://localhost:5002/api", "supportAudio": "False",
        "supportImage": "False", "token": 2222,
    },
]  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "platforms.json"


async def load(node: Node, file: Path, content: Any) -> None:
    file.write_text(json.dumps(content))
    await node.registry.load(file)


@pytest.mark.parametrize("whole", [SEEDS, {"platforms": SEEDS}], ids=["a list", "in an object"])
async def test_the_first_integrators_words_are_understood(node: Node, file: Path, whole: Any) -> None:
    await load(node, file, whole)
    gwt, net = await node.registry.identify("1111"), await node.registry.identify("2222")
    assert (gwt.name, gwt.style, gwt.url, gwt.trusted) == ("GWT_CHAT", "paths", "http://localhost:8080/api/", True)
    assert (gwt.audio, gwt.image) == (True, False)
    assert (net.name, net.bridge, net.url) == ("net core", "net%20core", "https://localhost:5002/api/")
    assert len(gwt.secrets) == 1 and gwt.secrets != net.secrets


async def test_a_later_start_changes_what_has_changed_and_keeps_secrets_and_users(node: Node, file: Path) -> None:
    await load(node, file, SEEDS)
    before = await node.registry.find("GWT_CHAT")
    await node.integrator.take_user(before, "bob", "Bob")
    await load(node, file, [{**SEEDS[0], "endpoint": "http://localhost:9090/api/", "token": "new"}])
    now = await node.registry.identify("new")
    assert (now.id, now.url, now.secrets) == (before.id, "http://localhost:9090/api/", before.secrets)
    assert [each.name for each in await node.platforms.people(now.id, "", 10)] == ["Bob"]
    with pytest.raises(Unauthorized):
        await node.registry.identify("1111")
    assert (await node.registry.identify("2222")).name == "net core", "what the file has no more, stays"


async def test_a_token_goes_over_to_whom_the_file_gives_it(
    node: Node, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A platform that is renamed in the file, and two that change their tokens."""
    await load(node, file, SEEDS)
    with caplog.at_level(logging.WARNING):
        await load(node, file, [{**SEEDS[0], "name": "GWT"}])
    assert "GWT_CHAT has no token any more" in caplog.text
    assert (await node.registry.identify("1111")).name == "GWT"
    await load(node, file, [{**SEEDS[0], "token": "2222"}, {**SEEDS[1], "token": "1111"}])
    assert (await node.registry.identify("1111")).name == "net core"
    assert (await node.registry.identify("2222")).name == "GWT_CHAT"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "truncated"),
        ("{}", "Expected `array`"),
        ('"x"', "Expected `array`"),
        ('[{"name":"A","endpoint":"http://x/"}]', "missing required field `token`"),
        ('[{"name":"A","token":"1"},{"name":"A","token":"2"}]', "must differ"),
        ('[{"name":"A","token":"1"},{"name":"B","token":1}]', "must differ"),
        ('[{"name":"recado","token":"1"}]', "recado is ourselves"),
        ('[{"name":"..","token":"1"}]', "not only dots"),
        ('[{"name":"a\\u0000","token":"1"}]', "printable"),
        (json.dumps([{"name": "é" * 20, "token": "1"}]), "percent-encoded"),
        ('[{"name":"A","token":"1","endpoint":"ftp://x/"}]', "'A': url: "),
        ('[{"name":"A","token":"1","endpoint":"http://x/\\u0000"}]', "'A': url: "),
        ('[{"name":"A","token":"1","style":"webhook"}]', "'A': url: "),
        ('[{"name":"A","token":"1","secret":"whsec_?"}]', "'A': secret: "),
        ('[{"name":"A","token":"1","secret":"whsec_QUJD"}]', "'A': secret: "),
        ('[{"name":"A","token":"1","importEvery":1}]', "importEvery"),
        ('[{"name":"A","token":"1","importEvery":99999999999}]', "importEvery"),
    ],
    ids=str,
)
async def test_a_mistake_is_told(node: Node, file: Path, text: str, words: str) -> None:
    file.write_text(text)
    with pytest.raises(SettingsError, match="PLATFORMS_FILE") as told:
        await node.registry.load(file)
    assert words in str(told.value) and str(file) in str(told.value)
    assert "\n" not in str(told.value) and str(told.value).isprintable()


async def test_a_mistake_stops_the_start_with_one_line(file: Path) -> None:
    """And so does a file that is not there."""
    with data_dir() as data:
        ports = {"WS_PORT": str(free_port()), "API_PORT": str(free_port())}
        for content, words in ((None, "can't be read: No such file"), ("[", "is no list of platforms")):
            if content is not None:
                file.write_text(content)
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "recado", cwd=ROOT, stdout=PIPE, stderr=PIPE,
                env={"PATH": "/usr/bin:/bin", "DATA_DIR": str(data), "PLATFORMS_FILE": str(file), **ports},
            )  # fmt: skip
            async with asyncio.timeout(60):
                out, error = (text.decode() for text in await process.communicate())
            last = [line for line in error.splitlines() if not line.startswith("20")]  # which begins a line of the log
            assert (process.returncode, len(last)) == (1, 1), error
            assert last[0].startswith(f"recado: PLATFORMS_FILE: {file} {words}")
            assert "ready" not in out.splitlines()
