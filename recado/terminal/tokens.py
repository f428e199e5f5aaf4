"""`recado token`: tokens, and lines that are ready to be copied."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from recado.client import Refused
from recado.terminal.access import ONE_DAY, Access
from recado.terminal.options import add_server, positive
from recado.terminal.rest import Rest, Unreachable, bearer


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("users", nargs="+", metavar="USER")
    parser.add_argument("--days", type=positive, default=1, help="how long a token is good (default: 1)")
    parser.add_argument("--link", action="store_true", help="a one-use login link for the page instead, good for 60 s")
    add_server(parser)


async def run(options: argparse.Namespace) -> int:
    access = Access.from_options(options, os.environ)
    async with Rest(access.api_url, lambda text: print(f"recado: {text}", file=sys.stderr)) as rest:
        for user in options.users:
            if options.link:
                print(await link(access, rest, user))
            else:
                token = await access.issue(rest, user, options.days * ONE_DAY, tries=3)
                print(f"{user}\n  {token}\n  wscat -c {access.ws_url}/{token}\n")
        if not options.link and not await known(access, rest, options.users):
            print(
                f"recado: {access.api_url} could not be told of them: each can be invited and written to once it has "
                "connected.",
                file=sys.stderr,
            )
    return 0


async def link(access: Access, rest: Rest, user: str) -> str:
    """An address that logs in once. Raises Refused, Unreachable."""
    try:
        answer = await rest.ask("POST", "/api/v1/tickets", {"user": user}, headers=access.headers(user))
    except Refused as exc:
        if exc.code in ("not_found", "method_not_allowed"):
            raise Refused(exc.code, "This server makes no login links; use the token itself, without --link.") from None
        raise
    return f"{access.api_url}/#ticket={answer['ticket']}"


async def known(access: Access, rest: Rest, users: Sequence[str]) -> bool:
    """Make users known to the server; whether it heard. Again is harmless."""
    try:
        for user in users:
            await rest.ask("POST", "/api/v1/users", {"user": user}, headers=bearer(access.key), tries=1)
    except (Refused, Unreachable):
        return False
    return True
