"""`recado export`: a topic's messages, one line of JSON each, read page by page from the history.

A run that ended, however it did, is continued by the same command: what the file has is kept, a line that was not
finished is cut off, and in the end it is what an unbroken run would have made.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, TypeVar
from urllib.parse import quote

import msgspec

from recado.terminal.access import Access
from recado.terminal.formatting import safe
from recado.terminal.options import add_server, add_user
from recado.terminal.progress import Progress
from recado.terminal.rest import Rest, Unreachable
from recado.terminal.server import Mistake

PAGE = 100  # messages; the most that the server gives at once
MAX_TRIES = 8
_TAIL = 512 * 1024  # bytes: more than two lines have

T = TypeVar("T")


class ExportRecord(msgspec.Struct, frozen=True):
    """One message in the file. ``content`` as it was sent, but for line breaks between its tokens.

    ``epoch``: which log of this name the seq is of; older files do not say.
    """

    topic_name: str
    seq: int
    sent_at: datetime
    user_source: str
    content: msgspec.Raw
    epoch: str = ""


class _Sent(msgspec.Struct):
    seq: int
    content: msgspec.Raw
    user_source: str
    sent_at: datetime


class _Page(msgspec.Struct):
    messages: list[_Sent]


class _Head(msgspec.Struct):
    last_seq: int
    epoch: str


@dataclass(frozen=True, slots=True)
class Range:
    """Messages with after < seq <= last."""

    after: int
    last: int


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("topic", metavar="TOPIC", help="a topic, or @USER for one's own inbox")
    when = "a seq, or a time such as 2026-05-01 or 2026-05-01T12:30+02:00"
    parser.add_argument("--since", type=point, metavar="SEQ|TIME", help=f"begin there: {when} (default: the beginning)")
    parser.add_argument("--until", type=point, metavar="SEQ|TIME", help="end there, inclusive (default: the end)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write there; what it has already is kept")
    add_user(parser, text="who reads")
    add_server(parser)


def point(text: str) -> int | datetime:
    """A seq, or a moment; one without a zone is this machine's time."""
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a seq nor a time such as 2026-05-01") from None


async def run(options: argparse.Namespace) -> int:
    access = Access.from_options(options, os.environ)
    user = options.user or (access.user(None) if access.token else None)
    async with Rest(access.api_url, lambda text: print(f"recado: {text}", file=sys.stderr)) as rest:
        source = History(rest, options.topic, lambda: access.headers(user))
        whole = await source.between(options.since, options.until)
        with opened(options.output) as sink:
            done = last_seq_of(sink, options.topic, source.epoch) if options.output else 0
            await copy(source, Range(max(whole.after, done), whole.last), sink)
    return 0


async def copy(source: History, todo: Range, sink: BinaryIO) -> None:
    """Write the messages of a range, a page at a time."""
    progress = Progress(sys.stderr, todo.after, todo.last, time.monotonic)
    position = todo.after
    escape = sink.isatty()
    while position < todo.last:
        lines = await source.page(position, min(PAGE, todo.last - position), todo.last)
        if not lines:
            break
        text = b"".join(map(encoded, lines))
        sink.write(safe(text.decode()).encode() if escape else text)
        sink.flush()
        position = lines[-1].seq
        progress.show(position, len(lines))
    progress.end()


def encoded(line: ExportRecord) -> bytes:
    """One line. Raw line breaks in JSON stand between tokens only, where a space means the same."""
    return msgspec.json.encode(line).replace(b"\r", b" ").replace(b"\n", b" ") + b"\n"


class History:
    """One topic's past, as the API gives it."""

    def __init__(self, rest: Rest, topic: str, headers: Callable[[], dict[str, str]]) -> None:
        self._rest = rest
        self._topic = topic
        self._headers = headers
        self._path = f"/api/v1/topics/{quote(topic, safe='')}"
        self.epoch = ""  # of what is read: another one is refused

    async def page(self, after: int, limit: int, last: int) -> list[ExportRecord]:
        """The first messages with after < seq <= last. Raises Refused where the topic is another one by now."""
        path = f"{self._path}/messages?after={after}&limit={limit}&epoch={self.epoch}"
        found = await self._ask(path, _Page)
        return [
            ExportRecord(self._topic, sent.seq, sent.sent_at, sent.user_source, sent.content, self.epoch)
            for sent in found.messages if sent.seq <= last
        ]  # fmt: skip

    async def between(self, since: int | datetime | None, until: int | datetime | None) -> Range:
        """What lies between two points, both inclusive."""
        found = await self._ask(self._path, _Head)
        head, self.epoch = found.last_seq, found.epoch
        after, last = 0, head
        if since is not None:
            after = since - 1 if isinstance(since, int) else await self._last_of(head, lambda at: at < since)
        if until is not None:
            last = until if isinstance(until, int) else await self._last_of(head, lambda at: at <= until)
        return Range(max(0, after), min(last, head))

    async def _last_of(self, head: int, is_within: Callable[[datetime], bool]) -> int:
        """The highest seq whose message was sent early enough: as sent_at rises with seq, halving finds it quickly."""
        low, high = 0, head
        while low < high:
            middle = (low + high) // 2
            found = await self.page(middle, 1, head)
            if found and is_within(found[0].sent_at):
                low = found[0].seq
            else:
                high = middle
        return low

    async def _ask(self, path: str, kind: type[T]) -> T:
        decoder = msgspec.json.Decoder(kind)
        try:
            answer: T = await self._rest.ask(
                "GET", path, headers=self._headers(), tries=MAX_TRIES, decode=decoder.decode
            )
        except msgspec.DecodeError:
            raise Unreachable(f"{self._rest.url} does not answer as Recado does. Is it the right address?") from None
        return answer


def opened(path: Path | None) -> AbstractContextManager[BinaryIO]:
    """Where the lines go. Raises Mistake."""
    if path is None:
        return nullcontext(sys.stdout.buffer)
    try:
        return path.open("r+b" if path.exists() else "w+b")
    except OSError as exc:
        raise Mistake(f"{path} can't be written ({exc.strerror}).") from None


def last_seq_of(file: BinaryIO, topic: str, epoch: str) -> int:
    """How far a file has come; 0 where it is empty. A line that was not finished is cut off.

    Raises:
        Mistake: it is no export of this topic, or of another log of its name than this epoch's.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TAIL))
    whole, _, torn = file.read().rpartition(b"\n")
    begin = b'{"topic_name":' + msgspec.json.encode(topic) + b',"seq":'
    last = whole.rpartition(b"\n")[2]
    # Before anything is cut off: it must be ours.
    if torn[: len(begin)] != begin[: len(torn)] or last[: len(begin)] != begin[: len(last)]:
        raise Mistake(f"{file.name} is no export of {topic}. Choose another file.")
    reached = msgspec.json.decode(last, type=ExportRecord) if last else None
    if reached is not None and reached.epoch not in ("", epoch):
        raise Mistake(
            f"{file.name} is of another log: since then {topic} was made again, or the database restored."
            " Choose another file."
        )
    file.seek(size - len(torn))
    file.truncate()
    return reached.seq if reached is not None else 0
