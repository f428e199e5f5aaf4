"""The frames: `decode` what a client sends, `encode` what it is sent. Pure.

A client's frame is one JSON object as text. What the server sends is framed here, too (RFC 6455, section 5.2): a
message is encoded once, joined with its neighbours, and the same bytes are written to every session.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from messaging.errors import BadJson, BadRequest, RecadoError, UnknownAction
from messaging.frames import AnyCommand, ErrorPush, GapPush, HistoryMessage
from messaging.model import MAX_NAME, NAME_RULE, Entry, Message

PIECE_BYTES = 64 * 1024


class Refusal(msgspec.Struct, frozen=True):
    """A frame that is no command, with what of it an answer may carry back."""

    error: RecadoError
    topic_name: str | None = None
    id: str | None = None
    ref: str | None = None


class _Loose(msgspec.Struct):
    action: Any = msgspec.UNSET
    topic_name: Any = None
    id: Any = None
    ref: Any = None


_commands: msgspec.json.Decoder[AnyCommand] = msgspec.json.Decoder(AnyCommand)
_loose = msgspec.json.Decoder(_Loose)
_json = msgspec.json.Encoder().encode


def decode(data: bytes) -> AnyCommand | Refusal:
    """The command that a text frame carries. ``data`` is UTF-8; its size is bounded by the caller."""
    try:
        return _commands.decode(data)
    except msgspec.ValidationError as exc:
        return _refusal(data, str(exc))
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        return Refusal(BadJson(f"No action received: this is not JSON ({exc})."))
    except RecursionError:
        return Refusal(BadRequest("The frame is nested too deeply."))


def _refusal(data: bytes, reason: str) -> Refusal:
    try:
        loose = _loose.decode(data)
    except msgspec.ValidationError:
        return Refusal(BadRequest(f"A request is one JSON object: {reason}."))
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        return Refusal(BadJson(f"No action received: this is not JSON ({exc})."))
    except RecursionError:
        return Refusal(BadRequest("The frame is nested too deeply."))
    error: RecadoError
    if loose.action is msgspec.UNSET:
        error = UnknownAction("No action received")
    elif reason.endswith("`$.action`"):
        error = UnknownAction()
    elif "matching regex" in reason:
        error = BadRequest(f"Not a name ({NAME_RULE}){reason[reason.rindex(' - at') :]}.")
    else:
        error = BadRequest(f"{reason}.")
    return Refusal(error, _echo(loose.topic_name), _echo(loose.id), _echo(loose.ref))


def _echo(value: Any) -> str | None:
    return value if isinstance(value, str) and len(value) <= MAX_NAME + 1 else None


def encode(thing: msgspec.Struct) -> bytes:
    """A reply or push as a text frame."""
    return text_frame(_json(thing))


def error_frame(error: RecadoError, topic_name: str | None, key: str | None, ref: str | None) -> bytes:
    return encode(
        ErrorPush(topic="error", code=error.code, message=error.message, topic_name=topic_name, id=key, ref=ref)
    )


def entry_frames(topic_name: str, entries: Iterable[Entry]) -> list[tuple[int, bytes]]:
    """Each entry as a text frame, with the seq that a reader has reached behind it."""
    head = b'{"action":"message","topic_name":' + _json(topic_name) + b',"content":'
    return [
        (entry.seq, _message_frame(head, entry))
        if isinstance(entry, Message)
        else (
            entry.last,
            encode(GapPush(topic_name=topic_name, first=entry.first, last=entry.last, reason=entry.reason)),
        )
        for entry in entries
    ]


def _message_frame(head: bytes, message: Message) -> bytes:
    # Joined by hand: the content goes out byte for byte as it came in.
    return text_frame(
        b'%b%b,"user_source":%b,"seq":%d,"sent_at":%b}'
        % (head, message.content.encode(), _json(message.sender), message.seq, _json(message.sent_at))
    )


def history_message(message: Message) -> HistoryMessage:
    sent_at = _json(message.sent_at).decode().strip('"')
    return HistoryMessage(msgspec.Raw(message.content.encode()), message.sender, message.seq, sent_at)


def pieces(frames: Iterable[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    """Frames in groups of at most 64 KiB, each of one frame at least."""
    group: list[tuple[int, bytes]] = []
    size = 0
    for frame in frames:
        if group and size + len(frame[1]) > PIECE_BYTES:
            yield group
            group, size = [], 0
        group.append(frame)
        size += len(frame[1])
    if group:
        yield group


def text_frame(payload: bytes) -> bytes:
    """An unmasked, unfragmented text frame (RFC 6455, 5.2: FIN, opcode 1, length in 7, 16 or 64 bits)."""
    size = len(payload)
    if size < 126:
        return b"\x81%c%b" % (size, payload)
    if size < 65536:
        return b"\x81\x7e" + struct.pack("!H", size) + payload
    return b"\x81\x7f" + struct.pack("!Q", size) + payload


def ping_frame(payload: bytes) -> bytes:
    """A ping; ``payload`` has at most 125 bytes (RFC 6455, 5.5)."""
    return b"\x89%c%b" % (len(payload), payload)
