"""A durable consumer in JetStream: it remembers in the stream's server how far a bridge has stored.

The server pushes, in order, and only so much as is not acknowledged; a heartbeat tells silence from death. Where
messages were left unacknowledged, it is set back before it is read again: else they would come after newer ones.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass

from nats.aio.client import Client
from nats.errors import TimeoutError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, RetentionPolicy, StreamInfo
from nats.js.errors import APIError, NotFoundError

from bridges.config import NatsIn
from bridges.nats.connection import streams_of
from bridges.subjects import covers
from messaging.bus.nats_connection import ANSWER_SECONDS

log = logging.getLogger(__name__)

HEARTBEAT = 2.0  # seconds
ACK_WAIT = 30.0
MAX_UNSETTLED = 64  # messages, which may have a megabyte each


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream that holds all of a subject. ``identity`` is another one where it was deleted and made again."""

    name: str
    identity: str
    is_queue: bool  # what was acknowledged is gone from it


async def find_stream(client: Client, filter_: str) -> tuple[Stream | None, list[str]]:
    """The stream that holds all that a filter stands for; and those that hold some of it.

    Raises:
        NoJetStream; TROUBLE: no answer.
    """
    names = await streams_of(client, filter_)
    if len(names) != 1:
        return None, names
    info = await context(client).stream_info(names[0])
    if not any(covers(subject, filter_) for subject in info.config.subjects or ()):
        return None, names
    return stream_of(info), names


def stream_of(info: StreamInfo) -> Stream:
    name = info.config.name or ""
    seed = f"{name}\0{info.created}".encode()
    identity = hashlib.blake2b(seed, digest_size=8).hexdigest()
    return Stream(name, identity, info.config.retention == RetentionPolicy.WORK_QUEUE)


def context(client: Client) -> JetStreamContext:
    return client.jetstream(timeout=ANSWER_SECONDS)


async def stand_ready(
    client: Client, stream: Stream, bridge: NatsIn, durable: str, last: int | None
) -> tuple[str, int]:
    """See that the consumer is there, and begins with what is not acknowledged.

    Args:
        last: the seq that was acknowledged last, where it is known: a consumer that was deleted begins behind it.

    Returns:
        The subject that it delivers to, and up to which seq nothing is left to be delivered.

    Raises:
        Error, OSError: it can't be had now.
    """
    api = context(client)
    config = configured(bridge, stream, durable, last)
    try:
        found = await api.consumer_info(stream.name, durable)
    except NotFoundError:
        found = await api.add_consumer(stream.name, config)
        first = config.opt_start_seq or bridge.start
        log.info("bridge %s: has a new consumer in stream %s, which begins with: %s", bridge.name, stream.name, first)
    if (found.config.filter_subject, found.config.max_ack_pending) != (bridge.subject, MAX_UNSETTLED):
        found.config.filter_subject, found.config.max_ack_pending = bridge.subject, MAX_UNSETTLED
        await api.add_consumer(stream.name, found.config)
    if found.num_ack_pending:
        await _set_back(api, stream, durable)
    floor = found.ack_floor.stream_seq if found.ack_floor is not None else 0
    return str(found.config.deliver_subject), floor


async def _set_back(api: JetStreamContext, stream: Stream, durable: str) -> None:
    """Servers before 2.14 can't: there what is unacknowledged comes again after 30 s, behind newer messages."""
    try:
        await api.reset_consumer(stream.name, durable)
    except (APIError, TimeoutError) as exc:
        log.info("consumer %s can't be set back: %s", durable, exc)


def configured(bridge: NatsIn, stream: Stream, durable: str, last: int | None) -> ConsumerConfig:
    config = ConsumerConfig(
        durable_name=durable, description="a bridge of Recado", filter_subject=bridge.subject,
        deliver_subject=f"_INBOX.{durable}", ack_policy=AckPolicy.EXPLICIT, ack_wait=ACK_WAIT,
        max_ack_pending=MAX_UNSETTLED, idle_heartbeat=HEARTBEAT, deliver_policy=DeliverPolicy.ALL,
    )  # fmt: skip
    if stream.is_queue:
        return config
    if last is not None:
        return config.evolve(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=last + 1)
    return config.evolve(deliver_policy=DeliverPolicy.NEW) if bridge.start == "new" else config
