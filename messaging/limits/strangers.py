"""How much those may ask who have shown nothing valid: of each address so much a second. Pure."""

from __future__ import annotations

from collections.abc import Callable

from messaging.errors import RateLimited
from messaging.limits.rate import Buckets
from messaging.settings.addresses import network_of

BURST = 20  # seconds' worth of RATE_STRANGERS: a page is some thirty files, and an office has one address
MAX_ADDRESSES = 10_000  # that are counted one by one
REFUSED_WITHIN = 5.0  # seconds


class TooManyStrangers(RateLimited):
    """Too many requests without a valid credential come from your address (RATE_STRANGERS). Wait a moment."""

    def __init__(self, wait: float) -> None:
        """``wait``: seconds until it is to be told so: an address has as many refusals a second as answers."""
        super().__init__()
        self.wait = wait


class Strangers:
    """Those of this process, whatever door they came to."""

    def __init__(self, rate: float, refused: Callable[[str], None]) -> None:
        """``rate``: requests a second of an address. ``refused`` is told the name of the limit at each refusal."""
        self._answers = Buckets(rate, BURST * rate, MAX_ADDRESSES)
        self._refusals = Buckets(rate, 1, MAX_ADDRESSES)
        self._refused = refused

    def check(self, address: str, now: float) -> None:
        """Count a request. Raises TooManyStrangers."""
        place = network_of(address)
        if self._answers.of(place, now).takes(now):
            return
        self._refused("rate_strangers")
        refusals = self._refusals.of(place, now)
        wait = refusals.wait(now)
        if wait < REFUSED_WITHIN:  # else with those before it, of whom not all stay to hear it
            refusals.take(1, now)
        raise TooManyStrangers(min(wait, REFUSED_WITHIN))
