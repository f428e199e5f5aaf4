"""What a node counts."""

from __future__ import annotations

from typing import Protocol

from messaging.node import Node


class HasNode(Protocol):
    node: Node


def reached(door: HasNode, limit: str) -> float:
    """How often somebody met this limit."""
    return door.node.metrics.registry.get_sample_value("recado_limit_reached_total", {"limit": limit}) or 0.0
