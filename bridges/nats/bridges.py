"""The bridges to NATS of an installation, put together; and no loops: a subject has one direction."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from bridges.config import Nats, NatsIn, NatsOut
from bridges.nats.connection import servers_of
from bridges.nats.inlet import NatsSource
from bridges.nats.outlet import NatsOutlet
from bridges.running import Out
from bridges.subjects import covers, subject_of
from messaging.bridge.inlet import Inlet
from messaging.node import Node
from messaging.settings.settings import Settings, SettingsError


def nats_bridges(config: Nats, settings: Settings, node: Node) -> tuple[list[Out], list[Inlet]]:
    """What runs for them. Raises SettingsError where a bridge out would feed a bridge in."""
    here = Installation(node)
    for out in config.outs:
        refuse_loop(out, _readers(config.ins, out, settings))
    outs = [_out(out, config, settings, here) for out in config.outs]
    return outs, [_inlet(each, settings, node, here) for each in config.ins]


class Installation:
    """Who we are among those on the same servers: what a bridge out has marked so, no bridge in takes back."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._origin = ""

    async def origin(self) -> str:
        """The same for all processes, for ever. Raises Unavailable."""
        if not self._origin:
            self._origin = await self._node.store.shared_value("origin", secrets.token_hex(8))
        return self._origin

    def skipping(self, name: str) -> Callable[[], None]:
        return self._node.metrics.bridge_skipped.labels(name).inc

    def failing(self, name: str) -> Callable[[], None]:
        return self._node.metrics.bridge_failures.labels(name).inc


def _out(out: NatsOut, config: Nats, settings: Settings, here: Installation) -> Out:
    filters = [each.subject for each in _readers(config.ins, out, settings)]

    def is_read(subject: str) -> bool:
        return any(covers(each, subject) for each in filters)

    def outlet() -> NatsOutlet:
        return NatsOutlet(out, _servers(out, settings), here.origin, is_read, here.skipping(out.name))

    return Out(out.name, "nats", out.topics, outlet)


def _inlet(bridge: NatsIn, settings: Settings, node: Node, here: Installation) -> Inlet:
    servers, failing = _servers(bridge, settings), here.failing(bridge.name)
    source = NatsSource(bridge, servers, here.origin, settings, failing)
    fed = bridge.topic.replace("{subject}", bridge.subject.replace(">", "*"))
    return Inlet(bridge.name, "nats", source, node, settings, topics=fed)


def _servers(bridge: NatsOut | NatsIn, settings: Settings) -> list[str]:
    try:
        return servers_of(bridge.url or settings.nats_url)
    except ValueError as exc:
        where = f"BRIDGES_FILE: url of bridge {bridge.name!r}" if bridge.url else "NATS_URL"
        raise SettingsError(f"{where}: {exc}") from None


def _readers(ins: Sequence[NatsIn], out: NatsOut, settings: Settings) -> list[NatsIn]:
    """The bridges in that read from the servers of a bridge out."""
    servers = set(_servers(out, settings))
    return [each for each in ins if servers & set(_servers(each, settings))]


def refuse_loop(out: NatsOut, readers: Sequence[NatsIn]) -> None:
    """Raises SettingsError where what goes out is read again, as far as it can be seen before there are topics."""
    sample = subject_of(out.subject, out.topics.replace("*", "any"))
    for each in readers:
        if covers(each.subject, sample):
            raise SettingsError(
                f"BRIDGES_FILE: bridge {out.name!r} publishes to {sample}, which bridge {each.name!r} reads:"
                " a subject has one direction; give one of them another subject"
            )
