"""Bridges to RabbitMQ, from what is configured: which run, and that no message can go round in a circle.

A queue has one direction. Of two URLs, host, port and virtual host say whether they mean one server.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from bridges.config import Rabbit, RabbitIn, RabbitOut
from bridges.rabbitmq.inlet import INBOXES, Inboxes, OneQueue
from bridges.rabbitmq.messages import QUEUE_RULE, is_queue_name, queue_of, server_of
from bridges.rabbitmq.outlet import RabbitOutlet
from bridges.running import Out
from messaging.bridge.inlet import Inlet
from messaging.model import is_name, is_topic_name
from messaging.node import Node
from messaging.patterns import PATTERN_RULE, is_pattern, matches
from messaging.settings.settings import Settings, SettingsError


def rabbit_bridges(config: Rabbit, settings: Settings, node: Node) -> tuple[list[Out], list[Inlet]]:
    """What is to run. Nothing is connected yet.

    Raises:
        SettingsError: a name or URL is not one, or a queue has two directions.
    """
    check(config, settings.rabbitmq_url)
    url = settings.rabbitmq_url
    outs = [Out(out.name, "rabbitmq", out.topics, partial(RabbitOutlet, out, out.url or url)) for out in config.outs]
    inlets = []
    for each in config.ins:
        queue = OneQueue(each, each.url or url, settings)
        inlets.append(Inlet(each.name, "rabbitmq", queue, node, settings, topics=each.topic, tries=each.dead_after))
    if url:
        source = Inboxes(url, node.store, settings, partial(is_inbox_queue, config, url))
        inlets.append(Inlet(INBOXES, "rabbitmq", source, node, settings))
    return outs, inlets


def check(config: Rabbit, url: str) -> None:
    """Raises SettingsError. ``url``: RABBITMQ_URL."""
    if url:
        _server("RABBITMQ_URL", url)
    for out in config.outs:
        _check_out(out, url)
    for each in config.ins:
        _check_in(each, url)
        _check_direction(each, config, url)
    names = [out.name for out in config.outs] + [each.name for each in config.ins]
    if url and INBOXES in names:
        raise SettingsError(f"BRIDGES_FILE: what reads the users' queues is called {INBOXES!r}; choose another name")


def _server(name: str, url: str) -> tuple[str, int, str]:
    try:
        return server_of(url)
    except ValueError as exc:
        raise SettingsError(f"{name}: it is not the address of a RabbitMQ: {exc}") from None


def _wrong(each: RabbitOut | RabbitIn, what: str) -> SettingsError:
    return SettingsError(f"BRIDGES_FILE: bridge {each.name!r}: {what}")


def _check_out(out: RabbitOut, url: str) -> None:
    _server(f"BRIDGES_FILE: bridge {out.name!r}: url", out.url or url)
    if not is_pattern(out.topics):
        raise _wrong(out, f"{out.topics!r} is not a pattern: {PATTERN_RULE}")
    if "{user}" in out.queue and not out.topics.startswith("@"):
        raise _wrong(out, "{user} is the owner of an inbox, so its topics begin with @, such as '@*' or '@ana'")
    if not is_queue_name(queue_of(out.queue, "x")):
        raise _wrong(out, f"{out.queue!r} names no queue: it is {QUEUE_RULE}; {{topic}} and {{user}} are filled in")


def _check_in(each: RabbitIn, url: str) -> None:
    _server(f"BRIDGES_FILE: bridge {each.name!r}: url", each.url or url)
    if not is_queue_name(each.queue):
        raise _wrong(each, f"{each.queue!r} names no queue: it is {QUEUE_RULE}")
    if not is_topic_name(each.topic.removeprefix("@")):
        raise _wrong(each, f"{each.topic!r} is neither a topic nor an inbox such as '@ana'")
    if not is_name(each.sender):
        raise _wrong(each, f"its sender {each.sender!r} is not a name")


def _check_direction(each: RabbitIn, config: Rabbit, url: str) -> None:
    server = server_of(each.url or url)
    for out in config.outs:
        if server_of(out.url or url) == server and matches(queue_of(out.queue, out.topics), each.queue):
            raise _wrong(each, f"{out.name!r} fills its queue {each.queue!r}; a queue has one direction")
    for other in config.ins:
        if other is not each and server_of(other.url or url) == server and other.queue == each.queue:
            raise _wrong(each, f"{other.name!r} reads its queue {each.queue!r} already; each would get a part")


def is_inbox_queue(config: Rabbit, url: str, user: str) -> bool:
    """Whether the queue called like a user is read into its inbox: no bridge of the file fills or reads it."""
    server = server_of(url)
    taken: Iterable[str] = (
        *(queue_of(out.queue, out.topics) for out in config.outs if server_of(out.url or url) == server),
        *(each.queue for each in config.ins if server_of(each.url or url) == server),
    )
    return not any(matches(pattern, user) for pattern in taken)
