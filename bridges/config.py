"""What an operator says of brokers: BRIDGES_FILE (TOML), and what NATS_URL and RABBITMQ_URL mean by themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from bridges.subjects import check_filter, subject_of
from messaging.integrator.events import OWN
from messaging.model import NAME_RULE, is_name, is_topic_name
from messaging.patterns import PATTERN_RULE, is_pattern
from messaging.settings.settings import Settings, SettingsError
from messaging.store.bridges import INTAKE

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
Text = Annotated[str, msgspec.Meta(min_length=1)]
Payload = Literal["content", "envelope"]
SEVERAL = msgspec.Meta(max_length=1000)

SEED_TOPICS = "updates.store.*"


class NatsOut(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Topics that match, to a subject. ``{topic}`` stands for the topic's name.

    ``payload``: the content's bytes alone, or an object with topic_name, seq, user_source, sent_at and content.
    ``jetstream`` "always": where no stream holds the subject, wait until one does; "auto": publish to core NATS then.
    """

    name: Name
    topics: Text
    subject: Text = "{topic}"
    payload: Payload = "content"
    jetstream: Literal["auto", "always"] = "auto"
    url: str = ""

    def __post_init__(self) -> None:
        if not is_pattern(self.topics):
            raise ValueError(f"topics = {self.topics!r} is no pattern: {PATTERN_RULE}")
        subject_of(self.subject, "topic")


class NatsIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A subject (with NATS' wildcards), into topics. ``{subject}`` stands for the subject that a message came by.

    ``start``: where a stream is read from at first; later, from where it was left.
    """

    name: Name
    subject: Text
    topic: Text = "{subject}"
    sender: Text = "nats"
    start: Literal["all", "new"] = "all"
    url: str = ""

    def __post_init__(self) -> None:
        check_filter(self.subject)
        if not is_topic_name(self.topic.replace("{subject}", "subject")):
            raise ValueError(f"topic = {self.topic!r} is no name that a topic may have: {NAME_RULE}")
        if not is_name(self.sender):
            raise ValueError(f"sender = {self.sender!r} is no name: {NAME_RULE}")


class RabbitOut(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Topics that match, to a queue. ``{topic}`` stands for the topic's name, ``{user}`` for an inbox's owner.

    ``payload`` "prontogram" is what a legacy consumer reads: {sender, receiver, body, send_time}.
    """

    name: Name
    topics: Text
    queue: Text = "{topic}"
    payload: Literal["content", "envelope", "prontogram"] = "content"
    url: str = ""


class RabbitIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A queue, into a topic. ``dead_after``: tries after which a message that can't be stored becomes a dead letter."""

    name: Name
    queue: Text
    topic: Text
    sender: Text = "rabbitmq"
    prefetch: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 50
    dead_after: Annotated[int, msgspec.Meta(ge=1, le=100)] = 5
    url: str = ""


class Nats(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"outs": "out", "ins": "in"}):
    outs: Annotated[tuple[NatsOut, ...], SEVERAL] = ()
    ins: Annotated[tuple[NatsIn, ...], SEVERAL] = ()


class Rabbit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"outs": "out", "ins": "in"}):
    outs: Annotated[tuple[RabbitOut, ...], SEVERAL] = ()
    ins: Annotated[tuple[RabbitIn, ...], SEVERAL] = ()


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that is bridged to brokers."""

    nats: Nats = Nats()
    rabbitmq: Rabbit = Rabbit()

    def named(self) -> Iterator[NatsOut | NatsIn | RabbitOut | RabbitIn]:
        yield from self.nats.outs
        yield from self.nats.ins
        yield from self.rabbitmq.outs
        yield from self.rabbitmq.ins


def read_config(settings: Settings) -> Config:
    """The file, or what the URLs mean where there is none. Raises SettingsError: one line that names what is wrong."""
    if settings.bridges_file is None:
        seed = (NatsOut("ezout", SEED_TOPICS),) if settings.nats_url else ()
        return Config(nats=Nats(outs=seed))
    return checked(decode(settings.bridges_file), settings)


def decode(path: Path) -> Config:
    """Raises SettingsError."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Config)
    except OSError as exc:
        raise SettingsError(f"BRIDGES_FILE: {path} can't be read: {exc.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise SettingsError(f"BRIDGES_FILE: {path}: {exc}") from None


def checked(config: Config, settings: Settings) -> Config:
    """Raises SettingsError where two bridges have one name, or one has no server."""
    names = Counter(each.name for each in config.named())
    if taken := next((name for name in names if name in (OWN, INTAKE)), None):
        raise SettingsError(f"BRIDGES_FILE: {taken!r} is the name of something else already; choose another")
    if twice := next((name for name, count in names.items() if count > 1), None):
        raise SettingsError(f"BRIDGES_FILE: two bridges are called {twice!r}; each needs a name of its own")
    for each in config.named():
        is_nats = isinstance(each, NatsOut | NatsIn)
        if not each.url and not (settings.nats_url if is_nats else settings.rabbitmq_url):
            setting = "NATS_URL" if is_nats else "RABBITMQ_URL"
            raise SettingsError(f"BRIDGES_FILE: bridge {each.name!r} has no server: give it a url, or set {setting}")
    return config
