"""`recado chat`: a conversation. What it shows, it acknowledges; what it did not show comes again."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from urllib.parse import quote

from recado.client import Client, Message, Refused, State, Thing, TopicState
from recado.client.resuming import Positions
from recado.terminal.access import Access
from recado.terminal.chat.commands import HELP, Command, Say, Unclear, advice, parse
from recado.terminal.chat.screens import Screen, make_screen
from recado.terminal.formatting import Paint, safe
from recado.terminal.options import add_server, add_user
from recado.terminal.publish import people
from recado.terminal.rest import Rest, Unreachable

HISTORY = 20  # messages shown on entering a topic
DRAIN_SECONDS = 5.0  # seconds that what was typed last has, at the end
MAX_TYPED = 1000  # lines that wait to be sent


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("topic", nargs="?", default="", metavar="TOPIC", help="where to begin; @USER for one person")
    add_user(parser)
    add_server(parser)


async def run(options: argparse.Namespace) -> int:
    access = Access.from_options(options, os.environ)
    user = access.user(options.user)
    paint = Paint.for_stream(sys.stdout, os.environ)
    async with Rest(access.api_url) as rest:
        chat = Chat(user, access, rest, paint, options.topic)
        words = [usage.split()[0] for usage, _ in HELP]
        await chat.run(make_screen(paint, chat.place, chat.state, words))
    return 0


class Chat:
    """One person's conversation: where it is, what it has seen, what it is about to send."""

    def __init__(self, user: str, access: Access, rest: Rest, paint: Paint, topic: str) -> None:
        self._me = user
        self._access = access
        self._rest = rest
        self._paint = paint
        self._here = topic
        self._wished = topic
        self._shown = Positions()
        self._topics_shown: set[str] = set()
        self._turn = asyncio.Lock()  # a history is shown as a whole, before what is live
        self._typed: asyncio.Queue[Say | Command] = asyncio.Queue(MAX_TYPED)
        self._unsent = 0
        self._opened = asyncio.Event()
        self._connection = State("connecting")
        self._since = time.monotonic()
        self._is_lost = False
        self._client = Client(access.ws_url, access.token_source(rest, user), on_state=self._changed)
        self._does: dict[str, Callable[..., Awaitable[None]]] = {
            "join": self._join, "new": self._new, "leave": self._leave, "invite": self._invite, "dm": self._dm,
            "topics": self._topics, "who": self._who, "help": self._help,
        }  # fmt: skip

    async def run(self, screen: Screen) -> None:
        """Talk until the person ends it. Raises Ended where the server does."""
        self._screen = screen
        async with self._client:
            works = [asyncio.create_task(work) for work in (self._read(), self._listen())]
            sending = asyncio.create_task(self._send())
            try:
                await asyncio.wait([*works, sending], return_when=asyncio.FIRST_COMPLETED)
                if works[0].done():
                    await self._finish(sending)
                for work in [task for task in (*works, sending) if task.done()]:
                    work.result()
            finally:
                for work in (*works, sending):
                    work.cancel()
                await asyncio.wait([*works, sending])

    def place(self) -> str:
        """Where what is typed goes."""
        return self._here or "nowhere"

    def state(self) -> str:
        """The state line."""
        unsent = f" · {self._unsent} not sent yet" if self._unsent and self._connection.name != "connected" else ""
        return f" {self._me} · {self._connection_text()}{unsent} · /help"

    def _connection_text(self) -> str:
        if self._connection.name == "waiting":
            left = max(0.0, self._connection.retry_in - (time.monotonic() - self._since))
            return f"no connection ({safe(self._connection.reason)}), again in {left:.0f} s"
        return {"connected": "connected", "ended": "ended"}.get(self._connection.name, "connecting …")

    def _changed(self, state: State) -> None:
        self._connection, self._since = state, time.monotonic()
        if state.name == "waiting" and not self._is_lost:
            self._is_lost = True
            self._note(f"no connection: {state.reason}. Trying again; what you type waits.")
        elif state.name == "connected" and self._is_lost:
            self._is_lost = False
            self._note("connected again")
        self._screen.refresh()

    # What comes

    async def _listen(self) -> None:
        await self._open()
        while True:
            thing = await self._client.next()
            async with self._turn:
                self._put(thing)

    async def _open(self) -> None:
        """The first thing to see: where we are, and what was said there before."""
        self._note(f"You are {self._me}. /help lists what you can type.")
        states = await self._client.topics()
        if not self._wished:
            mine = [state.name for state in states if state.kind != "direct"]
            self._here = "general" if "general" in mine else (mine or [""])[0]
        if self._here:
            await self._guarded(self._here, self._join(self._here))
        else:
            self._note("You belong to no topic yet: /join TOPIC, /new TOPIC, or /dm USER.")
        self._opened.set()

    def _put(self, thing: Thing) -> None:
        fresh = self._shown.fresh(thing)
        if fresh is None:
            return
        self._shown.receive(fresh)
        self._topics_shown.add(fresh.topic)
        self._screen.show(self._paint.thing(fresh, self._me, self._home_of(fresh)))

    def _home_of(self, thing: Thing) -> str:
        """The topic that goes without saying: in a conversation with one person, also one's own inbox."""
        if isinstance(thing, Message) and thing.topic == "@" + self._me and self._here == "@" + thing.sender:
            return thing.topic
        return self._here

    # What is typed

    async def _read(self) -> None:
        async for line in self._screen.lines():
            match parse(line):
                case Command("quit"):
                    return
                case Unclear(text):
                    self._screen.show(self._paint.problem(text))
                case Say() | Command() as wish:
                    self._unsent += 1
                    await self._typed.put(wish)

    async def _send(self) -> None:
        """Do what was typed, in order, each when the one before it is done."""
        await self._opened.wait()
        while True:
            wish = await self._typed.get()
            topic = wish.arguments[0] if isinstance(wish, Command) and wish.arguments else self._here
            work = self._say(wish.text) if isinstance(wish, Say) else self._does[wish.word](*wish.arguments)
            await self._guarded(topic, work)
            self._unsent -= 1
            self._typed.task_done()

    async def _guarded(self, topic: str, work: Awaitable[None]) -> None:
        try:
            await work
        except (Refused, Unreachable) as exc:
            code = exc.code if isinstance(exc, Refused) else ""
            self._screen.show(self._paint.problem(f"{exc} {advice(code, topic)}".strip()))

    async def _finish(self, sending: asyncio.Task[None]) -> None:
        """Let what was typed be sent. Without a person at the keys that may take as long as it takes."""
        patience = DRAIN_SECONDS if sys.stdin.isatty() else None
        joined = asyncio.create_task(self._all_sent())
        await asyncio.wait([joined, sending], timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        if not joined.done():
            joined.cancel()
            self._screen.show(self._paint.problem("There was no connection: what you typed last was not sent."))

    async def _all_sent(self) -> None:
        await self._opened.wait()
        await self._typed.join()

    async def _say(self, text: str) -> None:
        if not self._here:
            self._screen.show(self._paint.problem("You are in no topic: /join TOPIC, /new TOPIC, or /dm USER."))
            return
        here = self._here
        await self._publish(here if here.startswith("@") else f"#{here}", text)

    async def _publish(self, topic: str, text: str) -> None:
        seq = await self._client.publish(topic, text)
        if topic.startswith("@") and topic != "@" + self._me:  # of another's inbox nothing comes back
            async with self._turn:
                message = Message(topic, seq, self._me, text, datetime.now(UTC))
                self._screen.show(self._paint.thing(message, self._me, self._here))

    async def _join(self, topic: str, *_: str) -> None:
        topic = topic.removeprefix("#")
        async with self._turn:
            if not topic.startswith("@"):
                await self._client.subscribe(topic)
            self._go(topic)
            if topic not in self._topics_shown and not topic.startswith("@"):
                await self._show_history(topic)

    def _go(self, topic: str) -> None:
        self._here = topic
        self._screen.show(self._paint.bold(f"── {safe(topic)} ──"))

    async def _show_history(self, topic: str) -> None:
        """What was said before what is pending: that comes by itself."""
        state = next((state for state in await self._client.topics() if state.name == topic), None)
        pending_from = state.last_seq - state.pending + 1 if state else None
        page = await self._client.history(topic, before=pending_from, limit=HISTORY)
        for message in page.messages:
            self._put(message)
        self._topics_shown.add(topic)

    async def _new(self, topic: str, kind: str = "public", *_: str) -> None:
        path = f"/api/v1/topics/{quote(topic, safe='')}"
        body = {"kind": "private" if kind == "private" else "public", "owner": self._me}
        if topic in {state.name for state in await self._client.topics()}:
            raise Refused("conflict", f"You belong to a topic {topic} already.")
        await self._rest.ask("PUT", path, body, headers=self._access.headers(self._me))
        await self._join(topic)

    async def _leave(self, topic: str = "", *_: str) -> None:
        await self._client.unsubscribe(topic or self._here)
        self._note(f"you have left {topic or self._here}")
        if topic in ("", self._here):
            self._here = ""

    async def _invite(self, user: str, topic: str = "", *_: str) -> None:
        await self._client.invite(topic or self._here, user)
        self._note(f"{user} is a member of {topic or self._here} now")

    async def _dm(self, user: str, text: str = "") -> None:
        inbox = "@" + user.removeprefix("@")
        if text:
            await self._publish(inbox, text)
        else:
            self._go(inbox)

    async def _topics(self, *_: str) -> None:
        for state in await self._client.topics():
            self._screen.show(self._topic_line(state))

    def _topic_line(self, state: TopicState) -> str:
        kind = "your inbox" if state.kind == "direct" else state.kind
        waiting = f", {state.pending} waiting" if state.pending else ""
        mark = self._paint.good("*") if state.name == self._here else " "
        return f"{mark} {self._paint.bold(safe(state.name))}  {self._paint.faint(f'{kind}{waiting}')}"

    async def _who(self, topic: str = "", *_: str) -> None:
        name = topic or self._here
        path = f"/api/v1/topics/{quote(name, safe='')}/members"
        answer = await self._rest.ask("GET", path, headers=self._access.headers(self._me))
        self._note(f"{name}: {people([member['username'] for member in answer['members']], 50)}")

    async def _help(self, *_: str) -> None:
        width = max(len(usage) for usage, _ in HELP)
        for usage, text in HELP:
            self._screen.show(f"  {self._paint.bold(usage.ljust(width))}  {self._paint.faint(text)}")

    def _note(self, text: str) -> None:
        self._screen.show(self._paint.note(text))
