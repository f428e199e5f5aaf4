"""Subjects: tokens between dots, ``*`` for one token and a last ``>`` for one or more. Pure.

The client library publishes to ``a.`` and ``a.*`` without a complaint, so what is a subject is decided here.
"""

from __future__ import annotations

import re

MAX_SUBJECT = 1024  # a line of the protocol has 4096 bytes, and carries a reply subject too
_TOKEN = re.compile(r"[^\s.*>\x00-\x1f\x7f]+\Z")
_RESERVED = ("$", "_INBOX.")  # the server's own subjects, and the inboxes of its clients


def subject_of(template: str, topic: str) -> str:
    """The subject for a topic's messages. Raises ValueError: it would be none."""
    subject = template.replace("{topic}", topic)
    if len(subject.encode()) > MAX_SUBJECT:
        raise ValueError(f"{subject[:40]}… is longer than {MAX_SUBJECT} bytes, so no subject of NATS")
    if not all(_TOKEN.match(token) for token in subject.split(".")):
        raise ValueError(f"{subject!r} is no subject of NATS: it has an empty token, a wildcard or white space")
    if subject.startswith(_RESERVED):
        raise ValueError(f"{subject!r} is a subject that NATS keeps for itself")
    return subject


def check_filter(text: str) -> None:
    """Raises ValueError where ``text`` can't be subscribed to."""
    tokens = text.split(".")
    fits = all(token == "*" or _TOKEN.match(token) for token in tokens[:-1])
    if not fits or not (tokens[-1] in ("*", ">") or _TOKEN.match(tokens[-1])):
        raise ValueError(f"{text!r} is no subject of NATS: words with dots between, * for one, > at the end for more")


def covers(wide: str, narrow: str) -> bool:
    """Whether all that ``narrow`` (a subject, or a filter) stands for is matched by the filter ``wide``."""
    ours, theirs = wide.split("."), narrow.split(".")
    for place, token in enumerate(ours):
        if token == ">":
            return len(theirs) > place
        if place >= len(theirs) or theirs[place] == ">" or (token != "*" and token != theirs[place]):
            return False
    return len(ours) == len(theirs)
