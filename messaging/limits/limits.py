"""How much a user may ask of this process, and the count of what any limit refused or slowed down."""

from __future__ import annotations

from messaging.errors import RateLimited
from messaging.limits.rate import Bucket, Buckets
from messaging.limits.strangers import Strangers
from messaging.limits.turns import RequestTurns
from messaging.observability.metrics import Metrics
from messaging.permissions import Caller
from messaging.settings.settings import Settings

BURST = 2  # seconds' worth of RATE_LIMIT
BURST_BYTES = 8  # seconds' worth of RATE_BYTES


class Limits:
    """Those that are counted in memory. Backends, and platforms by their own token, have none."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._rate = settings.rate_limit
        self._requests = Buckets(self._rate, BURST * self._rate)
        self._bytes = Buckets(settings.rate_bytes, BURST_BYTES * settings.rate_bytes)
        self._metrics = metrics
        self.strangers = Strangers(settings.rate_strangers, self.reached)
        self.turns = RequestTurns()

    def reached(self, limit: str) -> None:
        """Count that a limit refused something, or held it up."""
        self._metrics.reached(limit)

    def frames(self, now: float) -> Bucket:
        """What a session's frames take from: each session has its own."""
        return Bucket(self._rate, BURST * self._rate, now)

    def bytes_of(self, user_id: int, now: float) -> Bucket:
        """What all that a user sends takes from, on whatever door of this process."""
        return self._bytes.of(user_id, now)

    def check_request(self, caller: Caller, now: float) -> None:
        """Count a request. Raises RateLimited."""
        user_id = _limited(caller)
        if user_id and not self._requests.of(user_id, now).takes(now):
            self.reached("rate_limit")
            raise RateLimited

    def check_items(self, caller: Caller, count: int, now: float) -> None:
        """Count what one request asks for beside the first, which the request itself was. Raises RateLimited."""
        self._check(self._requests, "rate_limit", caller, count - 1, now)

    def check_bytes(self, caller: Caller, size: int, now: float) -> None:
        """Count what a caller sends, once it has announced it or it is here. Raises RateLimited."""
        self._check(self._bytes, "rate_bytes", caller, size, now)

    def _check(self, buckets: Buckets, limit: str, caller: Caller, cost: int, now: float) -> None:
        user_id = _limited(caller)
        if not (user_id and cost):
            return
        bucket = buckets.of(user_id, now)
        if bucket.left(now) < 1:
            self.reached(limit)
            raise RateLimited
        bucket.take(cost, now)


def _limited(caller: Caller) -> int:
    """The id of the user who asks; 0: a backend, or whoever shows no token of ours, see `Strangers`."""
    return caller.id or 0
