"""Signatures as Standard Webhooks has them: its own vector, and its own library as the receiver."""

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from bridges.webhooks.signing import sign, signature_headers

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLDER = "whsec_plJ3nmyCDGBKInavdOK15jsl"
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"


def test_the_vector_of_the_specification() -> None:
    signed = sign(SECRET, ID, 1614265330, b'{"test": 2432232314}')
    assert "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" == signed


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1), st.text())
def test_the_library_for_receivers_signs_the_same(identity: str, text: str) -> None:
    body = text.encode(errors="replace").decode()
    at = 1_700_000_000
    theirs = Webhook(SECRET).sign(identity, datetime.fromtimestamp(at, UTC), body)
    assert theirs == sign(SECRET, identity, at, body.encode())


@pytest.mark.parametrize("held", [SECRET, OLDER])
def test_while_a_secret_is_rotated_a_receiver_may_hold_either(held: str) -> None:
    body = b'{"text":"\xc3\xa9"}'
    headers = signature_headers([SECRET, OLDER], ID, int(time.time()), body)
    assert 2 == len(headers["webhook-signature"].split())
    assert {"text": "é"} == Webhook(held).verify(body, headers)


def test_one_byte_more_and_the_receiver_refuses() -> None:
    headers = signature_headers([SECRET], ID, int(time.time()), b"{}")
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(b"{} ", headers)


@pytest.mark.parametrize("secret", ["whsec_?", "hunter2!", "whsec_é"])
def test_what_cannot_sign_says_so(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_ and base64"):
        sign(secret, ID, 0, b"")
