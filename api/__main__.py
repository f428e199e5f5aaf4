"""The API as a service of its own: ``python -m api``, against DATABASE_URL."""

from __future__ import annotations

import signal

if __name__ == "__main__":  # Python's own way to end in the middle of an import is a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from api.app import make_app
from api.serving import leave, serve
from messaging.auth.tokens import Tokens
from messaging.bus.choose import make_bus
from messaging.node import running_node
from messaging.runtime.process import Stop, run_process
from messaging.settings.settings import Settings


async def work(settings: Settings, stop: Stop) -> None:
    """Serve until it is to stop; what is in flight is stored before it ends.

    Raises:
        Unavailable, MigrationError, NotDurable, OSError: the start failed.
    """
    dsn = settings.database_url
    async with (
        Tokens(settings.jwt_secret, settings.jwt_issuers) as tokens,
        running_node(settings, dsn, make_bus(settings.bus_url, dsn), keeps_house=False, settled=stop.settle) as node,
    ):
        runner = await serve(make_app(node, tokens, settings), node, settings.api_host, settings.api_port)
        stop.ready()
        try:
            await stop.wait()
        finally:
            await leave(runner, settings.stop_seconds / 2)


def main() -> None:
    run_process("api", work)


if __name__ == "__main__":
    main()
