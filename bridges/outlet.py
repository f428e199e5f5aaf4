"""What a lane asks of the system at its end, and the three ways in which that may fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from messaging.model import Message, Topic


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """One message on its way out.

    ``id``: the same at every try, so that the other system can tell a repetition.
    ``tries``: how often it was tried in vain.
    """

    id: str
    topic: str
    message: Message
    tries: int = 0


class Unreachable(Exception):
    """The other system has a problem: the lane stands still, and tries this message again later.

    ``retry_after``: seconds that the other system asked for.
    """

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Undeliverable(Exception):
    """This message has a problem: it becomes a dead letter, and the lane goes on behind it."""


class Gone(Exception):
    """The other system wants no more: the lane is paused. What comes for it is kept."""


class Outlet(Protocol):
    """Hands messages to another system. Built without I/O; it connects when it is first used."""

    async def send(self, outgoing: OutgoingMessage) -> None:
        """Return once the other system has confirmed.

        Cancelling leaves open whether it arrived; it is then sent again with the same id.

        Raises:
            Unreachable, Undeliverable, Gone.
        """

    async def close(self) -> None:
        """Let go of the connection."""


def original(topic: Topic, message: Message) -> str:
    """The id of a message for other systems. Ids of topics never come back, nor does this; and it never changes."""
    return f"{topic.origin or topic.id}.{message.seq}"
