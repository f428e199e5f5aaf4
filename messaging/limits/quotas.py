"""What users make by themselves: each is counted in the transaction that makes it, see sql/functions_limits.sql.

What a backend, a bridge or a platform makes goes by none of this, and counts for nobody.
"""

from __future__ import annotations

from messaging.errors import LimitReached, RateLimited, RecadoError, StatementFailed, UnknownTopic
from messaging.limits.limits import Limits
from messaging.model import Kind, User
from messaging.settings.settings import Settings
from messaging.store.pool import Pool

_REACHED = "P0L01"  # the SQLSTATE


class Quotas:
    """Makes what a user may have so many of."""

    def __init__(self, pool: Pool, settings: Settings, limits: Limits) -> None:
        self._pool = pool
        self._settings = settings
        self._limits = limits

    async def create_topic(
        self, name: str, kind: Kind, owner: User, retention: int | None, lifetime: int | None
    ) -> int | None:
        """A topic that its owner makes by itself; None where the name is taken. Raises LimitReached."""
        return await self._create(owner, name, kind, owner.name, retention, lifetime, owner.id)

    async def create_unowned(self, name: str, kind: Kind, creator: str, maker: User) -> None:
        """A topic without members that a user makes, if there is none of this name. Raises LimitReached."""
        await self._create(maker, name, kind, creator, None, None, None)

    async def _create(self, maker: User, *columns: str | int | None) -> int | None:
        most = self._settings.max_topics_per_user
        try:
            topic_id: int | None = await self._pool.value("topic_create_limited", *columns, maker.id, most)
        except StatementFailed as exc:
            if exc.sqlstate != _REACHED:
                raise
            raise self._refusal("max_topics_per_user") from exc
        return topic_id

    async def join(self, topic_id: int, user_id: int, inviter: User | None = None) -> bool:
        """Join by oneself, or by the invitation of another. Whether the membership is new.

        Raises:
            UnknownTopic.
            LimitReached, RateLimited: of who joins, or invites.
        """
        by, settings = (None, None) if inviter is None else (inviter.id, inviter.name), self._settings
        became: str = await self._pool.value(
            "topic_join_limited", topic_id, user_id, *by,
            settings.max_memberships_per_user, settings.invites, settings.max_invitations_per_user,
        )  # fmt: skip
        if became == "gone":
            raise UnknownTopic
        if became not in ("joined", "member"):
            raise self._refusal(became)
        return became == "joined"

    async def take_up(self, topic_id: int, user_id: int) -> None:
        """Who was invited has written: its invitation counts no more."""
        await self._pool.fetch("invitation_take_up", topic_id, user_id)

    def _refusal(self, limit: str) -> RecadoError:
        self._limits.reached(limit)
        settings = self._settings
        if limit == "invites":
            return RateLimited(f"You may invite {settings.invites} a minute (INVITES). Wait a moment.")
        return LimitReached(
            {
                "max_topics_per_user": f"You have made {settings.max_topics_per_user} topics, the most"
                " (MAX_TOPICS_PER_USER). Delete one first.",
                "max_memberships_per_user": f"You have joined {settings.max_memberships_per_user} topics, the most"
                " (MAX_MEMBERSHIPS_PER_USER). Leave one first.",
                "open_invitations": f"{settings.max_invitations_per_user} of your invitations are not taken up yet,"
                " the most (MAX_INVITATIONS_PER_USER). Whom you invited has to subscribe, write or confirm something"
                " first.",
            }[limit]
        )
