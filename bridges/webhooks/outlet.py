"""Pushes the news of one platform to it: to one URL (style `webhook`), or to the four paths of the first systems.

Its row is read at each try: a new URL, a rotated secret, a certificate that is trusted now work with the next one.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

import msgspec

from bridges.outlet import OutgoingMessage, Undeliverable, Unreachable
from bridges.webhooks.answers import SUSPECT_AFTER, Answer, PoisonDetector, check_success, classify
from bridges.webhooks.client import NotReached, PlatformHttpClient, Unanswered
from bridges.webhooks.signing import signature_headers
from messaging.integrator.events import NewsType, Platform, PlatformEvent
from messaging.integrator.store import PlatformStore

ANSWER_BYTES = 20_000

# The first systems know no path for the other types: a user that is removed stays in their lists, as it always did.
_PATHS: Mapping[NewsType, str] = {
    "user.created": "user",
    "user.updated": "user",
    "room.created": "room",
    "room.updated": "room",
    "message.created": "message",
}


class _Event(msgspec.Struct, frozen=True):
    type: NewsType
    timestamp: datetime
    data: msgspec.Raw


@dataclass(frozen=True, slots=True)
class Push:
    """One request. ``identity``: the same at every try."""

    url: str
    identity: str
    body: bytes


def push_for(platform: Platform, news: PlatformEvent) -> Push | None:
    """The request that tells a platform; None where its style has no words for this. Pure."""
    assert platform.url is not None
    if platform.style == "webhook":
        return Push(platform.url, _as_header(news.id), event(news))
    path = _PATHS.get(news.type)
    return None if path is None else Push(platform.url + path, _as_header(news.id), bytes(news.data))


def event(news: PlatformEvent) -> bytes:
    """The body for one URL: ``{"type", "timestamp", "data"}``."""
    return msgspec.json.encode(_Event(news.type, news.timestamp, news.data))


def read_news(content: str) -> PlatformEvent:
    """What lies in an inbox. Raises Undeliverable."""
    try:
        return msgspec.json.decode(content, type=PlatformEvent)
    except msgspec.MsgspecError as exc:
        raise Undeliverable(f"this is no news for a platform: {exc}") from None


def _as_header(identity: str) -> str:
    """Ids may come from outside; a header holds visible ASCII."""
    return identity if re.fullmatch(r"[!-~]+", identity) else quote(identity, safe="")


class WebhookOutlet:
    """Hands the entries of a platform's inbox to the platform."""

    def __init__(
        self, platform_id: int, store: PlatformStore, client: PlatformHttpClient,
        suspicion: PoisonDetector | None = None,
    ) -> None:  # fmt: skip
        """``client``: closed with the outlet."""
        self._platform_id = platform_id
        self._store = store
        self._client = client
        self._suspicion = suspicion or PoisonDetector()

    async def send(self, outgoing: OutgoingMessage) -> None:
        """Raises Unreachable, Undeliverable, Gone; Unavailable where our own database is away."""
        platform = await self._platform()
        push = push_for(platform, read_news(outgoing.message.content))
        if push is None:
            return
        answer: Answer | None = None
        try:
            answer = await self._post(platform, push)
        finally:
            suspected = self._suspicion.note(push.identity, answer, time.monotonic())
        if suspected and await self._is_well(platform):
            raise Undeliverable(f"{answer}, {SUSPECT_AFTER} times in a row, while it takes others")
        classify(answer, datetime.now(UTC))
        if platform.style == "paths":
            check_success(answer)

    async def close(self) -> None:
        await self._client.close()

    async def _platform(self) -> Platform:
        platform = await self._store.by_id(self._platform_id)
        if platform is None or platform.url is None:
            raise Unreachable("this platform has no url")
        return platform

    async def _post(self, platform: Platform, push: Push) -> Answer:
        try:
            return await self._ask(platform, "POST", push.url, _headers(platform, push), push.body)
        except NotReached as exc:
            raise Unreachable(str(exc)) from exc
        except Unanswered as exc:
            if platform.retry_ambiguous:
                raise Unreachable(str(exc)) from exc
            raise Undeliverable(f"{exc}; it may have arrived, and this platform is sent nothing twice") from exc

    async def _is_well(self, platform: Platform) -> bool:
        """Whether it takes anything else: then what it does not take has a problem."""
        assert platform.url is not None
        try:
            if platform.style == "paths":
                answer = await self._ask(platform, "GET", platform.url + "users", {})
            else:
                test = probe(platform.url, datetime.now(UTC))
                answer = await self._ask(platform, "POST", test.url, _headers(platform, test), test.body)
        except (NotReached, Unanswered):
            return False
        return answer.is_success

    async def _ask(
        self, platform: Platform, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Answer:
        return await self._client.ask(platform, method, url, ANSWER_BYTES, headers=headers, body=body)


def probe(url: str, now: datetime) -> Push:
    """A delivery that means nothing: a platform with one URL has no other place where it could be asked how it is."""
    identity = f"test_{now.timestamp():.0f}"
    return Push(url, identity, event(PlatformEvent(identity, "platform.test", now, msgspec.Raw(b"{}"))))


def _headers(platform: Platform, push: Push) -> dict[str, str]:
    """Signed as of now. Raises Unreachable where a secret can't sign."""
    try:
        signed = signature_headers(platform.secrets, push.identity, int(time.time()), push.body)
    except ValueError as exc:
        raise Unreachable(f"its secret can't sign: {exc}; rotate it") from None
    return {"Content-Type": "application/json", **signed}
