"""What the processes of an installation agree on."""

import asyncio

from messaging.store.queries import load_queries
from support.log import connected, waits_for_lock


async def test_a_value_that_two_offer_at_once_is_the_same_for_both(database: str) -> None:
    """Such as the secret of an installation: who comes second waits, and has the first's."""
    offer = load_queries()["shared_value"]
    async with connected(database) as one, connected(database) as two:
        async with one.transaction():
            assert await one.fetchval(offer, "jwt_secret", "first") == "first"
            other = asyncio.create_task(two.fetchval(offer, "jwt_secret", "second"))
            await waits_for_lock(database, "recado.shared")
        assert await other == "first"
        assert await two.fetchval(offer, "jwt_secret", "third") == "first"
