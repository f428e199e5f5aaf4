"""BRIDGES_FILE as an operator writes it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from bridges.choose import make_bridging
from bridges.config import NatsIn, NatsOut, read_config
from conftest import ROOT
from messaging.bus.contract import LocalBus
from messaging.node import Node
from messaging.settings.settings import Settings, SettingsError

URLS: dict[str, Any] = {"nats_url": "nats://127.0.0.1:1", "rabbitmq_url": "amqp://127.0.0.1:1"}


def written(folder: Path, text: str) -> Settings:
    file = folder / "bridges.toml"
    file.write_text(text)
    return Settings(bridges_file=file, **URLS)


def test_what_the_documentation_shows_is_taken(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "bridges.md").read_text()
    blocks = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert blocks
    config = read_config(written(tmp_path, "\n".join(blocks)))
    assert NatsOut("shops", "updates.store.*") in config.nats.outs
    assert NatsIn("warehouse", "orders.>", "from-nats/{subject}", "warehouse") in config.nats.ins


def test_a_url_alone_serves_the_shops() -> None:
    assert read_config(Settings(nats_url=URLS["nats_url"])).nats.outs == (NatsOut("ezout", "updates.store.*"),)
    assert read_config(Settings()).nats.outs == ()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[[nats.out]]\nname = "a"\ntopics = "a b"', r"topics = 'a b' is no pattern.*nats\.out\[0\]"),
        ('[[nats.out]]\nname = "a"\ntopics = "*"\nsubject = "x.*"', r"'x\.\*' is no subject"),
        ('[[nats.out]]\nname = "a"\ntopics = "*"\nsubject = "$SYS.{topic}"', "keeps for itself"),
        ('[[nats.out]]\nname = "a"\ntopics = "*"\njetstream = "no"', "Invalid enum value 'no'"),
        ('[[nats.out]]\nname = "a"\ntopics = "*"\ncolour = "red"', "unknown field `colour`"),
        ('[[nats.in]]\nname = "a"\nsubject = "a.>.b"', r"'a\.>\.b' is no subject"),
        ('[[nats.in]]\nname = "a"\nsubject = "a"\ntopic = "@a b"', "no name that a topic may have"),
        ('[[nats.in]]\nname = "a"\nsubject = "a"\nsender = "a b"', "sender = 'a b' is no name"),
        ('[[nats.out]]\nname = "a"\ntopics = "a.*"\n[[nats.in]]\nname = "b"\nsubject = "a.>"', "one direction"),
        (
            '[[nats.out]]\nname = "a"\ntopics = "*"\n[[nats.in]]\nname = "a"\nsubject = "b"',
            "two bridges are called 'a'",
        ),
    ],
)
async def test_what_is_wrong_stops_the_start_and_says_where(tmp_path: Path, text: str, complaint: str) -> None:
    settings = written(tmp_path, text)
    with pytest.raises(SettingsError, match=complaint) as failure:
        make_bridging(settings, Node(settings, "", LocalBus()))
    assert str(failure.value).startswith("BRIDGES_FILE: ")


@pytest.mark.parametrize("url", ["nats://", "nats://a:1,b:x", "nats://me:secret", "http://here", "nats://:4222"])
async def test_a_wrong_address_stops_the_start_and_shows_no_password(url: str) -> None:
    settings = Settings(nats_url=url)
    with pytest.raises(SettingsError, match="NATS_URL: ") as failure:
        make_bridging(settings, Node(settings, "", LocalBus()))
    assert "secret" not in str(failure.value)
