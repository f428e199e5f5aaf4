"""How many requests of a user are under way in this process: streams and long polls, which last, among them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from messaging.errors import RateLimited


class UnderWay:
    """Those of HTTP, by user. Platforms are users, too."""

    def __init__(self, most: int, refused: Callable[[str], None]) -> None:
        """``most`` of one user; 0: no limit. ``refused`` is told the name of the limit each time that it refuses."""
        self._most = most
        self._refused = refused
        self._counts: Counter[int] = Counter()

    @contextmanager
    def one_more(self, user_id: int) -> Iterator[None]:
        """Count a request for as long as this lasts; of 0, who is no user, none is. Raises RateLimited."""
        if not (user_id and self._most):
            yield
            return
        if self._counts[user_id] >= self._most:
            self._refused("max_connections_per_user")
            raise RateLimited(
                f"{self._most} of your requests and streams are under way here already (MAX_CONNECTIONS_PER_USER)."
                " Wait for one, or close one."
            )
        self._counts[user_id] += 1
        try:
            yield
        finally:
            self._counts[user_id] -= 1
            if not self._counts[user_id]:
                del self._counts[user_id]
