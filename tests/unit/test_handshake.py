"""The opening handshake: where a token may stand, what may be wished."""

import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.datastructures import Headers
from websockets.typing import Subprotocol

from messaging.errors import BadRequest, Forbidden, Unauthorized, Unavailable
from ws_server.handshake import (
    ConnectOptions,
    answer,
    choose_subprotocol,
    connect_options,
    quiet_logger,
    refused,
    token_of,
)

# --- the token --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/t.o.k", []),
        ("/t.o.k", [("Authorization", "Bearer another")]),
        ("/", [("Authorization", "Bearer t.o.k")]),
        ("/", [("authorization", "bearer  t.o.k ")]),
        ("", [("Authorization", "BEARER t.o.k")]),
        ("/", [("Sec-WebSocket-Protocol", "bearer, t.o.k")]),
        ("/", [("Sec-WebSocket-Protocol", "bearer"), ("Sec-WebSocket-Protocol", "t.o.k")]),
        ("/", [("Authorization", "Basic eA=="), ("Sec-WebSocket-Protocol", "bearer,t.o.k,chat")]),
    ],
)
def test_a_token_stands_in_the_path_else_in_a_header(path: str, headers: list[tuple[str, str]]) -> None:
    assert "t.o.k" == token_of(path, Headers(headers))


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "")],
        [("Authorization", "Bearer")],
        [("Authorization", "t.o.k")],
        [("Authorization", "Basic t.o.k")],
        [("Authorization", "Bearer t.o.k"), ("Authorization", "Bearer another")],
        [("Sec-WebSocket-Protocol", "bearer")],
        [("Sec-WebSocket-Protocol", "chat, bearer, t.o.k")],
        [("Sec-WebSocket-Protocol", "")],
        [("Cookie", "token=t.o.k")],
    ],
)
def test_without_a_token_nobody_is_let_in(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(Unauthorized) as caught:
        token_of("/", Headers(headers))
    assert "t.o.k" not in caught.value.message


@pytest.mark.parametrize(("offered", "chosen"), [(["bearer", "t.o.k"], "bearer"), (["chat"], None), ([], None)])
def test_only_the_word_bearer_is_ever_echoed(offered: list[str], chosen: str | None) -> None:
    connection: Any = None
    assert chosen == choose_subprotocol(connection, [Subprotocol(item) for item in offered])


# --- wishes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "wished"),
    [
        ("", ConnectOptions("", False, False)),
        ("device=phone&ack=explicit&heartbeat=1&epoch=1", ConnectOptions("phone", True, True, True)),
        ("device=&ack=&heartbeat=", ConnectOptions("", False, False)),
        ("ack=Explicit&heartbeat=true&epoch=yes&other=1", ConnectOptions("", False, False)),
        ("device=a%2Bb&device=c", ConnectOptions("a+b", False, False)),
    ],
)
def test_wishes(query: str, wished: ConnectOptions) -> None:
    assert wished == connect_options(query)


@pytest.mark.parametrize("device", ["a+b", "a%20b", "%00", "..", "a%2F..", "%FF", "x" * 129, "%0A"])
def test_a_device_has_a_name_within_the_rule(device: str) -> None:
    with pytest.raises(BadRequest, match=r"^device: "):
        connect_options(f"device={device}")


@given(st.text())
def test_whatever_is_wished_nothing_breaks(query: str) -> None:
    try:
        connect_options(query)
    except BadRequest:
        assert "device" in query


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "retry"), [(Unauthorized(), 401, None), (Forbidden("no"), 403, None), (Unavailable(), 503, "1")]
)
def test_a_refusal_says_why_in_json(error: Any, status: int, retry: str | None) -> None:
    response = refused(error)
    assert (status, retry) == (response.status_code, response.headers.get("Retry-After"))
    assert {"code": error.code, "message": error.message} == json.loads(response.body or b"")
    assert str(len(response.body or b"")) == response.headers["Content-Length"]


def test_an_answer_has_the_words_of_its_status() -> None:
    response = answer(200, b"ok", "text/plain")
    assert ("OK", "text/plain", b"ok") == (response.reason_phrase, response.headers["Content-Type"], response.body)


# --- the log ----------------------------------------------------------------------------------------------------------


def test_no_request_line_reaches_the_log(caplog: pytest.LogCaptureFixture) -> None:
    logger = quiet_logger()
    logger.debug("< GET /t.o.k HTTP/1.1")
    logger.info("connection open")
    try:
        raise ValueError("GET /t.o.k HTTP/1.1")
    except ValueError:
        logger.error("opening handshake failed", exc_info=True)
    logger.warning("something else")
    assert "t.o.k" not in caplog.text
    assert [("opening handshake failed", logging.INFO), ("something else", logging.WARNING)] == [
        (record.getMessage(), record.levelno) for record in caplog.records
    ]
