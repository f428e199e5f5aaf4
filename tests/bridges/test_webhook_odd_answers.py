"""Answers that no library likes: their status line says what became of the message, and no answer ends a lane."""

import pytest
from push_support import outlet, parcel, platform, receiving, reply, saying

from bridges.outlet import Gone, Undeliverable, Unreachable

ODD = {
    "a header beyond the library's limit": b"X: %b\r\n\r\n" % (b"x" * 8191),
    "a header beyond ours": b"X: %b\r\n\r\n" % (b"x" * 99_999),
    "headers without end": b"X: x\r\n" * 9999,
    "a header that is none": b"no header\r\n\r\n",
    "a name of no form": b"\x00\xff: 1\r\n\r\n",
    "NUL in a value": b"X: \x00\r\n\r\n",
    "no UTF-8": b"Location: \xff\xfe\r\nContent-Type: \xff; charset=\xff\r\nContent-Length: 0\r\n\r\n",
    "two lengths": b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    "a length that is none": b"Content-Length: -1\r\n\r\n",
    "a length beyond all": b"Content-Length: %b\r\n\r\n" % (b"9" * 400),
    "length and chunks": b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
    "an unknown coding": b"Transfer-Encoding: mist\r\nContent-Encoding: mist\r\n\r\nx",
    "chunks that are none": b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "a chunk beyond all": b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n",
    "a cookie of no form": b"Set-Cookie: \x01=;;;\r\nContent-Length: 0\r\n\r\n",
    "an upgrade": b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x00",
    "nothing more": b"",
}


async def send_to(url: str) -> None:
    async with outlet(platform(url)) as (to, _):
        await to.send(parcel())


@pytest.mark.parametrize("rest", ODD.values(), ids=ODD)
@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"], ids=["", "103"])
async def test_a_success_is_one_whatever_follows_the_status_line(rest: bytes, before: bytes) -> None:
    """Of a platform that is sent nothing twice, too; and the next message goes its way."""
    async with receiving(saying(before + b"HTTP/1.1 200 OK\r\n" + rest)) as receiver:
        async with outlet(platform(receiver.url, style="webhook", retry_ambiguous=False)) as (to, _):
            await to.send(parcel())
            receiver.answer = lambda *_: reply(204, b"")
            await to.send(parcel(identity="msg_2"))
        assert ["msg_1", "msg_2"] == [request.id for request in receiver.got]


@pytest.mark.parametrize("rest", ODD.values(), ids=ODD)
@pytest.mark.parametrize(("status", "meaning"), [(503, Unreachable), (422, Undeliverable), (410, Gone)])
async def test_an_odd_answer_means_what_its_status_line_says(
    rest: bytes, status: int, meaning: type[Exception]
) -> None:
    async with receiving(saying(b"HTTP/1.1 %d It-is\r\n" % status + rest)) as receiver:
        with pytest.raises(meaning, match=f"it answered {status}"):
            await send_to(receiver.url)


async def test_a_reason_phrase_without_end_is_a_status_line() -> None:
    async with receiving(saying(b"HTTP/1.1 200 " + b"O" * 99_999)) as receiver:
        await send_to(receiver.url)


async def test_interim_answers_have_an_end() -> None:
    """Each is parsed and kept by aiohttp in one turn: a flood of them stood the loop still for seconds."""
    flood = b"HTTP/1.1 100 Continue\r\n\r\n" * 2000
    async with receiving(saying(flood + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as receiver:
        with pytest.raises(Unreachable, match="no status line"):
            await send_to(receiver.url)
        receiver.answer = lambda *_: reply(204, b"")
        await send_to(receiver.url)


async def test_what_was_heard_of_one_answer_is_not_the_next_ones() -> None:
    async with receiving() as receiver, outlet(platform(receiver.url)) as (to, _):
        await to.send(parcel())
        receiver.answer = saying(b"SSH-2.0-OpenSSH_9\r\n")
        with pytest.raises(Unreachable, match="spoke no HTTP"):
            await to.send(parcel())
