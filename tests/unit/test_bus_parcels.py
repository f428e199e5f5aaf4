"""Parcels of a bus: sealed, numbered, each received once, of senders that are alive."""

from __future__ import annotations

from contextlib import aclosing
from datetime import UTC, datetime

import msgspec
import pytest

from messaging.bus.postgres import MAX_PAYLOAD_BYTES
from messaging.bus.remote import RemoteBus
from messaging.bus.seal import SEAL_BYTES, Seal
from messaging.bus.wire import ReplayWindow, SendQueue, unpacked
from messaging.model import Appended, Changed, Content, Message, Notice, Voided

SECRET = bytes(range(32))
A, B = "0a" * 16, "0b" * 16
NOW = datetime(2026, 11, 26, 12, 0, 0, 123456, tzinfo=UTC)


def test_what_is_sealed_is_opened_by_who_has_the_secret() -> None:
    sealed = Seal(A, SECRET).close(7, b"body")
    assert b"body" not in sealed
    assert len(sealed) == 4 + SEAL_BYTES
    assert Seal(B, SECRET).open(sealed) == (A, 7, b"body")
    assert Seal(A, SECRET).open(sealed) == (A, 7, b"body")
    assert Seal(B, bytes(32)).open(sealed) is None


def test_a_byte_that_was_changed_anywhere_voids_it() -> None:
    seal, sealed = Seal(B, SECRET), Seal(A, SECRET).close(7, b"body")
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        assert seal.open(bytes(changed)) is None
    for length in range(len(sealed)):
        assert seal.open(sealed[:length]) is None
    assert seal.open(sealed + b"x") is None


def test_the_same_number_of_two_senders_is_sealed_by_two_keys() -> None:
    """So that a nonce, which is the number, comes once under each."""
    one, other = Seal(A, SECRET).close(1, bytes(64)), Seal(B, SECRET).close(1, bytes(64))
    head = SEAL_BYTES - 16
    assert one[head : head + 64] != other[head : head + 64]  # without the tags, which differ by the names in the heads


def test_an_outbox_gives_no_number_twice() -> None:
    outbox = SendQueue()
    numbers = []
    for round_ in range(50):
        for user in range(round_ * 300):
            outbox.put(Changed(user))
        numbers += [number for number, _ in outbox.parcels(200)]
        numbers.append(outbox.heartbeat()[0])
    assert len(numbers) == len(set(numbers))
    assert numbers == sorted(numbers)


@pytest.mark.parametrize("limit", [100, 1000, MAX_PAYLOAD_BYTES // 4 * 3 - SEAL_BYTES])
def test_a_body_is_within_its_limit_and_says_what_was_told(limit: int) -> None:
    told: list[Notice] = [Changed(2**53 - 1), Voided("j" * 60)]
    told += [
        Appended(2**53 - 1, seq, seq, (Message(seq, "omar", Content('"ñ\\n"' * seq), NOW),)) for seq in range(1, 40)
    ]
    outbox = SendQueue()
    for notice in told:
        outbox.put(notice)
    bodies = [body for _, body in outbox.parcels(limit)]
    assert all(len(body) <= limit for body in bodies)
    heard = [notice for body in bodies for notice in unpacked(body)]
    assert len(heard) == len(told)
    for one, other in zip(told, heard, strict=True):
        assert other in (one, Appended(one.topic_id, one.first, one.last, None) if isinstance(one, Appended) else one)


def test_a_notify_has_room_for_nearly_six_thousand_bytes_of_content() -> None:
    room = MAX_PAYLOAD_BYTES // 4 * 3 - SEAL_BYTES
    content = '"' + "x" * (room - 80) + '"'
    outbox = SendQueue()
    outbox.put(Appended(2**53 - 1, 2**53 - 1, 2**53 - 1, (Message(2**53 - 1, "omar", Content(content), NOW),)))
    [(_, body)] = outbox.parcels(room)
    assert len(content) > 5870
    [notice] = unpacked(body)
    assert isinstance(notice, Appended)
    assert notice.messages is not None


@pytest.mark.parametrize(
    "body", [b"", b"\xc1", b"\x91\x92\xa1z\x01", b"\x81\x01\x02", b"\xdd\xff\xff\xff\xff", b"\x91" * 5000]
)
def test_a_body_of_another_release_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        unpacked(body)


def test_a_parcel_is_received_once_and_a_missing_one_counts_once() -> None:
    inbox = ReplayWindow()
    inbox.know(frozenset({A}))
    taken = [inbox.take(A, number) for number in (1, 2, 2, 1, 5, 4, 3, 5, 6)]
    assert taken == [0, 0, None, None, 2, None, None, None, 0]


def test_who_is_not_alive_is_turned_away_and_then_known_of() -> None:
    inbox = ReplayWindow()
    inbox.know(frozenset({A}))
    assert inbox.take(B, 9) is None
    assert B not in inbox
    assert not inbox.know(frozenset({A}))
    assert inbox.take(B, 10) is None
    assert inbox.know(frozenset({A, B}))
    assert not inbox.know(frozenset({A, B}))  # said once
    assert inbox.take(B, 11) == 10
    assert inbox.take(B, 12) == 0


def test_fifteen_hundred_senders_are_followed_without_a_loss() -> None:
    """However many there are, a parcel counts as lost where one is."""
    inbox = ReplayWindow()
    names = [f"{number:032x}" for number in range(1500)]
    inbox.know(frozenset(names))
    for number in range(1, 6):
        assert {inbox.take(name, number) for name in names} == {0}
        inbox.know(frozenset(names))
    inbox.know(frozenset(names[:10]))
    assert [inbox.take(name, 6) for name in names] == [0] * 10 + [None] * 1490


async def test_what_a_broken_line_has_not_sent_counts_as_missing() -> None:
    """Though the parcel in whose sending it broke has arrived: from its number alone nobody would know."""
    exchange, inbox = RemoteBus(), ReplayWindow()
    exchange.open(Seal(A, SECRET), lambda: None, lambda: None)
    inbox.know(frozenset({A}))
    for user in range(1, 100):
        exchange.tell(Changed(user))
    missing = []
    for _ in range(2):
        async with aclosing(exchange.departures(0.0, lambda: 200)) as departures:
            opened = Seal(B, SECRET).open(await anext(departures))
        assert opened is not None
        missing.append(inbox.take(*opened[:2]))
        exchange.tell(Changed(100))
    first, second = missing
    assert first == 0
    assert second
