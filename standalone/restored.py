"""`recado restored`: after a restore, tell all readers that the seqs that they know are of other logs.

It speaks to the database itself, as no door should run yet: to the one in DATABASE_URL, else to the one in DATA_DIR.
"""

from __future__ import annotations

import argparse
import os

from messaging.settings.settings import Settings
from messaging.store.migrations import migrate
from messaging.store.store import Store


def add_options(_: argparse.ArgumentParser) -> None:
    """It has none: where the database is, the environment says."""


async def run(_: argparse.Namespace) -> int:
    from standalone.up import database  # with every door, which no other command needs

    settings = Settings.from_environ(os.environ)
    async with database(settings) as (dsn, _lost):
        await migrate(dsn, unsafe=settings.unsafe_durability)
        store = Store(dsn, pool_size=1)
        try:
            await store.open()
            before = store.epochs.identity
            await store.epochs.restored(before)
            print(
                "Every topic has another epoch from here on: clients that ask for it, and streams, take what comes now"
                f" for new. The counter was {before.restored} and is {store.epochs.identity.restored}."
            )
        finally:
            await store.close()
    return 0
