"""Topics that belong to nobody and need not be made: `updates.store.<uuid>`, where a shop's news goes. Pure.

Whoever comes first makes one, the backend that publishes or the reader that subscribes. In open mode it is public;
otherwise private, so that the API key and what a token's claim `topics` says decide.
"""

from __future__ import annotations

import re

from messaging.model import NEWS, Kind
from messaging.settings.settings import Settings

MAKER = "publish"  # creator of the topic, and sender where no token names one
_NEWS = re.compile(re.escape(NEWS) + r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


def is_news(name: str) -> bool:
    """Whether a topic of this name is made for whoever asks for it."""
    return _NEWS.match(name) is not None


def kind_of_unowned(settings: Settings) -> Kind:
    """Of a topic that nobody made on purpose."""
    return "public" if settings.auth_mode == "open" else "private"
