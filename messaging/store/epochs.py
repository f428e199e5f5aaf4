"""Which log a seq belongs to: the epoch of a topic. Pure.

An epoch has two halves. One says which topic: by its origin, which comes back neither with its name nor by renumbering,
in an installation. The other says in which state of the database: another timeline (a failover, a restore to a point in
time), another database (a dump that was restored), or the same files put back, which only a counter can tell.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

from messaging.model import Topic

HALF = 8  # characters: 40 bits


@dataclass(frozen=True, slots=True)
class LogIdentity:
    """What the epochs of all topics have in common."""

    installation: str  # the same wherever a dump is restored
    incarnation: str  # the database and its timeline; '' where the role may not ask
    restored: str  # the counter


def epoch_of(topic: Topic, identity: LogIdentity) -> str:
    return _digest(identity.installation, topic.origin or topic.id) + _digest(identity.incarnation, identity.restored)


def is_same_topic(one: str, other: str) -> bool:
    """Whether two epochs are of one topic, whatever became of its database."""
    return one[:HALF] == other[:HALF]


def _digest(*parts: object) -> str:
    text = " ".join(map(str, parts))
    return base64.b32encode(hashlib.blake2b(text.encode(), digest_size=HALF * 5 // 8).digest()).decode().lower()
