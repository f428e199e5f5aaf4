"""From what is configured to what runs. The brokers' clients are optional: each is imported where it is asked for."""

from __future__ import annotations

from bridges.config import Nats, Rabbit, read_config
from bridges.running import Bridging, Out
from bridges.webhooks.platforms import PlatformLanes
from messaging.bridge.inlet import Inlet
from messaging.node import Node
from messaging.settings.settings import Settings, SettingsError


def make_bridging(settings: Settings, node: Node) -> Bridging:
    """All bridges of this installation. Raises SettingsError."""
    config = read_config(settings)
    outs: list[Out] = []
    inlets: list[Inlet] = []
    if config.nats != Nats():
        for_outs, for_inlets = _nats(config.nats, settings, node)
        outs += for_outs
        inlets += for_inlets
    if settings.rabbitmq_url or config.rabbitmq != Rabbit():
        for_outs, for_inlets = _rabbitmq(config.rabbitmq, settings, node)
        outs += for_outs
        inlets += for_inlets
    return Bridging(node, outs, inlets, PlatformLanes(node, settings))


def _nats(config: Nats, settings: Settings, node: Node) -> tuple[list[Out], list[Inlet]]:
    try:
        from bridges.nats.bridges import nats_bridges
    except ModuleNotFoundError as exc:
        if exc.name != "nats":
            raise
        raise SettingsError("NATS_URL: nats-py is not installed; pip install 'recado-server[nats]'") from None
    return nats_bridges(config, settings, node)


def _rabbitmq(config: Rabbit, settings: Settings, node: Node) -> tuple[list[Out], list[Inlet]]:
    try:
        from bridges.rabbitmq.bridges import rabbit_bridges
    except ModuleNotFoundError as exc:
        if exc.name != "aio_pika":
            raise
        raise SettingsError("RABBITMQ_URL: aio-pika is not installed; pip install 'recado-server[rabbitmq]'") from None
    return rabbit_bridges(config, settings, node)
