"""What the store keeps of tokens: which are void, and the tickets that stand in for one. By digests alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from messaging.errors import UnknownUser
from messaging.store.pool import Pool


class TokenStore:
    """Who was revoked is asked over a line of its own: that waits for nothing else that a node reads."""

    def __init__(self, dsn: str, pool: Pool) -> None:
        self._line = Pool(dsn, 1)
        self._pool = pool

    async def open(self) -> None:
        """Raises Unavailable."""
        await self._line.open()

    async def close(self) -> None:
        await self._line.close()

    async def now(self) -> float:
        """The time that counts, the database's, in seconds since 1970."""
        moment = await self._pool.value("clock")
        return float(moment.timestamp())

    async def revoke_user(self, name: str) -> int:
        """Void the tokens of a user issued until now. Its id. Raises UnknownUser."""
        user_id = await self._pool.value("user_revoke", name)
        if user_id is None:
            raise UnknownUser
        return int(user_id)

    async def revoke(self, jti: str) -> None:
        await self._pool.fetch("token_revoke", digest(jti))

    async def versions(self, user_ids: Sequence[int]) -> dict[int, tuple[int, float]]:
        """By user id: its version, and until when (seconds since 1970) tokens are void."""
        rows = await self._line.fetch("users_changed", user_ids)
        return {row["id"]: (row["version"], row["revoked_before"]) for row in rows}

    async def revoked(self, jtis: Iterable[str]) -> set[str]:
        """Those of the tokens, by their ids, that are void."""
        asked = {digest(jti): jti for jti in jtis}
        return {asked[row["digest"]] for row in await self._line.fetch("tokens_revoked", list(asked))}

    async def keep_ticket(self, ticket: str, claims: str, seconds: float, user_id: int | None, most: int) -> bool:
        """Whether it is kept: of a user are ``most``, where that is not 0."""
        kept: bool = await self._pool.value("ticket_keep", digest(ticket), claims, seconds, user_id, most)
        return kept

    async def take_ticket(self, ticket: str) -> str | None:
        """The claims of a ticket, for the first who asks."""
        claims: str | None = await self._pool.value("ticket_take", digest(ticket))
        return claims


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
