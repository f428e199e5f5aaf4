"""Topics, and inboxes, that are made because something arrives for them from another system."""

from __future__ import annotations

from contextlib import suppress

from messaging.actions import Actions
from messaging.errors import Conflict, UnknownTopic
from messaging.model import name_of_topic
from messaging.news import kind_of_unowned
from messaging.permissions import BACKEND, Aim
from messaging.settings.settings import Settings


async def aim_at_existing(actions: Actions, topic: str) -> Aim:
    """Where a message to a topic, or an inbox (`@name`), goes.

    Raises UnknownTopic, UnknownUser, Conflict, Unavailable.
    """
    aim = await actions.aim(BACKEND, topic)
    if aim.topic.kind == "direct" and not topic.startswith("@"):
        raise UnknownTopic  # a user of this name has an inbox, which was not meant
    return aim


async def aim_at_made(actions: Actions, settings: Settings, topic: str, sender: str) -> Aim:
    """The same, made if need be; a topic then belongs to nobody, whoever is called like ``sender``.

    Raises:
        BadRequest: a name that there can't be.
        Conflict: a user has this name. Unavailable.
    """
    if topic.startswith("@"):
        await actions.know(topic[1:])
        return await aim_at_existing(actions, topic)
    with suppress(UnknownTopic):
        return await aim_at_existing(actions, topic)
    await actions.make_unowned(name_of_topic(topic), sender, kind_of_unowned(settings))
    try:
        return await aim_at_existing(actions, topic)
    except UnknownTopic:
        raise Conflict(f"There is a user {topic!r}, so there can be no topic.") from None
