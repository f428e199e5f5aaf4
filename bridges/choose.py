"""From what is configured to what runs. The brokers' clients are optional: each is imported where it is asked for."""

from __future__ import annotations

from bridges.config import read_config
from bridges.running import Bridging
from messaging.node import Node
from messaging.settings import Settings


def make_bridging(settings: Settings, dsn: str, node: Node) -> Bridging:
    """All bridges of this installation. Raises SettingsError."""
    read_config(settings)
    return Bridging(node, dsn, [], [])
