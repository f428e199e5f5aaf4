"""Messages: publish one or many, read a topic's history."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Annotated, Any

import msgspec

from api.outcomes import REPLAYED, Outcome, PublishResults, publish, told
from api.route import Answer, Request, Route
from api.shapes import Epoch, Lifetime, Limit, Name, Position, SentMessage, Seq, Target, UserName, sent_message
from messaging.actions import Actions
from messaging.errors import Conflict, Forbidden, NotAMember, RecadoError, UnknownTopic, UnknownUser
from messaging.log.content import check_content
from messaging.model import Content
from messaging.permissions import Aim, Caller

BATCH_BODY = 1024 * 1024 + 4096  # bytes
NAMES_AT_ONCE = 20  # are looked up before who asks is looked at again
MAX_BATCH = 1000
BACKEND_SENDER = "api"


class Publish(msgspec.Struct, frozen=True):
    """Any JSON as `content`. `sender`: whom a backend speaks for. `ttl`: seconds that the message lives."""

    content: msgspec.Raw
    sender: UserName | None = None
    ttl: Lifetime | None = None


class Published(msgspec.Struct, frozen=True):
    topic_name: str
    seq: int


class BatchItem(msgspec.Struct, frozen=True):
    """As for one message; `id` makes a retry of this item harmless, as an Idempotency-Key does of the whole."""

    topic_name: Target
    content: msgspec.Raw
    id: Name | None = None
    sender: UserName | None = None
    ttl: Lifetime | None = None


class BatchResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """`result` is "ok", with `topic_name` and `seq`, or "error", with `code` and `message`."""

    result: str
    topic_name: str | None = None
    seq: int | None = None
    code: str | None = None
    message: str | None = None


class HistoryQuery(msgspec.Struct, frozen=True):
    """`after` or `before` a seq (of `epoch`, else 409); with neither, the newest. At most 100."""

    after: Position | None = None
    before: Seq | None = None
    limit: Limit = 50
    epoch: Epoch | None = None


class History(msgspec.Struct, frozen=True):
    """Messages in order, whether there are more on the far side of them, and which log their seqs are of."""

    topic_name: str
    messages: list[SentMessage]
    more: bool
    epoch: str


def routes() -> list[Route]:
    group, path = "Messages", "/api/v1/topics/{topic}/messages"
    refusals = (UnknownTopic, NotAMember, UnknownUser, Conflict)
    return [
        Route(method="POST", path=path, handler=post, group=group, body=Publish, headers=("Idempotency-Key",),
              summary="Publish a message. Answered once it is stored; with an Idempotency-Key a retry is harmless.",
              answers={201: Published}, errors=refusals, example={"content": {"text": "hello"}}),
        Route(method="GET", path=path, handler=get, group=group, query=HistoryQuery, answers={200: History},
              summary="The history of a topic: at most 100 messages, and about 128 KiB of content.",
              errors=(UnknownTopic, NotAMember, Conflict)),
        Route(method="POST", path="/api/v1/messages/batch", handler=post_batch, group=group,
              body=Annotated[list[BatchItem], msgspec.Meta(max_length=MAX_BATCH)], body_limit=BATCH_BODY,
              headers=("Idempotency-Key",),
              summary="Publish up to 1000 messages at once; each has a result of its own, in the same order.",
              answers={200: list[BatchResult]},
              example=[{"topic_name": "general", "content": "hello", "id": "order-17"}]),
    ]  # fmt: skip


async def post(request: Request[None, Publish]) -> Answer:
    body = request.body
    sender, key = sender_of(request.caller, body.sender), request.key
    content = check_content(body.content, request.domain.settings)
    aim = await request.actions.aim(request.caller, request.path.topic)
    verdict = await publish(request.actions, aim, sender, content, key=key, ttl=body.ttl)
    return Answer(201, Published(aim.topic.name, verdict.seq or 0), told(verdict))


async def get(request: Request[HistoryQuery, None]) -> Answer:
    query = request.query
    messages, more, epoch = await request.actions.history(
        request.caller, request.path.topic, query.before, query.after, query.limit, query.epoch
    )
    return Answer(200, History(request.path.topic, [sent_message(message) for message in messages], more, epoch))


async def post_batch(request: Request[None, list[BatchItem]]) -> Answer:
    items = keyed(request.body, request.key)
    request.actions.limits.check_items(request.caller, len(items), asyncio.get_running_loop().time())
    drafts = await prepared(request, items)
    outcomes = PublishResults(len(items))
    # Without an await in between, so that they leave in one batch.
    for place, (item, draft) in enumerate(zip(items, drafts, strict=True)):
        hand_over(request.actions, item, draft, outcomes, place)
    outcomes.on_batch_end()
    settled = await outcomes.wait()
    results = [result_of(draft, outcome) for draft, outcome in zip(drafts, settled, strict=True)]
    verdicts = [outcome for outcome in settled if not isinstance(outcome, RecadoError)]
    replayed = bool(verdicts) and all(verdict.outcome == "repeated" for verdict in verdicts)
    return Answer(200, results, REPLAYED if replayed else {})


def keyed(items: list[BatchItem], key: str | None) -> list[BatchItem]:
    """The items, each with an id: its own, or what the key of the whole and its place make."""
    if key is None:
        return items
    digest = hashlib.blake2b(key.encode(), digest_size=16).hexdigest()  # the longest key leaves no room for a place
    return [
        item if item.id is not None else msgspec.structs.replace(item, id=f"{digest}.{place}")
        for place, item in enumerate(items)
    ]


Draft = tuple[Aim, str, Content]  # where to, from whom, what


async def prepared(request: Request[Any, Any], items: list[BatchItem]) -> list[Draft | RecadoError]:
    """What each item is to be, or why it can't."""
    aims: dict[str, Aim | RecadoError] = {}
    for place, name in enumerate(dict.fromkeys(item.topic_name for item in items), 1):
        if not place % NAMES_AT_ONCE:
            await request.again()
        try:
            aims[name] = await request.actions.aim(request.caller, name)
        except RecadoError as exc:
            aims[name] = exc
    await request.again()  # before anything is stored
    return [draft_of(request, item, aims[item.topic_name]) for item in items]


def draft_of(request: Request[Any, Any], item: BatchItem, aim: Aim | RecadoError) -> Draft | RecadoError:
    if isinstance(aim, RecadoError):
        return aim
    try:
        content = check_content(item.content, request.domain.settings)
        return aim, sender_of(request.caller, item.sender), content
    except RecadoError as exc:
        return exc


def hand_over(
    actions: Actions, item: BatchItem, draft: Draft | RecadoError, outcomes: PublishResults, place: int
) -> None:
    if isinstance(draft, RecadoError):
        outcomes.on_result(place, draft)
        return
    aim, sender, content = draft
    try:
        actions.publish(aim, sender, content, item.id, item.ttl, outcomes, place)
    except RecadoError as exc:
        outcomes.on_result(place, exc)


def result_of(draft: Draft | RecadoError, outcome: Outcome) -> BatchResult:
    if isinstance(draft, RecadoError):
        return BatchResult("error", code=draft.code, message=draft.message)
    if isinstance(outcome, RecadoError):
        return BatchResult("error", topic_name=draft[0].topic.name, code=outcome.code, message=outcome.message)
    return BatchResult("ok", topic_name=draft[0].topic.name, seq=outcome.seq)


def sender_of(caller: Caller, wished: str | None) -> str:
    """Who a message is from: the user who asks, or whom a backend names. Raises Forbidden."""
    if caller.user is None:
        return wished or BACKEND_SENDER
    if wished not in (None, caller.user.name):
        raise Forbidden("With your own token you are the sender.")
    return caller.user.name
