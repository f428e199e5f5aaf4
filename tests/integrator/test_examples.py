"""The applications of examples/, run against a real server: somebody of ours talks with them."""

from __future__ import annotations

import ast
import asyncio
import os
import re
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from standardwebhooks import Webhook

from conftest import ROOT
from support.places import free_port
from support.programs import Program, Recado, Wscat, recado, wscat

EXAMPLES = ("fourth_app", "fourth_app_webhook")


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Recado]:
    async with recado(INTEGRATOR_ALLOW_NETS="127.0.0.0/8") as running:
        yield running


async def register(server: Recado, **platform: str) -> dict[str, str]:
    """What a newcomer does with curl: its token and secret."""
    async with aiohttp.ClientSession() as http, http.post(f"{server.api}/platforms", json=platform) as response:
        assert response.status == 201, await response.text()
        made: dict[str, str] = await response.json()
        return made


@asynccontextmanager
async def example(server: Recado, name: str, **environ: str) -> AsyncIterator[Program]:
    file = str(ROOT / "examples" / f"{name}.py")
    program = await Program.start(sys.executable, file, RECADO_API=server.api, **environ)
    try:
        yield program
    finally:
        await program.end(signal.SIGKILL)


async def talk(omar: Wscat, app: Program, topic: str, text: str) -> None:
    """Omar says something; the application hears it, and answers."""
    await omar.say(action="message", topic_name=topic, content=text)
    await app.line(rf"^omar \(recado\): {text}$")
    answer = await omar.frame(action="message", topic_name=topic, content=f"I heard: {text}")
    assert answer["user_source"] == f"{topic.partition('%')[0]}%2F1"


async def test_an_application_that_asks_talks_with_people_and_misses_nothing_while_it_is_down(server: Recado) -> None:
    topic, start = "Fourth%3Alobby", time.monotonic()
    made = await register(server, name="Fourth")
    async with wscat(server.url_of("omar")) as omar:
        async with example(server, "fourth_app", TOKEN=made["token"]) as app:
            await omar.frame(action="invited", topic_name=topic)
            await omar.frame(action="message", topic_name=topic, content="Hello from a fourth app!")
            await talk(omar, app, topic, "hola")
            print(f"from registering to the first answer: {time.monotonic() - start:.1f} s")
        for text in ("one", "two", "three"):
            await omar.say(action="message", topic_name=topic, content=text)
        async with example(server, "fourth_app", TOKEN=made["token"]) as app:
            for text in ("one", "two", "three"):
                await app.line(rf"^omar \(recado\): {text}$")
                await omar.frame(action="message", content=f"I heard: {text}")


async def test_an_application_with_a_webhook_talks_with_people(server: Recado) -> None:
    topic, port = "Hook%3Alobby", free_port()
    made = await register(server, name="Hook", url=f"http://127.0.0.1:{port}/")
    given = {"TOKEN": made["token"], "SECRET": made["secret"], "PORT": str(port)}
    async with wscat(server.url_of("omar")) as omar:
        async with example(server, "fourth_app_webhook", **given) as app:
            await omar.frame(action="message", topic_name=topic, content="Hello from a webhook!")
            await talk(omar, app, topic, "hola")
        await omar.say(action="message", topic_name=topic, content="while you were away")
        async with example(server, "fourth_app_webhook", **given) as app:
            await app.line(r"^omar \(recado\): while you were away$")


async def test_the_application_outlives_a_restart_of_the_server() -> None:
    async with recado() as first:
        made = await register(first, name="Fourth")
        async with example(first, "fourth_app", TOKEN=made["token"]) as app:
            async with wscat(first.url_of("omar")) as omar:
                await omar.frame(action="message", content="Hello from a fourth app!")
                await talk(omar, app, "Fourth%3Alobby", "before")
            await first.end()
            server = await first.again()
            try:
                async with wscat(server.url_of("omar")) as omar:
                    await talk(omar, app, "Fourth%3Alobby", "after")
            finally:
                await server.end()


async def test_a_wrong_token_is_told_in_one_line(server: Recado) -> None:
    async with example(server, "fourth_app", TOKEN="wrong") as app:
        await app.line(r"^/user: .*No platform has this token")


async def test_what_the_docs_do_by_hand_does_what_they_say(server: Recado) -> None:
    made = await register(server, name="Hand")
    text = (ROOT / "docs" / "integrate.md").read_text()
    blocks = re.findall(r"^```console\n(\$ (?:API=|curl).*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        code, said = script_of(block.replace("Fourth", "Hand").replace("wait=30", "wait=0"))
        code = code.replace(".venv/bin/python", sys.executable)
        given = {"API": server.api, "TOKEN": made["token"], **server.environ, "PATH": os.environ["PATH"]}
        shell = await asyncio.create_subprocess_exec(
            "bash", "-euc", code, cwd=ROOT, env=given, stdout=PIPE, stderr=PIPE, stdin=DEVNULL
        )
        out, error = await shell.communicate()
        assert shell.returncode == 0, error.decode()
        assert re.findall(r"success|\{.*\}", out.decode()) == said


def script_of(block: str) -> tuple[str, list[str]]:
    """The commands of a block, silent and one after the other, and what it shows as their answers."""
    lines, code = block.splitlines(), []
    for line in lines:
        if line.startswith("$ API="):
            continue
        if line.startswith("$ "):
            code.append(line[2:].replace("curl ", "curl -s --noproxy '*' "))
        elif line.startswith(" "):
            code.append(line)
    return "\n".join(code), [line for line in lines if not line.startswith(("$", " "))]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_short(name: str) -> None:
    """At most 30 lines that are neither text nor empty, beside the imports and what verifies a signature."""
    tree = ast.parse((ROOT / "examples" / f"{name}.py").read_text())
    lines = (ROOT / "examples" / f"{name}.py").read_text().splitlines()
    skipped: set[int] = set()
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_text or isinstance(node, ast.Import | ast.ImportFrom) or getattr(node, "name", "") == "is_signed":
            assert isinstance(node, ast.stmt)
            skipped |= set(range(node.lineno, (node.end_lineno or 0) + 1))
    count = sum(1 for number, line in enumerate(lines, 1) if number not in skipped and line.strip())
    assert count <= 30, count


# --- the verification of a signature that people will copy -----------------------------------------


@pytest.fixture
def is_signed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The function of the example, alone."""
    tree = ast.parse((ROOT / "examples" / "fourth_app_webhook.py").read_text())
    wanted = (ast.Import, ast.ImportFrom, ast.FunctionDef)
    tree.body = [node for node in tree.body if isinstance(node, wanted) and getattr(node, "name", "") != "say"]
    names: dict[str, Any] = {}
    exec(compile(tree, "fourth_app_webhook", "exec"), names)
    monkeypatch.setenv("SECRET", SECRET)
    return names["is_signed"]


SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def signed(body: str, identity: str = "msg_1", at: float = 0) -> dict[str, str]:
    now = time.time() + at
    signature = Webhook(SECRET).sign(identity, datetime.fromtimestamp(int(now), UTC), body)
    return {"webhook-id": identity, "webhook-timestamp": str(int(now)), "webhook-signature": signature}


def test_what_the_example_verifies_is_what_the_library_signs(is_signed: Any) -> None:
    headers = signed('{"a":1}')
    assert is_signed(headers, b'{"a":1}')
    both = {**headers, "webhook-signature": "v1,AAAA " + headers["webhook-signature"]}
    assert is_signed(both, b'{"a":1}'), "while a secret is rotated, there are two"


@pytest.mark.parametrize(
    ("at", "change", "body"),
    [
        (0, {}, b"{ }"),
        (-310, {}, b"{}"),
        (310, {}, b"{}"),
        (0, {"webhook-id": "msg_2"}, b"{}"),
        (0, {"webhook-signature": ""}, b"{}"),
        (0, {"webhook-timestamp": "0"}, b"{}"),
    ],
    ids=["another body", "too old", "too new", "another id", "no signature", "another time"],
)
def test_the_example_refuses(is_signed: Any, at: float, change: dict[str, str], body: bytes) -> None:
    assert not is_signed({**signed("{}", at=at), **change}, body)
    assert not is_signed({}, body)
