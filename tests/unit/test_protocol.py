"""The frames: what a client sends is decoded or refused, what it is sent is valid by the library's own parser."""

import itertools
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from messaging import frames as vocabulary
from messaging.errors import BadJson, BadRequest, NotAMember, UnknownAction
from messaging.frames import (
    Ack,
    Closing,
    Command,
    Connected,
    Disconnect,
    Done,
    GapPush,
    Heartbeat,
    History,
    HistoryPage,
    Invite,
    Invited,
    Publish,
    Removed,
    Subscribe,
    Suscribe,
    TopicList,
    TopicPush,
    Topics,
    TopicState,
    Unsubscribe,
)
from messaging.model import MAX_LIFETIME, MAX_SEQ, Content, Gap, Message
from ws_server import protocol
from ws_server.protocol import (
    PIECE_BYTES,
    Refusal,
    decode,
    encode,
    entry_frames,
    error_frame,
    history_message,
    pieces,
    ping_frame,
    text_frame,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)


def parsed(data: bytes) -> list[Frame]:
    """The frames of what a server sent, as the client side of `websockets` takes it (RFC 6455)."""
    client = ClientProtocol(parse_uri("ws://a/"), state=OPEN, max_size=None)
    client.receive_data(data)
    assert client.parser_exc is None
    return [event for event in client.events_received() if isinstance(event, Frame)]


def json_of(data: bytes) -> Any:
    (frame,) = parsed(data)
    assert (Opcode.TEXT, True) == (frame.opcode, frame.fin)
    return json.loads(bytes(frame.data))


# --- commands ---------------------------------------------------------------------------------------------------------

RAW = msgspec.Raw
COMMANDS: list[tuple[str, Command]] = [
    ('{"action":"subscribe","topic_name":"a"}', Subscribe(topic_name="a")),
    ('{"action":"suscribe","topic_name":"a","ref":"r"}', Suscribe(topic_name="a", ref="r")),
    ('{"action":"unsubscribe","topic_name":"a"}', Unsubscribe(topic_name="a")),
    ('{"action":"invite","topic_name":"a","username":"eva"}', Invite(topic_name="a", username="eva")),
    (
        '{"action":"message","topic_name":"@eva","content":{"b": [1]}}',
        Publish(topic_name="@eva", content=RAW(b'{"b": [1]}')),
    ),
    ('{"action":"message","topic_name":"a","content":null}', Publish(topic_name="a", content=RAW(b"null"))),
    (
        '{"ttl":60,"id":"k","content":"\\u00e9","topic_name":"a","action":"message","other":1}',
        Publish(topic_name="a", content=RAW(b'"\\u00e9"'), id="k", ttl=60),
    ),
    ('{"action":"ack","topic_name":"a","seq":7}', Ack(topic_name="a", seq=7)),
    ('{"action":"history","topic_name":"a"}', History(topic_name="a")),
    (
        '{"action":"history","topic_name":"a","before":9,"after":0,"limit":2}',
        History(topic_name="a", before=9, after=0, limit=2),
    ),
    ('{"action":"topics"}', Topics()),
    ('{"action":"disconnect","ref":null}', Disconnect()),
]


def test_every_command_is_in_the_table() -> None:
    assert {type(command) for _, command in COMMANDS} == set(vocabulary.AnyCommand.__args__)


@pytest.mark.parametrize(("text", "command"), COMMANDS)
def test_a_command(text: str, command: Command) -> None:
    assert command == decode(text.encode())


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        ("", BadJson),
        ("{", BadJson),
        ("hello", BadJson),
        ('{"action":"topics"} x', BadJson),
        ('{"action":NaN}', BadJson),
        ('{"action":"x","ref":"\\ud800"}', BadJson),
        ('\ufeff{"action":"topics"}', BadJson),
        ("{}", UnknownAction),
        ('{"topic_name":"a"}', UnknownAction),
        ('{"action":"dance"}', UnknownAction),
        ('{"action":7}', UnknownAction),
        ('{"action":null}', UnknownAction),
        ('{"action":"Message"}', UnknownAction),
        ("[]", BadRequest),
        ("1", BadRequest),
        ('"topics"', BadRequest),
        ("null", BadRequest),
        ('{"action":"subscribe"}', BadRequest),
        ('{"action":"subscribe","topic_name":7}', BadRequest),
        ('{"action":"subscribe","topic_name":null}', BadRequest),
        ('{"action":"invite","topic_name":"a"}', BadRequest),
        ('{"action":"message","topic_name":"a"}', BadRequest),
        ('{"action":"topics","ref":7}', BadRequest),
        ('{"action":"message","topic_name":"a","content":1,"id":""}', BadRequest),
        ('{"action":"message","topic_name":"a","content":1,"id":7}', BadRequest),
        ("[" * 100_000, BadRequest),
        ('{"action":' + "[" * 100_000, BadRequest),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_frame_that_is_no_command(frame: str, error: type[BadRequest]) -> None:
    refusal = decode(frame.encode())
    assert isinstance(refusal, Refusal)
    assert error is type(refusal.error)


@pytest.mark.parametrize("value", ["0", "-1", str(MAX_SEQ + 1), "1.5", "1e3", "1e999", '"1"', "true", "9" * 5000])
@pytest.mark.parametrize(
    "frame",
    [
        '{"action":"ack","topic_name":"a","seq":N}',
        '{"action":"history","topic_name":"a","before":N}',
        '{"action":"history","topic_name":"a","limit":N}',
        '{"action":"message","topic_name":"a","content":1,"ttl":N}',
    ],
)
def test_whole_numbers_from_1_to_the_largest_that_json_keeps(frame: str, value: str) -> None:
    refusal = decode(frame.replace("N", value).encode())
    assert isinstance(refusal, Refusal)
    assert (BadRequest, "a") == (type(refusal.error), refusal.topic_name)


def test_a_lifetime_is_at_most_a_year() -> None:
    frame = b'{"action":"message","topic_name":"a","content":1,"ttl":%d}'
    assert isinstance(decode(frame % MAX_LIFETIME), Publish)
    assert isinstance(decode(frame % (MAX_LIFETIME + 1)), Refusal)


def test_a_refusal_carries_back_what_it_can() -> None:
    refusal = decode(b'{"action":"message","topic_name":"a","id":"a b","ref":"r","content":1}')
    assert isinstance(refusal, Refusal)
    assert ("a", "a b", "r") == (refusal.topic_name, refusal.id, refusal.ref)
    assert "regex" not in refusal.error.message
    assert "$.id" in refusal.error.message


@pytest.mark.parametrize("value", ['"' + "x" * 130 + '"', "7", "[]", "null"])
def test_a_refusal_carries_nothing_back_that_is_no_short_text(value: str) -> None:
    refusal = decode(f'{{"action":"dance","topic_name":{value},"id":{value},"ref":{value}}}'.encode())
    assert isinstance(refusal, Refusal)
    assert (None, None, None) == (refusal.topic_name, refusal.id, refusal.ref)


words = st.sampled_from(
    ["action", "topic_name", "content", "seq", "id", "ref", "ttl", "message", "ack", "history", "a", "@a", ""]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words | st.text(), inner, max_size=5),
    max_leaves=10,
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid frame with a few bytes replaced, removed or put in."""
    frame = bytearray(draw(st.sampled_from(COMMANDS))[0].encode())
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(frame)))
        frame[start : start + draw(st.integers(0, 3))] = draw(
            st.binary(max_size=3) | st.sampled_from([b'"', b"\\u0000", b"\\ud800"])
        )
    return bytes(frame)


@given(st.binary() | st.text().map(str.encode) | json_values.map(json.dumps).map(str.encode) | mutated())
@example(b'{"action":"x","topic_name":"\\udc00"}')
@example(b'{"action":"\xff"}')
@example(b'{"action":"ack","action":"message","topic_name":"a","seq":1}')
def test_whatever_comes_is_a_command_or_a_refusal_that_can_be_told(data: bytes) -> None:
    result = decode(data)
    if isinstance(result, Refusal):
        said = json_of(error_frame(result.error, result.topic_name, result.id, result.ref))
        assert ("error", result.error.code) == (said["action"], said["code"])
    else:
        assert isinstance(result, Command)


# --- what the server says ---------------------------------------------------------------------------------------------

STATE = TopicState(topic_name="a", kind="public", role="owner", last_seq=9, cursor=4, pending=5, epoch="e")
HISTORY = HistoryPage(
    topic_name="a",
    messages=[history_message(Message(3, "omar", Content('{"b": 1}'), NOW))],
    more=True,
    epoch="e",
    ref="r",
)
SAID: list[tuple[msgspec.Struct, dict[str, Any]]] = [
    (
        Connected(username="omar", topics=2, pending=0),
        {"action": "connected", "username": "omar", "topics": 2, "pending": 0},
    ),
    (
        GapPush(topic_name="a", first=2, last=5, reason="seen"),
        {"action": "gap", "topic_name": "a", "from": 2, "to": 5, "reason": "seen"},
    ),
    (Invited(topic_name="a", user_source="eva"), {"action": "invited", "topic_name": "a", "user_source": "eva"}),
    (Removed(topic_name="a"), {"action": "removed", "topic_name": "a"}),
    (
        TopicPush(topic_name="a", epoch="e", last_seq=9),
        {"action": "topic", "topic_name": "a", "epoch": "e", "last_seq": 9},
    ),
    (Heartbeat(), {"action": "heartbeat"}),
    (
        Closing(code=4012, reason="why", reconnect=True, retry_after=1),
        {"action": "closing", "code": 4012, "reason": "why", "reconnect": True, "retry_after": 1},
    ),
    (
        Done(action="subscribe", topic_name="a", result="ok", ref="r"),
        {"action": "subscribe", "topic_name": "a", "result": "ok", "ref": "r"},
    ),
    (
        Done(action="message", topic_name="a", result="ok", id="k", seq=3),
        {"action": "message", "topic_name": "a", "result": "ok", "id": "k", "seq": 3},
    ),
    (
        Done(action="invite", topic_name="a", result="error", code="forbidden", message="no"),
        {"action": "invite", "topic_name": "a", "result": "error", "code": "forbidden", "message": "no"},
    ),
    (
        TopicList(topics=[STATE], more=False),
        {
            "action": "topics",
            "more": False,
            "topics": [
                {
                    "topic_name": "a",
                    "kind": "public",
                    "role": "owner",
                    "last_seq": 9,
                    "cursor": 4,
                    "pending": 5,
                    "epoch": "e",
                }
            ],
        },
    ),
    (
        HISTORY,
        {
            "action": "history",
            "topic_name": "a",
            "messages": [
                {"content": {"b": 1}, "user_source": "omar", "seq": 3, "sent_at": "2026-01-02T03:04:05.678900Z"}
            ],
            "more": True,
            "epoch": "e",
            "ref": "r",
        },
    ),
]


def test_every_push_is_in_the_table() -> None:
    elsewhere = {vocabulary.ErrorPush, vocabulary.MessagePush}
    assert {type(thing) for thing, _ in SAID} | elsewhere >= set(vocabulary.Push.__subclasses__())


@pytest.mark.parametrize(("thing", "said"), SAID, ids=lambda value: type(value).__name__)
def test_a_reply_or_push(thing: msgspec.Struct, said: dict[str, Any]) -> None:
    assert said == json_of(encode(thing))


def test_an_error_keeps_the_shape_of_old_and_adds_a_code() -> None:
    error = NotAMember()
    assert {
        "action": "error",
        "topic": "error",
        "code": "not_a_member",
        "message": error.message,
        "topic_name": "a",
        "ref": "r",
    } == json_of(error_frame(error, "a", None, "r"))


def test_content_in_history_is_byte_for_byte() -> None:
    assert b'"content":{"b": 1},' in encode(HISTORY)


def test_a_message_goes_out_byte_for_byte_as_it_came_in() -> None:
    content = '{ "é":"\\u00e9", "n":1.0e2 ,"a":1,"a":2}'
    ((seq, frame),) = entry_frames("@a|b/c", [Message(7, "om|ar", Content(content), NOW)])
    (text,) = parsed(frame)
    assert 7 == seq
    assert (
        '{"action":"message","topic_name":"@a|b/c","content":' + content + ',"user_source":"om|ar","seq":7,'
        '"sent_at":"2026-01-02T03:04:05.678900Z"}'
    ).encode() == bytes(text.data)


def test_a_gap_stands_in_its_place_and_reaches_its_end() -> None:
    frames = entry_frames(
        "a", [Message(1, "omar", Content("1"), NOW), Gap(2, 5, "expired"), Message(6, "omar", Content("2"), NOW)]
    )
    assert [1, 5, 6] == [seq for seq, _ in frames]
    assert {"action": "gap", "topic_name": "a", "from": 2, "to": 5, "reason": "expired"} == json_of(frames[1][1])


@given(json_values.map(lambda value: json.dumps(value, ensure_ascii=False)), st.integers(1, MAX_SEQ))
def test_any_content_stays_what_it_was(content: str, seq: int) -> None:
    try:
        content.encode()
    except UnicodeEncodeError:
        return
    ((_, frame),) = entry_frames("a", [Message(seq, "omar", Content(content), NOW)])
    (text,) = parsed(frame)
    assert content.encode() == bytes(text.data).partition(b'"content":')[2].rpartition(b',"user_source":')[0]


# --- frames -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 124, 125, 126, 127, 128, 255, 256, 65534, 65535, 65536, 65537, 200_000])
def test_a_text_frame_of_any_size_is_valid(size: int) -> None:
    payload = b"x" * size
    both = parsed(text_frame(payload) + text_frame(b"next"))
    assert [(Opcode.TEXT, True, payload), (Opcode.TEXT, True, b"next")] == [
        (f.opcode, f.fin, bytes(f.data)) for f in both
    ]


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_a_text_frame_is_what_the_library_would_have_sent(size: int) -> None:
    payload = b"x" * size
    assert Frame(Opcode.TEXT, payload).serialize(mask=False) == text_frame(payload)


@pytest.mark.parametrize("payload", [b"", b"12345678", bytes(range(125))])
def test_a_ping(payload: bytes) -> None:
    assert Frame(Opcode.PING, payload).serialize(mask=False) == ping_frame(payload)
    (frame,) = parsed(ping_frame(payload))
    assert (Opcode.PING, payload) == (frame.opcode, bytes(frame.data))


@given(
    st.lists(
        st.integers(1, 2 * PIECE_BYTES) | st.sampled_from([PIECE_BYTES, PIECE_BYTES // 2, PIECE_BYTES + 1]), max_size=12
    )
)
def test_pieces_hold_every_frame_in_order_and_are_small_unless_one_frame_is_not(sizes: list[int]) -> None:
    frames = [(seq, b"x" * size) for seq, size in enumerate(sizes)]
    groups = list(pieces(iter(frames)))
    assert frames == [frame for group in groups for frame in group]
    assert all(group for group in groups)
    assert all(len(group) == 1 or sum(len(f) for _, f in group) <= PIECE_BYTES for group in groups)
    together = [sum(len(f) for _, f in a) + len(b[0][1]) for a, b in itertools.pairwise(groups)]
    assert all(size > PIECE_BYTES for size in together)  # no group ends before it must


def test_the_decoder_makes_nothing_when_it_is_imported_but_values() -> None:
    assert isinstance(protocol.PIECE_BYTES, int)
