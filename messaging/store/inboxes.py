"""The inboxes of users, remembered: one never goes, nor changes."""

from __future__ import annotations

from messaging.errors import UnknownUser
from messaging.model import Topic, inbox_of
from messaging.store.store import Store

MAX_KNOWN = 100_000


class Inboxes:
    """Looked up by the name of their user."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, Topic] = {}

    async def of(self, user: str) -> Topic:
        """Raises UnknownUser."""
        topic = self._known.get(user)
        if topic is None:
            view = await self._store.topic_view(inbox_of(user))
            if view is None:
                raise UnknownUser
            topic = view.topic
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[user] = topic
        return topic
