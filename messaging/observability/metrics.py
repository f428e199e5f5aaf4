"""What is counted, for Prometheus. Made once per process by its composition root."""

from __future__ import annotations

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from messaging.observability.loop_watch import lag_of_this_loop

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """The counters of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._deliveries = Counter(
            "recado_deliveries_total", "Messages written to live sessions", registry=self.registry
        )
        self._writes = Counter("recado_delivery_writes_total", "Writes that carried them", registry=self.registry)
        self.appended = Counter("recado_appended_total", "Messages stored", registry=self.registry)
        self.append_seconds = Histogram(
            "recado_append_seconds", "From taking a batch to its COMMIT", registry=self.registry,
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2, 10),
        )  # fmt: skip
        self.sessions = Gauge("recado_sessions", "Open WebSocket sessions", registry=self.registry)
        self.chunks = Counter("recado_chunks_total", "Chunks sent to readers behind", registry=self.registry)
        self.fell_behind = Counter(
            "recado_fell_behind_total", "Live sessions that could not take more", registry=self.registry
        )
        self.refused = Counter(
            "recado_limit_reached_total", "What a limit refused or held up", ["limit"], registry=self.registry
        )
        self.swept = Counter(
            "recado_swept_total", "Heads that a sweep found and no notice told", registry=self.registry
        )
        self.bus_refused = Counter(
            "recado_bus_refused_total", "Parcels of the bus that were dropped", registry=self.registry
        )

        loop_lag = Gauge(
            "recado_loop_lag_seconds", "The most that the event loop was late, lately", registry=self.registry
        )
        loop_lag.set_function(lag_of_this_loop())
        self.clock_offset = Gauge(
            "recado_clock_offset_seconds", "That the database's clock is ahead of ours", registry=self.registry
        )

        counts = partial(Counter, labelnames=["bridge"], registry=self.registry)
        gauges = partial(Gauge, labelnames=["bridge"], registry=self.registry)
        self.bridge_sent = counts("recado_bridge_sent_total", "Messages that a bridge's system has confirmed")
        self.bridge_failures = counts("recado_bridge_failures_total", "Tries in vain to reach a bridge's system")
        self.bridge_buried = counts("recado_bridge_buried_total", "Messages that a bridge gave up on")
        self.bridge_skipped = counts("recado_bridge_skipped_total", "Messages left out, as they would come back")
        self.bridge_lag = gauges("recado_bridge_lag", "Messages before a bridge")
        self.bridge_oldest = gauges("recado_bridge_oldest_seconds", "Age of the oldest of them")
        self.bridge_dead = gauges("recado_bridge_dead", "Dead letters of a bridge")

    def delivered(self, messages: int, writes: int) -> None:
        self._deliveries.inc(messages)
        self._writes.inc(writes)

    def reached(self, limit: str) -> None:
        """A limit has refused something, or held it up."""
        self.refused.labels(limit).inc()

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)
