"""`recado tail`: messages as they come, each acknowledged once it is printed; another run goes on where this ended."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from recado.client import Client, Gap, Message, State, Thing
from recado.terminal.access import Access
from recado.terminal.formatting import Paint, frame_of
from recado.terminal.options import add_server, add_user, positive
from recado.terminal.rest import Rest
from recado.terminal.server import Mistake


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help="only these, joined if need be")
    parser.add_argument("--all", action="store_true", help="every topic that the user belongs to, as without TOPIC")
    add_user(parser, text="whose messages")
    parser.add_argument("--json", action="store_true", help="each as one line of JSON, as the server sends it")
    parser.add_argument("--device", default="", metavar="NAME", help="go on from a position of its own")
    parser.add_argument("--count", type=positive, metavar="N", help="end after so many messages")
    add_server(parser)


async def run(options: argparse.Namespace) -> int:
    access = Access.from_options(options, os.environ)
    if options.all and options.topics:
        raise Mistake("Either --all or the names of topics.")
    user = access.user(options.user)
    async with (
        ended_by(signal.SIGTERM),
        Rest(access.api_url) as rest,
        Client(
            access.ws_url, access.token_source(rest, user), device=options.device, explicit=True,
            on_state=Teller(access.ws_url),
        ) as client,
    ):  # fmt: skip
        for topic in options.topics:
            if topic != "@" + user:
                await client.subscribe(topic)
        with suppress(BrokenPipeError):  # who read the output has enough; what it did not take comes again
            await print_all(client, options, user)
    return 0


@asynccontextmanager
async def ended_by(number: signal.Signals) -> AsyncIterator[None]:
    """A signal cancels the task inside, so that what was printed is still acknowledged."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None
    loop.add_signal_handler(number, task.cancel)
    try:
        yield
    finally:
        loop.remove_signal_handler(number)


async def print_all(client: Client, options: argparse.Namespace, user: str) -> None:
    paint, wanted, left = Paint.for_stream(sys.stdout, os.environ), set(options.topics), options.count
    while left is None or left > 0:
        thing = await client.next()
        if wanted and thing.topic not in wanted:
            continue
        show(thing, paint, user, as_json=options.json)
        if isinstance(thing, Message | Gap):
            client.ack(thing)
        if left is not None and isinstance(thing, Message):
            left -= 1


def show(thing: Thing, paint: Paint, user: str, *, as_json: bool) -> None:
    """Print it, and be sure that it is out."""
    print(frame_of(thing) if as_json else paint.thing(thing, user), flush=True)


class Teller:
    """Says on stderr what becomes of the connection: once when it is lost, once when it is back."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._is_lost = False

    def __call__(self, state: State) -> None:
        if state.name == "waiting" and not self._is_lost:
            self._is_lost = True
            print(f"recado: no connection to {self._url}: {state.reason}; trying again …", file=sys.stderr)
        elif state.name == "connected" and self._is_lost:
            self._is_lost = False
            print("recado: connected again", file=sys.stderr)
