"""How far this machine's clock is from the database's, which is the one that counts. Pure."""

from __future__ import annotations

import logging

from messaging.model import LEEWAY

ROUND_TRIP = 2.0  # seconds; an answer that took longer tells too little

log = logging.getLogger(__name__)


class ClockOffset:
    """Tokens expire by this machine's clock and are revoked by the database's: they must agree, nearly."""

    def __init__(self) -> None:
        self.seconds = 0.0  # that the database's is ahead

    def measured(self, asked: float, theirs: float, answered: float) -> None:
        """``theirs``: what the database's clock said between ``asked`` and ``answered``, all in seconds since 1970."""
        if not 0 <= answered - asked <= ROUND_TRIP:  # or our own was set meanwhile
            return
        before, self.seconds = self.trouble, theirs - (asked + answered) / 2
        if self.trouble and not before:
            log.error("%s", self.trouble)
        elif before and not self.trouble:
            log.warning("this machine's clock agrees with the database's again")

    @property
    def trouble(self) -> str:
        """Why this node is not to be used; "" where the clocks agree."""
        if abs(self.seconds) <= LEEWAY:
            return ""
        way = "behind" if self.seconds > 0 else "ahead of"
        return (
            f"This machine's clock is {abs(self.seconds):.0f} s {way} the database's, by which tokens are revoked; more"
            f" than {LEEWAY} s are too many. Set both by NTP."
        )
