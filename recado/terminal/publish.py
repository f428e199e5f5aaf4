"""`recado publish` and `recado topics`: one request each."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any
from urllib.parse import quote, urlencode
from uuid import uuid4

from recado.client import Refused
from recado.terminal.access import Access
from recado.terminal.formatting import Paint, safe
from recado.terminal.options import add_server, add_user, positive
from recado.terminal.rest import Rest
from recado.terminal.server import Mistake

PUBLISH_TRIES = 8
_HINTS = {
    "not_a_member": "`recado chat --as {user} {topic}` joins it; without --as a backend publishes, which need not.",
    "unknown_topic": "`recado topics --user USER` lists somebody's; /new in `recado chat` makes one.",
}


def add_publish_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("topic", metavar="TOPIC", help="a topic, or @USER for somebody's inbox")
    parser.add_argument("content", metavar="CONTENT", help="a text; - reads it from the standard input")
    add_user(parser)
    parser.add_argument("--ttl", type=positive, metavar="S", help="seconds that the message lives")
    parser.add_argument("--json", action="store_true", help="CONTENT is JSON, not a text")
    add_server(parser)


async def run_publish(options: argparse.Namespace) -> int:
    access = Access.from_options(options, os.environ)
    user = options.user or (access.user(None) if access.token else None)
    body = {"content": content_of(options.content, options.json), "sender": user, "ttl": options.ttl}
    headers = access.headers(user) | {"Idempotency-Key": uuid4().hex}
    given = {name: value for name, value in body.items() if value is not None or name == "content"}
    path = f"/api/v1/topics/{quote(options.topic, safe='')}/messages"
    async with Rest(access.api_url, _told) as rest:
        try:
            answer = await rest.ask("POST", path, given, headers=headers, tries=PUBLISH_TRIES)
        except Refused as exc:
            hint = _HINTS.get(exc.code, "").format(user=user, topic=options.topic)
            raise Refused(exc.code, f"{exc} {hint}".strip()) from None
    print(f"stored in {safe(answer['topic_name'])} as {answer['seq']}")
    return 0


def content_of(text: str, is_json: bool) -> Any:
    """Raises Mistake where it should be JSON and is not."""
    if text == "-":
        text = sys.stdin.read().removesuffix("\n")
    if not is_json:
        return text
    try:
        return json.loads(text)
    except ValueError as exc:
        raise Mistake(f"CONTENT is no JSON ({exc}). A text needs quotes there, or leave --json out.") from None


def add_topics_options(parser: argparse.ArgumentParser) -> None:
    add_user(parser, "--user", "--as", text="whose topics")
    parser.add_argument("--json", action="store_true", help="as JSON")
    add_server(parser)


async def run_topics(options: argparse.Namespace) -> int:
    access = Access.from_options(options, os.environ)
    user = access.user(options.user)
    async with Rest(access.api_url, _told) as rest:
        topics = await topics_of(rest, user, access.headers(user))
    if options.json:
        print(safe(json.dumps(topics, ensure_ascii=False)))
    elif not topics:
        print(f"{safe(user)} belongs to no topic. In `recado chat --as {safe(user)}`, /join TOPIC joins a public one.")
    else:
        print("\n".join(table(topics, Paint.for_stream(sys.stdout, os.environ))))
    return 0


async def topics_of(rest: Rest, user: str, headers: dict[str, str]) -> list[dict[str, Any]]:
    """All topics of a user, by name."""
    found: list[dict[str, Any]] = []
    more = True
    while more:
        behind = {"after": found[-1]["topic_name"]} if found else {}
        answer = await rest.ask("GET", f"/api/v1/topics?{urlencode({'user': user, **behind})}", headers=headers)
        found += answer["topics"]
        more = bool(answer["topics"]) and answer.get("more", False)
    return found


def table(topics: list[dict[str, Any]], paint: Paint) -> list[str]:
    """A line for each topic: its name, its kind, its members."""
    width = max(len(topic["topic_name"]) for topic in topics)
    return [
        f"{paint.bold(safe(topic['topic_name']))}{' ' * (width - len(topic['topic_name']))}  "
        f"{'private' if topic['is_private'] else 'public ':7}  {people(topic['members'])}"
        for topic in topics
    ]


def people(names: list[str], most: int = 8) -> str:
    shown = ", ".join(safe(name) for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _told(text: str) -> None:
    print(f"recado: {text}", file=sys.stderr)
