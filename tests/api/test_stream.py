"""A topic as Server-Sent Events: nothing missing after a cut, nothing shown to who may not, nobody held up."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from listener import NEWS, contents, listening, news, publish, topic_id

from api.routes import stream
from api.routes.stream import Start, events, start_of
from messaging.errors import BadRequest
from messaging.model import Content, Gap, Message, Page, Topic
from support.doors import Door

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EPOCH, RESTORED, OTHER = "topictopstatesta", "topictopotheroth", "othertopstatesta"


# --- what comes ------------------------------------------------------------------------------------


async def test_without_a_position_it_begins_now(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what comes is told by its notice: nothing else would, so soon."""
    monkeypatch.setattr(stream, "CHECK", 60)
    await news(door)
    await publish(door, "before")
    async with listening(door) as listener:
        await publish(door, {"text": "hello"}, 2)
        first, second = await listener.events(2)
    assert first.data == {
        "action": "message", "topic_name": "news", "content": {"text": "hello"}, "user_source": "ana", "seq": 2,
        "sent_at": first.data["sent_at"],
    }  # fmt: skip
    assert (first.name, first.seq, first.data["sent_at"][-1]) == ("message", 2, "Z")
    assert (second.seq, second.data["content"]) == (3, 2)


async def test_it_goes_on_behind_a_seq_and_tells_gaps_in_place(door: Door) -> None:
    await news(door)
    await publish(door, *range(1, 7))
    await door.node.store.pool.fetch("purge_topic_messages", (await topic_id(door)), 2)
    async with listening(door, "?after=0") as listener:
        gap, *rest = await listener.events(5)
    assert (gap.name, gap.seq) == ("gap", 2)
    assert gap.data == {"action": "gap", "topic_name": "news", "from": 1, "to": 2, "reason": "expired"}
    assert contents(rest) == [3, 4, 5, 6]
    # A browser that comes back still has the address that it began with: what it saw last is worth more.
    async with listening(door, "?after=0", headers={"Last-Event-ID": "4"}) as listener:
        assert contents(await listener.events(2)) == [5, 6]


async def test_after_every_cut_nothing_is_missing_and_nothing_comes_twice(door: Door) -> None:
    """Also where the line was cut before the first event: the position is told at once."""
    await news(door)
    await publish(door, "before")
    got: list[Any] = []
    last = ""
    for number in range(4):
        async with listening(door, headers={"Last-Event-ID": last} if last else {}) as listener:
            await listener.response.content.readuntil(b"\n\n") if not number else None
            last = last or "1"
            if number:
                await publish(door, f"{number} there")
                got += contents(await listener.events(2))
                last = listener.last_id
        await publish(door, f"{number} away")
    async with listening(door, headers={"Last-Event-ID": last}) as listener:
        got += contents(await listener.events(1))
    expected = [f"{number} {where}" for number in range(4) for where in ("there", "away")][1:]
    assert got == expected


async def test_the_position_is_told_before_the_first_event(door: Door) -> None:
    await news(door)
    await publish(door, 1, 2)
    async with listening(door) as listener:
        assert re.search(rb"^id: \S+:2$", await listener.response.content.readuntil(b"\n\n"), re.MULTILINE)


async def test_a_long_past_comes_in_pages_and_the_present_behind_it(door: Door) -> None:
    await news(door)
    items = [{"topic_name": "news", "content": [number, "x" * 900]} for number in range(500)]
    await door.ask("POST", "/api/v1/messages/batch", json=items)
    async with listening(door, "?after=0") as listener:
        await publish(door, "now")
        found = contents(await listener.events(501))
    assert [each[0] for each in found[:500]] == list(range(500))
    assert found[500] == "now"


def test_line_breaks_between_the_tokens_of_content_do_not_break_the_event() -> None:
    page = Page((Message(7, "ana", Content('{"a":\r\n 1,\r"b":\n"c\\nd"}'), NOW), Gap(8, 9, "seen")), 9, 9)
    text = events(Topic(1, "news", "public", "ana"), page, "e").decode()
    first, second, rest = text.split("\n\n")
    assert rest == ""
    lines = first.split("\n")
    assert lines[:2] == ["event: message", "id: e:7"]
    assert all(line.startswith("data: ") for line in lines[2:])
    data = json.loads("\n".join(line.removeprefix("data: ") for line in lines[2:]))
    assert data["content"] == {"a": 1, "b": "c\nd"}
    assert second.startswith("event: gap\nid: e:9\ndata: {")


# --- who may ---------------------------------------------------------------------------------------


async def test_a_private_past_begins_with_joining(door: Door) -> None:
    await news(door, kind="private")
    await publish(door, 1, 2)
    token = await door.token("bob")
    await door.ask("PUT", f"{NEWS}/members/bob", 201)
    await publish(door, 3)
    async with listening(door, "?after=0", token=token) as listener:
        assert contents(await listener.events(1)) == [3]


@pytest.mark.parametrize(
    "query", ["?after=-1", "?after=x", "?after=9"], ids=["negative", "no-number", "above-the-head"]
)
async def test_a_position_that_cannot_be_is_refused(door: Door, query: str) -> None:
    await news(door)
    assert (await door.ask("GET", f"{NEWS}/stream{query}", 400))["code"] == "bad_request"


@pytest.mark.parametrize("text", ["", "x", "-1", "1.0", "٣", "9" * 17, str(2**53), "e:", "e:x", ":"])
def test_a_last_event_id_ends_in_a_seq_or_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        start_of(text, 3, EPOCH, 9)


@pytest.mark.parametrize(
    ("header", "after", "start"),
    [
        (None, None, Start(9)),
        (None, 3, Start(3)),
        ("5", 3, Start(5)),
        ("10", None, Start(0, anew=True)),
        (f"{EPOCH}:5", 3, Start(5)),
        (f"{EPOCH}:10", None, Start(9, anew=True)),
        (f"{RESTORED}:5", None, Start(5, anew=True)),
        (f"{RESTORED}:10", None, Start(9, anew=True)),
        (f"{OTHER}:5", None, Start(0, anew=True)),
    ],
)
def test_where_a_stream_begins(header: str | None, after: int | None, start: Start) -> None:
    """In a log of EPOCH with 9 messages, of which RESTORED is another state, and OTHER another topic."""
    assert start_of(header, after, EPOCH, 9) == start


@pytest.mark.parametrize("kind", ["public", "private"])
async def test_a_removed_members_stream_ends_within_a_second(door: Door, kind: str) -> None:
    await news(door, "bob", kind=kind)
    token = await door.token("bob")
    async with listening(door, token=token) as listener:
        await publish(door, 1)
        await listener.event()
        await door.ask("DELETE", f"{NEWS}/members/bob")
        closing = await listener.event(within=1)
        assert (closing.name, closing.data["code"], closing.data["reconnect"]) == ("closing", 4503, False)
        await listener.end()


async def test_a_deleted_topics_stream_ends(door: Door) -> None:
    await news(door)
    async with listening(door, token=await door.token("ana")) as listener:
        await door.ask("DELETE", NEWS, 204)
        assert (await listener.event(within=1)).data["code"] == 4503


@pytest.mark.parametrize("how", ["user", "jti"])
async def test_a_revoked_tokens_stream_ends_within_a_second(door: Door, how: str) -> None:
    await news(door, "bob")
    token = await door.token("bob")
    claims = await door.tokens.verify(token)
    async with listening(door, token=token) as listener:
        await publish(door, 1)
        await listener.event()
        body = {"user": "bob"} if how == "user" else {"jti": claims.jti}
        await door.ask("POST", "/api/v1/tokens/revoke", json=body)
        closing = await listener.event(within=1)
        assert closing.data["code"] == 4501
        await listener.end()


async def test_a_stream_ends_when_its_token_expires(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a timer, and in words that say: come back with a new one."""
    monkeypatch.setattr(stream, "CHECK", 3600)
    await news(door, "bob")
    token, expires_at = door.tokens.issue("bob", 1)
    async with listening(door, token=token) as listener:
        closing = await listener.event()
        assert time.time() < expires_at + 1
        assert (closing.name, closing.data["code"], closing.data["reconnect"]) == ("closing", 4001, True)
        await listener.end()


@pytest.mark.parametrize("how", ["user", "jti"])
async def test_who_is_revoked_while_a_stream_opens_is_sent_nothing(
    door: Door, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """After the door has looked at the token, and before anything tells the stream of changes."""
    await news(door, "bob")
    token = await door.token("bob")
    jti = (await door.tokens.verify(token)).jti
    real, once = door.node.actions.readable, [True]

    async def readable(*args: Any) -> Any:
        found = await real(*args)
        if once:
            once.pop()
            await (door.node.actions.revoke_user("bob") if how == "user" else door.node.actions.revoke_token(jti))
        return found

    monkeypatch.setattr(door.node.actions, "readable", readable)
    async with listening(door, token=token) as listener:
        closing = await listener.event(within=2)
    assert (closing.name, closing.data["code"]) == ("closing", 4501)


@pytest.mark.parametrize("kinds", ["public private", "private public"])
async def test_a_member_stays_when_the_kind_of_a_topic_changes(
    door: Door, monkeypatch: pytest.MonkeyPatch, kinds: str
) -> None:
    monkeypatch.setattr(stream, "CHECK", 0)
    before, after = kinds.split()
    await news(door, "bob", "eva", kind=before)
    tokens = [await door.token(user) for user in ("bob", "eva")]
    async with listening(door, token=tokens[0]) as bob, listening(door, token=tokens[1]) as eva:
        await publish(door, 1)
        for listener in (bob, eva):
            assert contents(await listener.events(1)) == [1]
        await door.ask("PUT", NEWS, json={"kind": after})
        await publish(door, 2, 3)
        for listener in (bob, eva):
            assert contents(await listener.events(2)) == [2, 3]
        await door.ask("DELETE", f"{NEWS}/members/bob")
        await publish(door, 4)
        ended = await bob.event()
        while ended.name == "message":  # appended after the removal, within a second of it (rule 9)
            ended = await bob.event()
        assert ended.data["code"] == 4503
        assert contents(await eva.events(1)) == [4]


async def test_without_any_notice_a_removal_is_found_all_the_same(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "CHECK", 0.1)
    await news(door, "bob")
    token = await door.token("bob")
    async with listening(door, token=token) as listener:
        bob = await door.node.actions.user("bob")
        await door.node.store.leave(await topic_id(door), bob.id)
        assert (await listener.event(within=5)).name == "closing"


async def test_without_any_notice_messages_are_found_all_the_same(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "CHECK", 0.1)
    await news(door)
    async with listening(door) as listener:
        monkeypatch.setattr(door.node.bus, "_receivers", [])
        await publish(door, 1)
        assert contents(await listener.events(1)) == [1]


# --- another log under the same name ---------------------------------------------------------------


async def test_a_topic_made_again_is_read_from_its_start(door: Door) -> None:
    """Not from where the old one was: what is there below that seq would be skipped in silence."""
    await news(door)
    await publish(door, "old 1", "old 2")
    async with listening(door, "?after=0") as listener:
        await listener.events(2)
    await door.ask("DELETE", NEWS, 204)
    await news(door)
    await publish(door, "new 1", "new 2", "new 3")
    for seen in (listener.last_id, "7"):  # a bare seq, above the head
        async with listening(door, headers={"Last-Event-ID": seen}) as again:
            epoch, *rest = await again.events(4)
        known = (await door.ask("GET", NEWS))["epoch"]
        assert (epoch.name, epoch.id, epoch.data) == (
            "epoch", f"{known}:0", {"action": "topic", "topic_name": "news", "epoch": known, "last_seq": 3},
        )  # fmt: skip
        assert contents(rest) == ["new 1", "new 2", "new 3"]


async def test_a_restored_log_is_read_on_behind_as_much_as_there_is(door: Door) -> None:
    await news(door)
    await publish(door, 1, 2, 3)
    async with listening(door, "?after=0") as listener:
        await listener.events(3)
        await restore(door, 2)
        epoch = await listener.event()
        assert (epoch.name, epoch.seq, epoch.data["last_seq"]) == ("epoch", 2, 2)
        await publish(door, "another 3")
        assert contents(await listener.events(1)) == ["another 3"]
    async with listening(door, headers={"Last-Event-ID": epoch.id}) as again:
        assert contents(await again.events(1)) == ["another 3"]


async def restore(door: Door, head: int) -> None:
    """The database as it was when the topic ended there."""
    async with door.node.store.pool.connection() as line:
        topic = await topic_id(door)
        await line.execute("UPDATE recado.heads SET last_seq = $2 WHERE topic_id = $1", topic, head)
        await line.execute("DELETE FROM recado.messages WHERE topic_id = $1 AND seq > $2", topic, head)


async def test_a_seq_of_another_epoch_is_refused(door: Door) -> None:
    await news(door)
    await publish(door, 1)
    epoch = (await door.ask("GET", NEWS))["epoch"]
    assert (await door.ask("GET", f"{NEWS}/messages"))["epoch"] == epoch
    for path in ("messages?after=0", "stream?after=0", "receipts/1?"):
        refused = await door.ask("GET", f"{NEWS}/{path}&epoch=another", 409)
        assert refused["code"] == "conflict"
    await door.ask("GET", f"{NEWS}/messages?after=0&epoch={epoch}")
    await door.ask("GET", f"{NEWS}/receipts/1?epoch={epoch}")
    async with listening(door, f"?after=0&epoch={epoch}") as listener:
        assert contents(await listener.events(1)) == [1]
