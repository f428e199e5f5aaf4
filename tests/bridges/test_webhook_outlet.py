"""What a platform is sent, and what its lane is told: one try at a time, against a real server."""

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from push_support import AT, DATA, SECRET, Answer, Request, outlet, parcel, platform, receiving, reply
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from bridges.outlet import OutgoingMessage, Undeliverable, Unreachable
from bridges.webhooks.answers import SUSPECT_AFTER
from bridges.webhooks.client import Patience
from bridges.webhooks.outlet import push_for, read_news
from messaging.integrator.events import NewsType, Platform, PlatformEvent

OLDER = "whsec_plJ3nmyCDGBKInavdOK15jsl"
ODD_IDS = ["a b", "é", "a\r\nX-Evil: 1", "\t", "日本"]


# --- what is sent -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("user.created", "/api/user"), ("user.updated", "/api/user"), ("room.created", "/api/room"),
        ("room.updated", "/api/room"), ("message.created", "/api/message"),
    ],
)  # fmt: skip
async def test_the_first_systems_get_the_data_alone_at_their_paths(kind: NewsType, path: str) -> None:
    async with receiving() as receiver, outlet(platform(receiver.url)) as (to, _):
        await to.send(parcel(kind))
        [got] = receiver.got
        assert ("POST", path, DATA) == (got.method, got.path, got.body)
        assert "application/json" == got.headers["content-type"]
        assert got.headers["user-agent"].startswith("Recado/")


@pytest.mark.parametrize("kind", ["user.removed", "platform.test"])
async def test_what_the_first_systems_have_no_path_for_is_not_sent(kind: NewsType) -> None:
    async with receiving() as receiver, outlet(platform(receiver.url)) as (to, _):
        await to.send(parcel(kind))
        assert [] == receiver.got


@pytest.mark.parametrize("kind", ["user.removed", "message.created"])
async def test_one_url_gets_the_type_the_time_and_the_data(kind: NewsType) -> None:
    async with receiving() as receiver, outlet(platform(receiver.url + "hook?a=1", "webhook")) as (to, _):
        await to.send(parcel(kind))
        [got] = receiver.got
        assert "/api/hook?a=1" == got.path
        assert b'{"type":"%s","timestamp":"2026-03-01T12:00:00Z","data":%s}' % (kind.encode(), DATA) == got.body


@pytest.mark.parametrize("style", ["paths", "webhook"])
async def test_a_receiver_can_verify_every_push(style: str) -> None:
    async with receiving() as receiver, outlet(platform(receiver.url, style)) as (to, _):
        await to.send(parcel())
        [got] = receiver.got
        assert got.said == Webhook(SECRET).verify(got.body, got.headers)
        with pytest.raises(WebhookVerificationError):
            Webhook(OLDER).verify(got.body, got.headers)


async def test_while_its_secret_is_rotated_both_sign_and_then_the_new_one() -> None:
    async with receiving() as receiver, outlet(platform(receiver.url)) as (to, shelf):
        for secrets in ((SECRET,), (OLDER, SECRET), (OLDER,)):
            assert shelf.row is not None
            shelf.row = replace(shelf.row, secrets=secrets)
            await to.send(parcel())
        counts = [len(got.headers["webhook-signature"].split()) for got in receiver.got]
        assert [1, 2, 1] == counts
        for secret, got in ((SECRET, 0), (SECRET, 1), (OLDER, 1), (OLDER, 2)):
            Webhook(secret).verify(receiver.got[got].body, receiver.got[got].headers)


async def test_a_retry_has_the_same_id_and_a_time_and_signature_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    async with receiving(lambda *_: reply(500)) as receiver, outlet(platform(receiver.url)) as (to, _):
        for tries in range(3):
            monkeypatch.setattr(time, "time", lambda at=now + 400 * tries: at)
            with pytest.raises(Unreachable):
                await to.send(parcel(tries=tries))
        assert ["msg_1"] * 3 == [got.id for got in receiver.got]
        assert [str(int(now) + 400 * n) for n in range(3)] == [got.headers["webhook-timestamp"] for got in receiver.got]
        assert 3 == len({got.headers["webhook-signature"] for got in receiver.got})
        monkeypatch.setattr(time, "time", lambda: now + 800)
        assert receiver.got[2].said == msgspec.json.decode(DATA)


@pytest.mark.parametrize("identity", ODD_IDS)
async def test_an_id_from_outside_is_no_way_into_the_headers(identity: str) -> None:
    async with receiving() as receiver, outlet(platform(receiver.url)) as (to, _):
        await to.send(parcel(identity=identity))
        [got] = receiver.got
        assert "x-evil" not in got.headers and got.id.isascii()
        Webhook(SECRET).verify(got.body, got.headers)


def test_ids_that_are_fine_stay_as_they_are() -> None:
    for identity in ("msg_2Lh9KRb0pzN4LePd3XiA4v12Axj", "a.b", "%41"):
        push = push_for(platform("http://p/"), PlatformEvent(identity, "message.created", AT, msgspec.Raw(DATA)))
        assert push is not None and identity == push.identity


async def test_a_new_address_works_with_the_next_try() -> None:
    async with receiving(lambda *_: reply(503)) as old, receiving() as new:
        async with outlet(platform(old.url)) as (to, shelf):
            with pytest.raises(Unreachable):
                await to.send(parcel())
            shelf.row = platform(new.url, "webhook")
            await to.send(parcel())
        assert ["message.created"] == [got.said["type"] for got in new.got]


@pytest.mark.parametrize("row", [None, platform(None, "pull")])
async def test_without_an_address_it_waits(row: Platform | None) -> None:
    async with outlet(row) as (to, _):
        with pytest.raises(Unreachable, match="no url"):
            await to.send(parcel())


async def test_what_is_no_news_is_buried() -> None:
    async with receiving() as receiver, outlet(platform(receiver.url)) as (to, _):
        message = msgspec.structs.replace(parcel().message, content='{"hello":"there"}')
        with pytest.raises(Undeliverable, match="no news"):
            await to.send(OutgoingMessage("8.1", "@p", message))
        assert [] == receiver.got


async def test_a_secret_that_cannot_sign_sends_nothing_unsigned() -> None:
    async with receiving() as receiver, outlet(platform(receiver.url, secrets=("hunter2!",))) as (to, _):
        with pytest.raises(Unreachable, match="rotate"):
            await to.send(parcel())
        assert [] == receiver.got


# --- what its answer means --------------------------------------------------------------------------------------------


async def test_200_that_says_failed_is_buried_for_the_first_systems_alone() -> None:
    failed = reply(200, b'{"status":"failed"}')
    async with receiving(lambda *_: failed) as receiver, outlet(platform(receiver.url)) as (to, shelf):
        with pytest.raises(Undeliverable, match="failed"):
            await to.send(parcel())
        shelf.row = platform(receiver.url, "webhook")
        await to.send(parcel())


async def test_an_http_date_says_when_to_come_back() -> None:
    at = datetime.now(UTC) + timedelta(seconds=120)
    busy = reply(503, b"", Retry_After=at.strftime("%a, %d %b %Y %H:%M:%S GMT"))
    async with receiving(lambda *_: busy) as receiver, outlet(platform(receiver.url)) as (to, _):
        with pytest.raises(Unreachable) as caught:
            await to.send(parcel())
    assert 110 < (caught.value.retry_after or 0) <= 120


class Picky:
    """500 for one message, success for all else; ``well``: what it answers when it is asked how it is."""

    def __init__(self, well: int = 200, failure: bytes = reply(500, b"boom")) -> None:
        self.well = well
        self.failure = failure

    def __call__(self, request: Request, _: object) -> bytes:
        if request.method == "GET" or request.headers["webhook-id"].startswith("test_"):
            return reply(self.well, b'{"users":[]}')
        return self.failure if request.id == "msg_bad" else reply()


@pytest.mark.parametrize("style", ["paths", "webhook"])
async def test_500_for_one_message_only_buries_that_one(style: str) -> None:
    async with receiving(Picky()) as receiver, outlet(platform(receiver.url, style)) as (to, _):
        for _ in range(SUSPECT_AFTER - 1):
            with pytest.raises(Unreachable, match="500: boom"):
                await to.send(parcel(identity="msg_bad"))
        assert SUSPECT_AFTER - 1 == len(receiver.got), "nobody asks before it is suspect"
        with pytest.raises(Undeliverable, match="500: boom, 5 times"):
            await to.send(parcel(identity="msg_bad"))
        await to.send(parcel(identity="msg_good"))
        asked = receiver.got[SUSPECT_AFTER]
        if style == "paths":
            assert ("GET", "/api/users") == (asked.method, asked.path)
        else:
            assert "platform.test" == asked.said["type"]
            Webhook(SECRET).verify(asked.body, asked.headers)


@pytest.mark.parametrize("style", ["paths", "webhook"])
@pytest.mark.parametrize("well", [500, 404, 302])
async def test_500_for_everything_buries_nothing(style: str, well: int) -> None:
    async with receiving(Picky(well)) as receiver, outlet(platform(receiver.url, style)) as (to, _):
        for _ in range(3 * SUSPECT_AFTER):
            with pytest.raises(Unreachable):
                await to.send(parcel(identity="msg_bad"))


async def test_a_platform_that_says_when_to_come_back_loses_nothing() -> None:
    busy = Picky(failure=reply(503, b"", Retry_After="1"))
    async with receiving(busy) as receiver, outlet(platform(receiver.url)) as (to, _):
        for _ in range(3 * SUSPECT_AFTER):
            with pytest.raises(Unreachable):
                await to.send(parcel(identity="msg_bad"))


async def test_a_platform_that_stumbles_for_a_moment_loses_nothing() -> None:
    """Its own calls bring tries at once: five failures within a second say nothing of the message."""
    async with receiving(Picky()) as receiver, outlet(platform(receiver.url), least=60.0) as (to, _):
        for _ in range(3 * SUSPECT_AFTER):
            with pytest.raises(Unreachable):
                await to.send(parcel(identity="msg_bad"))


# --- what may have arrived --------------------------------------------------------------------------------------------


async def silent(*_: object) -> None:
    await asyncio.sleep(30)


async def broken(*_: object) -> None:
    return


@pytest.mark.parametrize("answer", [silent, broken])
async def test_what_may_have_arrived_is_sent_again_or_buried_as_the_platform_wants_it(answer: Answer) -> None:
    async with receiving(answer) as receiver, outlet(platform(receiver.url)) as (to, shelf):
        with pytest.raises(Unreachable):
            await to.send(parcel())
        shelf.row = platform(receiver.url, retry_ambiguous=False)
        with pytest.raises(Undeliverable, match="may have arrived"):
            await to.send(parcel())
        assert 2 == len(receiver.got)


async def test_what_never_left_is_sent_again_to_all() -> None:
    async with receiving() as receiver:
        url = receiver.url
    async with outlet(platform(url, retry_ambiguous=False), patience=Patience(0.5, 0.5)) as (to, _):
        with pytest.raises(Unreachable, match="no connection"):
            await to.send(parcel())


async def test_a_failure_that_was_answered_is_sent_again_to_all() -> None:
    bad = reply(502)
    async with receiving(lambda *_: bad) as receiver, outlet(platform(receiver.url, retry_ambiguous=False)) as (to, _):
        with pytest.raises(Unreachable, match="502"):
            await to.send(parcel())


@pytest.mark.parametrize(("again", "connections"), [(True, 1), (False, 3)])
async def test_who_is_sent_nothing_twice_gets_a_connection_for_each(again: bool, connections: int) -> None:
    """On one that the other side is just closing nobody knows what arrived."""
    async with receiving() as receiver, outlet(platform(receiver.url, retry_ambiguous=again)) as (to, _):
        for _ in range(3):
            await to.send(parcel())
        assert connections == receiver.connections


def test_news_are_read_as_they_were_written() -> None:
    assert DATA == bytes(read_news(parcel().message.content).data)
