"""How a bridge fares: what its row in the register says, and what its operator is to read there."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from messaging.bridge.schedule import FAILING_AFTER
from messaging.observability.metrics import Metrics
from messaging.runtime.leader import Lease
from messaging.store.bridges import BridgeState, BridgeStore, State

log = logging.getLogger(__name__)


class Health:
    """Of one bridge, in either direction. Each method raises Unavailable, and may then be called again."""

    def __init__(self, user_id: int, bridge_store: BridgeStore, metrics: Metrics, lease: Lease | None = None) -> None:
        """``lease``: in which it is served; None where nobody else could."""
        self._user_id = user_id
        self._bridge_store = bridge_store
        self._metrics = metrics
        self._lease = lease
        self.bridge_state: BridgeState | None = None  # None: it was forgotten, or nobody has looked yet

    @property
    def term(self) -> int | None:
        """What its writes name."""
        return None if self._lease is None else self._lease.term

    @property
    def is_paused(self) -> bool:
        return self.bridge_state is not None and self.bridge_state.paused

    async def look(self) -> None:
        """Read the row anew."""
        self.bridge_state = await self._bridge_store.bridge_state(self._user_id)

    async def failed(self, reason: str) -> int:
        """Once more in vain: the row says so, and why; look again before the next try. How often in a row."""
        bridge_state = self.bridge_state
        if bridge_state is None:
            return 1
        self._metrics.bridge_failures.labels(bridge_state.name).inc()
        attempts, state = bridge_state.attempts + 1, _after_failure(bridge_state)
        if attempts == 1 or state != bridge_state.state:
            level = logging.ERROR if state == "failing" else logging.WARNING
            log.log(level, "bridge %s is %s: %s", bridge_state.name, state, reason)
        await self._bridge_store.report(self._user_id, state, reason, attempts, self.term)
        return attempts

    async def succeeded(self) -> None:
        if self.bridge_state is not None and self.bridge_state.state != "up":
            log.warning("bridge %s is up again", self.bridge_state.name)
            await self._bridge_store.report(self._user_id, "up", None, 0, self.term)
            await self.look()


def _after_failure(bridge_state: BridgeState) -> State:
    if bridge_state.state != "waiting":
        return "waiting" if bridge_state.state == "up" else "failing"  # until it is up again
    failed_for = (datetime.now(UTC) - bridge_state.since).total_seconds()
    return "failing" if failed_for > FAILING_AFTER else "waiting"
