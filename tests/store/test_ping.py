"""Whether the database answers, which orchestrators ask without a limit."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from support.ws import running


async def test_however_many_ask_at_once_the_database_is_asked_once(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(database) as recado:
        store, fetch, pings = recado.node.store, recado.node.store.pool.fetch, 0

        async def counted(name: str, *arguments: Any) -> Any:
            nonlocal pings
            pings += name == "ping"
            return await fetch(name, *arguments)

        monkeypatch.setattr(store.pool, "fetch", counted)
        await asyncio.gather(*(store.ping() for _ in range(50)))
        assert 1 == pings
        await store.ping()
        assert 2 == pings
