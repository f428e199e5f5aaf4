"""An inbox for offers, as ProntoGram's backends know it: no prefix, no answer but the status."""

from __future__ import annotations

from typing import Annotated

import msgspec

from api.outcomes import publish, told
from api.route import Answer, Request, Route
from api.shapes import Lifetime, PersonName
from messaging.errors import Conflict, UnknownUser
from messaging.log.content import check_content
from messaging.model import inbox_of, person_name

Text = Annotated[str, msgspec.Meta(min_length=1)]


class Offer(msgspec.Struct, frozen=True):
    """`body` is what `receiver` reads. `ttl`: seconds that it lives. All else, `send_time` included, is ignored."""

    sender: PersonName
    receiver: PersonName
    body: Text
    ttl: Lifetime | None = None


def routes() -> list[Route]:
    return [
        Route(method="POST", path="/messages", handler=post, group="ProntoGram", body=Offer, answers={200: None},
              legacy=True, headers=("Idempotency-Key",), errors=(Conflict, UnknownUser),
              summary="Leave a text in a user's inbox; whom a backend names is known from then on. Answered once it is"
                      " stored.",
              example={"sender": "ACMESky", "receiver": "ana", "body": "Rome, 39 €"}),
    ]  # fmt: skip


async def post(request: Request[None, Offer]) -> Answer:
    offer = request.body
    sender = person_name(offer.sender)
    request.caller.require_self(sender)
    content = check_content(msgspec.json.encode(offer.body), request.domain.settings)
    if request.caller.is_backend:  # a user makes nobody known: who would bound how many, or with what names?
        await request.actions.know(offer.receiver)
    aim = await request.actions.aim(request.caller, inbox_of(offer.receiver))
    verdict = await publish(request.actions, aim, sender, content, key=request.key, ttl=offer.ttl)
    return Answer(200, headers=told(verdict))
