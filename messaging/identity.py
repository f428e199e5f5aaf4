"""From what a valid token says to the user that it names."""

from __future__ import annotations

from messaging.errors import Unauthorized, Unavailable
from messaging.model import User
from messaging.store import Store
from messaging.tokens import Claims


async def identify(store: Store, claims: Claims) -> User:
    """The user of a token, known from here on.

    Raises:
        Unauthorized: the token was revoked.
        Unavailable: the store does not answer.
    """
    for _ in range(2):
        found = await store.find_user(claims.user, claims.jti, max(0.0, claims.issued_at))
        if found is not None:
            user, revoked = found
            if revoked:
                raise Unauthorized("The token was revoked. Ask for a new one.")
            return user
        await store.know([claims.user])
    raise Unavailable
