"""Platforms for their operator: register, change, rotate, pause, forget; what they did not get, and a second try."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from api.route import Answer, Request, Route
from api.routes.bridges import MAX_PAGE, DeadLetter, Outcome, shown_dead, shown_replayed
from api.shapes import Limit, Moment, Position, Seq
from messaging.errors import Conflict, Unavailable
from messaging.integrator.events import Platform
from messaging.integrator.incoming import UnknownPlatform
from messaging.integrator.registry import IMPORT_LEAST, MAX_NAME, ONE_DAY
from messaging.replay import MAX_REPLAYED, UnknownBridge

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)]
Style = Literal["paths", "webhook", "pull"]
Seconds = Annotated[int, msgspec.Meta(ge=IMPORT_LEAST, le=365 * ONE_DAY)]

_NAMES = {
    "audio": "supportAudio", "image": "supportImage", "import_every": "importEvery",
    "retry_ambiguous": "retryAmbiguous",
}  # fmt: skip


class NewPlatform(msgspec.Struct, frozen=True, rename=_NAMES):
    """`style`: paths (the first integrator's three), webhook (one URL, signed), pull (no URL; the default without one).

    `importEvery`: seconds between looks at its list of users. `retryAmbiguous` false: what may have arrived is not sent
    again, and may be lost.
    """

    name: Name
    url: str | None = None
    style: Style | None = None
    audio: bool = False
    image: bool = False
    import_every: Seconds = ONE_DAY
    retry_ambiguous: bool = True
    insecure: bool = False


class Change(msgspec.Struct, frozen=True, rename=_NAMES):
    """What is not given stays."""

    url: str | msgspec.UnsetType | None = msgspec.UNSET
    style: Style | msgspec.UnsetType = msgspec.UNSET
    audio: bool | msgspec.UnsetType = msgspec.UNSET
    image: bool | msgspec.UnsetType = msgspec.UNSET
    import_every: Seconds | msgspec.UnsetType = msgspec.UNSET
    retry_ambiguous: bool | msgspec.UnsetType = msgspec.UNSET
    insecure: bool | msgspec.UnsetType = msgspec.UNSET


class ShownPlatform(msgspec.Struct, frozen=True, rename=_NAMES):
    name: str
    style: str
    url: str | None
    audio: bool
    image: bool
    import_every: int
    retry_ambiguous: bool
    insecure: bool


class NewSecrets(msgspec.Struct, frozen=True):
    """Told once: keep them. `token` is for what the platform says, `secret` signs what it is told."""

    name: str
    token: str
    secret: str


class NewSecret(msgspec.Struct, frozen=True):
    """What is sent is signed with the old secret too, for 24 hours."""

    name: str
    secret: str


class Replay(msgspec.Struct, frozen=True):
    """By `ids`, or all that died from `since` until before `until`. `dry_run`: only count."""

    ids: Annotated[list[Seq], msgspec.Meta(max_length=MAX_REPLAYED)] | None = None
    since: Moment | None = None
    until: Moment | None = None
    dry_run: bool = False


class StateQuery(msgspec.Struct, frozen=True):
    """`after`: an `id`."""

    state: Literal["dead"] = "dead"
    after: Position = 0
    limit: Limit = 100


def routes() -> list[Route]:
    group, one = "Platforms", "/platforms/{platform}"
    unknown = (UnknownPlatform,)
    return [
        Route(method="POST", path="/platforms", handler=post, group=group, access="backend", body=NewPlatform,
              summary="Register a platform; its token and secret are told this once.", answers={201: NewSecrets},
              errors=(Conflict, Unavailable), example={"name": "Fourth"}),
        Route(method="PATCH", path=one, handler=patch, group=group, access="backend", body=Change,
              summary="Change how a platform is reached.", answers={200: ShownPlatform}, errors=unknown,
              example={"url": "https://chat.example/hook"}),
        Route(method="DELETE", path=one, handler=delete, group=group, access="backend",
              summary="Forget a platform; what was pending for it is dropped.", answers={204: None},
              errors=(*unknown, Unavailable)),
        Route(method="POST", path=one + "/rotate", handler=rotate, group=group, access="backend",
              summary="A new signing secret.", answers={200: NewSecret}, errors=unknown),
        Route(method="POST", path=one + "/pause", handler=pause, group=group, access="backend",
              summary="Stop telling a platform; its news are kept.", answers={204: None},
              errors=(*unknown, UnknownBridge)),
        Route(method="POST", path=one + "/resume", handler=resume, group=group, access="backend",
              summary="Tell it again, at once.", answers={204: None}, errors=(*unknown, UnknownBridge)),
        Route(method="GET", path=one + "/deliveries", handler=deliveries, group=group, access="backend",
              query=StateQuery, answers={200: list[DeadLetter]},
              summary="News that were given up, oldest first; cut as dead letters are.",
              errors=unknown),
        Route(method="POST", path=one + "/replay", handler=replay, group=group, access="backend", body=Replay,
              summary="Tell it again what was given up; the count of it.", answers={202: Outcome},
              errors=(*unknown, UnknownBridge, Unavailable), example={"dry_run": True}),
    ]  # fmt: skip


async def post(request: Request[None, NewPlatform]) -> Answer:
    body = request.body
    style = body.style or ("webhook" if body.url else "pull")
    registered = await request.domain.node.registry.register(
        body.name, style, body.url, audio=body.audio, image=body.image, import_every=body.import_every,
        retry_ambiguous=body.retry_ambiguous, insecure=body.insecure,
    )  # fmt: skip
    return Answer(201, NewSecrets(registered.platform.name, registered.token, registered.secret))


async def patch(request: Request[None, Change]) -> Answer:
    values = {name: value for name, value in msgspec.structs.asdict(request.body).items() if value is not msgspec.UNSET}
    return Answer(200, shown(await request.domain.node.registry.change(request.path.platform, **values)))


async def delete(request: Request[None, None]) -> Answer:
    await request.domain.node.registry.forget(request.path.platform)
    return Answer(204)


async def rotate(request: Request[None, None]) -> Answer:
    name = request.path.platform
    return Answer(200, NewSecret(name, await request.domain.node.registry.rotate(name)))


async def pause(request: Request[None, None]) -> Answer:
    return await paused(request, True)


async def resume(request: Request[None, None]) -> Answer:
    return await paused(request, False)


async def paused(request: Request[None, None], is_paused: bool) -> Answer:
    platform = await request.domain.node.registry.find(request.path.platform)
    await request.domain.node.bridges.pause(platform.bridge, is_paused)
    return Answer(204)


async def deliveries(request: Request[StateQuery, None]) -> Answer:
    platform = await request.domain.node.registry.find(request.path.platform)
    limit = min(request.query.limit, MAX_PAGE)
    found = await request.domain.node.bridge_store.buried(platform.bridge, request.query.after, limit)
    return Answer(200, [shown_dead(buried) for buried in found])


async def replay(request: Request[None, Replay]) -> Answer:
    platform, body = await request.domain.node.registry.find(request.path.platform), request.body
    done = await request.domain.node.bridges.replay(
        platform.bridge, body.ids, body.since, body.until, dry_run=body.dry_run
    )
    return Answer(202, shown_replayed(done))


def shown(platform: Platform) -> ShownPlatform:
    return ShownPlatform(**{name: getattr(platform, name) for name in ShownPlatform.__struct_fields__})
