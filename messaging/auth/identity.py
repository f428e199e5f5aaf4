"""From what a valid token says to the user that it names."""

from __future__ import annotations

from messaging.auth.tokens import Claims
from messaging.errors import TokenRevoked, Unavailable
from messaging.model import User
from messaging.store.store import Store


async def identify(store: Store, claims: Claims) -> User:
    """The user of a token, known from here on.

    Raises:
        TokenRevoked.
        Unavailable: the store does not answer.
    """
    for _ in range(2):
        found = await store.find_user(claims.user, claims.jti, max(0.0, claims.issued_at))
        if found is not None:
            user, revoked = found
            if revoked:
                raise TokenRevoked
            return user
        await store.know([claims.user])
    raise Unavailable
