"""What may be configured, and what messages and queues look like: without a server."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bridges.choose import make_bridging
from bridges.config import Rabbit, RabbitIn, RabbitOut
from bridges.outlet import OutgoingMessage
from bridges.rabbitmq.bridges import check, is_inbox_queue
from bridges.rabbitmq.frames import Delivery
from bridges.rabbitmq.messages import (
    is_queue_name,
    offer,
    queue_of,
    read_content,
    read_offer,
    server_of,
)
from messaging.bus.contract import LocalBus
from messaging.model import Content, Message
from messaging.node import Node
from messaging.settings.settings import Settings, SettingsError

URL = "amqp://guest:guest@localhost"


def out(name: str = "o", topics: str = "news", queue: str = "{topic}", url: str = "") -> RabbitOut:
    return RabbitOut(name, topics, queue, url=url)


def into(queue: str, name: str = "i", topic: str = "t", **more: Any) -> RabbitIn:
    return RabbitIn(name, queue, topic, **more)


# --- configuration -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (Rabbit((out(),), (into("news"),)), "'o' fills its queue 'news'"),
        (Rabbit((out(topics="updates.*"),), (into("updates.store.1"),)), "'o' fills its queue"),
        (Rabbit((out(topics="@*", queue="mail.{user}"),), (into("mail.ana"),)), "'o' fills its queue"),
        (Rabbit((out(url="amqp://other:x@localhost:5672/%2F"),), (into("news"),)), "'o' fills its queue"),
        (Rabbit((), (into("q"), into("q", "j"))), "'j' reads its queue 'q' already"),
        (Rabbit((out(topics="a b"),), ()), "'a b' is not a pattern"),
        (Rabbit((out(queue="{user}"),), ()), "begin with @"),
        (Rabbit((out(queue="amq.{topic}"),), ()), "names no queue"),
        (Rabbit((out(url="http://x"),), ()), "not the address"),
        (Rabbit((), (into("amq.gen"),)), "names no queue"),
        (Rabbit((), (into("q", topic="a b"),)), "neither a topic nor an inbox"),
        (Rabbit((), (into("q", sender="a b"),)), "not a name"),
        (Rabbit((out("prontogram"),), ()), "'prontogram'; choose another"),
    ],
    ids=str,
)
def test_what_makes_no_sense_stops_the_start(config: Rabbit, why: str) -> None:
    with pytest.raises(SettingsError, match=why) as caught:
        check(config, URL)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "config",
    [
        Rabbit((out(),), (into("other"),)),
        Rabbit((out(url="amqp://localhost/other"),), (into("news"),)),
        Rabbit((out(topics="@*", queue="mail.{user}"),), (into("mail"),)),
        Rabbit((), (into("q"), into("q", "j", url="amqp://elsewhere"))),
    ],
    ids=["other queue", "other virtual host", "other pattern", "other server"],
)
def test_what_makes_sense(config: Rabbit) -> None:
    check(config, URL)


@pytest.mark.parametrize("url", ["localhost", "http://localhost", "amqp://", "amqp://h:port"])
def test_a_wrong_address_is_one_line(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^RABBITMQ_URL: it is not the address of a RabbitMQ"):
        check(Rabbit(), url)


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridges.rabbitmq", sys.modules["bridges.rabbitmq"])  # what it is again, after this
    for name in [name for name in sys.modules if name.startswith("bridges.rabbitmq")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "aio_pika", None)
    settings = Settings(rabbitmq_url=URL)
    with pytest.raises(SettingsError, match=r"pip install 'recado-server\[rabbitmq\]'"):
        make_bridging(settings, Node(settings, "", LocalBus()))


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "bridges.toml"
    path.write_text(
        '[[rabbitmq.out]]\nname = "a"\ntopics = "@*"\nqueue = "{user}"\npayload = "prontogram"\n'
        '[[rabbitmq.in]]\nname = "b"\nqueue = "ana"\ntopic = "t"\n'
    )
    settings = Settings(rabbitmq_url=URL, bridges_file=path)
    with pytest.raises(SettingsError, match="'a' fills its queue 'ana'"):
        make_bridging(settings, Node(settings, "", LocalBus()))


def test_whose_queues_are_read_into_inboxes() -> None:
    config = Rabbit((out(topics="@bob", queue="{user}"), out("p", "@*", "x.{user}")), (into("eve"),))
    assert [name for name in ("ana", "bob", "eve", "x.ana") if is_inbox_queue(config, URL, name)] == ["ana"]
    elsewhere = Rabbit((out(topics="@*", queue="{user}", url="amqp://elsewhere"),), ())
    assert is_inbox_queue(elsewhere, URL, "ana")


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("amqp://h", ("h", 5672, "/")),
        ("amqp://u:p@H:1/", ("h", 1, "/")),
        ("amqps://h/%2F", ("h", 5671, "/")),
        ("amqp://h/v?heartbeat=1", ("h", 5672, "v")),
    ],
)
def test_which_server_an_address_means(url: str, server: tuple[str, int, str]) -> None:
    assert server_of(url) == server


# --- queues and messages -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "fits"),
    [("ana", True), ("a+b/c:d@e_f-g.h", True), ("x" * 255, True), ("amqp", True), ("amq.x", False), ("", False),
     ("x" * 256, False), ("a|b", False), ("a%20b", False), ("ñ", False), ("a\n", False)],
)  # fmt: skip
def test_names_of_queues(name: str, fits: bool) -> None:
    assert is_queue_name(name) is fits


def test_templates() -> None:
    assert queue_of("{topic}", "a.b") == "a.b"
    assert queue_of("for.{user}", "@ana") == "for.ana"
    assert queue_of("{user}.x", "@*") == "*.x"
    assert queue_of("for.{user}", "@Mario%20Rossi") == "for.Mario Rossi"


def parcel(content: str) -> OutgoingMessage:
    return OutgoingMessage("1.1", "@ana", Message(1, "bob", Content(content), datetime(2026, 5, 1, 12, tzinfo=UTC)))


@pytest.mark.parametrize(("content", "body"), [('"Rome, 39 €"', '"Rome, 39 \\u20ac"'), ('{"a":1}', '"{\\"a\\":1}"')])
def test_what_a_legacy_consumer_is_given(content: str, body: str) -> None:
    sent = f'{{"sender": "bob", "receiver": "ana", "body": {body}, "send_time": "2026-05-01T12:00:00+00:00"}}'
    assert offer(parcel(content)) == sent.encode()


def test_people_are_called_there_as_other_systems_call_them() -> None:
    message = Message(1, "ACME%20Sky", Content('"x"'), datetime(2026, 5, 1, 12, tzinfo=UTC))
    sent = json.loads(offer(OutgoingMessage("1.1", "@Mario%20Rossi", message)))
    assert (sent["sender"], sent["receiver"]) == ("ACME Sky", "Mario Rossi")
    assert read_offer(delivery(json.dumps(sent)), Settings()).sender == "ACME%20Sky"


def delivery(body: str = "1", queue: str = "q", **more: Any) -> Delivery:
    return Delivery(queue, body.encode(), **more)


def key(queue: str = "q", message_id: str | None = None) -> str | None:
    return read_content(delivery(queue=queue, message_id=message_id), "s", Settings()).key


def test_an_id_is_its_queues_own() -> None:
    assert key(message_id="1") == key(message_id="1") != key("other", "1")
    assert key(message_id="1") != key(message_id="2") and key() is None and key(message_id="") is None


def test_a_moment_stands_for_an_id_only_where_it_is_exact() -> None:
    body = '{"sender":"a","receiver":"b","body":"c","send_time":%s}'
    keys = [
        read_offer(delivery(body % time), Settings()).key
        for time in ('"2026-05-01T12:00:00.1"', '"2026-05-01T12:00:00.1"', '"2026-05-01T12:00:00.2"')
    ]
    assert keys[0] == keys[1] != keys[2] and None not in keys
    for time in ('"2026-05-01T12:00:00"', "null", "1.5", "[]"):
        assert read_offer(delivery(body % time), Settings()).key is None
    named = read_offer(delivery(body % '"2026-05-01T12:00:00.1"', message_id="x"), Settings()).key
    assert named == read_offer(delivery(body % "null", message_id="x"), Settings()).key


@pytest.mark.parametrize(
    ("expiration", "given", "ttl"),
    [(0.5, None, 1), (3600.0, None, 3600), (None, 60, 60), (5.0, 60, 5), (None, -1, None), (None, "x", None),
     (None, True, None), (None, 10**9, None), (0.0, None, None)],
)  # fmt: skip
def test_lifetimes(expiration: float | None, given: Any, ttl: int | None) -> None:
    body = json.dumps({"sender": "a", "body": "c", "ttl": given})
    assert read_offer(delivery(body, expiration=expiration), Settings()).ttl == ttl
