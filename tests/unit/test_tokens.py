"""Tokens: what is let in, and above all what is not."""

import base64
import hashlib
import hmac
import json
import math
import time
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.routes.messages import BACKEND_SENDER
from bridges.config import NatsIn, RabbitIn
from messaging.auth.tokens import MAX_ID, MAX_TOKEN, Claims, Tokens
from messaging.errors import BadRequest, Unauthorized
from messaging.model import LEEWAY, MAX_LIFETIME, NEWS, person_name
from messaging.news import MAKER

SECRET = "a-secret-that-is-only-for-these-tests"
TOKENS = Tokens(SECRET)
HS256 = {"alg": "HS256", "typ": "JWT"}


def signed(claims: Any, header: Any = HS256, secret: str = SECRET, digest: str = "sha256") -> str:
    """A token whose signature is right, whatever it says; bytes are taken as they are."""

    def encoded(part: Any) -> bytes:
        raw = part if isinstance(part, bytes) else json.dumps(part).encode()
        return base64.urlsafe_b64encode(raw).rstrip(b"=")

    body = encoded(header) + b"." + encoded(claims)
    return (body + b"." + encoded(hmac.new(secret.encode(), body, digest).digest())).decode()


def claims(**changes: Any) -> dict[str, Any]:
    return {"sub": "omar", "exp": int(time.time()) + 60, **changes}


def verified(token: str) -> Claims:
    """What a token says. One of ours is verified in the step that asks: nothing is waited for."""
    asking = TOKENS.verify(token)
    with pytest.raises(StopIteration) as done:
        asking.send(None)
    claims: Claims = done.value.value
    return claims


def refusal(token: str) -> str:
    """Why it is not let in; never with the token or its parts."""
    with pytest.raises(Unauthorized) as caught:
        verified(token)
    assert [] == [part for part in token.split(".") if len(part) > 12 and part in str(caught.value)]
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return caught.value.message


def test_who_was_given_a_token_is_let_in_by_it() -> None:
    token, expires_at = TOKENS.issue("omar", 60, {"topics": {"read": ["a"]}})
    said = verified(token)
    assert ("omar", expires_at, {"topics": {"read": ["a"]}}) == (said.user, said.expires_at, said.payload)
    assert 12 <= len(said.jti)
    assert said.issued_at == pytest.approx(time.time(), abs=5)


def test_no_two_tokens_have_the_same_id() -> None:
    assert 20 == len({verified(TOKENS.issue("omar")[0]).jti for _ in range(20)})


@pytest.mark.parametrize("lifetime", [0, -1, MAX_LIFETIME + 1, float("nan"), float("inf")])
def test_a_lifetime_outside_the_rule_is_refused(lifetime: float) -> None:
    with pytest.raises(BadRequest):
        TOKENS.issue("omar", lifetime)


@pytest.mark.parametrize("user", ["", "a//b", "a\n", "../x", "x" * 129, "é" * 22])
def test_who_can_not_exist_gets_no_token(user: str) -> None:
    with pytest.raises(BadRequest):
        TOKENS.issue(user)


def test_no_token_is_issued_that_would_be_too_long_to_be_let_in() -> None:
    with pytest.raises(BadRequest, match="payload"):
        TOKENS.issue("omar", payload={"a": "x" * MAX_TOKEN})


@pytest.mark.parametrize("secret", ["", "short", "x" * 31])
def test_a_short_secret_signs_nothing(secret: str) -> None:
    with pytest.raises(jwt.InvalidKeyError):
        Tokens(secret).issue("omar")


def test_the_claim_username_stands_in_where_sub_is_missing() -> None:
    told = claims(username="eva")
    assert "omar" == verified(signed(told)).user
    del told["sub"]
    assert "eva" == verified(signed(told)).user


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "None"},
        {"alg": "HS512"},
        {"alg": "RS256"},
        {"alg": "hs256"},
        {"alg": ["HS256"]},
        {"alg": None},
        {},
        {**HS256, "kid": 3},
        {**HS256, "crit": ["b64"], "b64": False},
        {**HS256, "b64": False},
        [],
        None,
        b"\xff",
    ],
    ids=repr,
)
def test_no_other_algorithm_and_no_odd_header(header: Any) -> None:
    refusal(signed(claims(), header))


def test_an_unsigned_token_is_nobodys() -> None:
    token = signed(claims(), {"alg": "none", "typ": "JWT"})
    refusal(token.rpartition(".")[0] + ".")
    refusal(signed(claims()).rpartition(".")[0] + ".")


def test_another_secret_or_hash_is_nobodys() -> None:
    refusal(signed(claims(), secret="another-secret-that-is-long-enough-too"))
    refusal(signed(claims(), {"alg": "HS512"}, digest="sha512"))
    refusal(signed(claims(), digest="sha512"))


@pytest.mark.parametrize("kid", ["another", "../../dev/null", "' OR 1=1", ""])
def test_a_key_id_chooses_no_other_key(kid: str) -> None:
    assert "omar" == verified(signed(claims(), {**HS256, "kid": kid})).user
    refusal(signed(claims(), {**HS256, "kid": kid}, secret=kid.ljust(32, "\0")))
    jwk = {"kty": "oct", "k": base64.urlsafe_b64encode(b"x" * 32).decode().rstrip("=")}
    refusal(signed(claims(), {**HS256, "jwk": jwk}, secret="x" * 32))


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_changed_token_is_nobodys(part: int) -> None:
    parts = signed(claims()).split(".")
    middle = len(parts[part]) // 2
    parts[part] = parts[part][:middle] + ("A" if parts[part][middle] != "A" else "B") + parts[part][middle + 1 :]
    refusal(".".join(parts))


def test_an_expired_token_gets_no_leeway() -> None:
    now = int(time.time())
    assert "expired" in refusal(signed(claims(exp=now)))
    refusal(signed(claims(exp=now - 1)))
    refusal(signed(claims(exp=now - LEEWAY - 5)))


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_clocks_may_differ_a_little_before_a_token_is_one(claim: str) -> None:
    now = int(time.time())
    assert "omar" == verified(signed(claims(**{claim: now + LEEWAY - 5}))).user
    refusal(signed(claims(**{claim: now + LEEWAY + 5})))


def test_a_token_without_an_end_is_none() -> None:
    told = claims()
    del told["exp"]
    assert "MissingRequiredClaim" in refusal(signed(told))


ODD: list[Any] = [None, True, [], {}, "", "soon", -1, -(10**400), 10**400, 1e308]


@pytest.mark.parametrize("value", [*ODD, "1e999", "NaN"], ids=lambda value: repr(value)[:12])
@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
def test_an_odd_time_is_refused_or_read_but_nothing_breaks(claim: str, value: Any) -> None:
    text = json.dumps(claims(**{claim: "HERE"})).replace(
        '"HERE"', value if value in ("1e999", "NaN") else json.dumps(value)
    )
    try:
        verified(signed(text.encode()))
    except Unauthorized as error:
        assert "valid" in error.message or "expired" in error.message


@pytest.mark.parametrize(
    "sub", [None, 7, True, [], ["omar"], {"a": 1}, "", "a//b", "\0", "../x", "x" * 129, "é" * 22, "\ud800"], ids=ascii
)
def test_who_can_not_exist_is_not_let_in(sub: Any) -> None:
    refusal(signed(claims(sub=sub)))
    told = claims(username=sub)
    del told["sub"]
    refusal(signed(told))


@pytest.mark.parametrize("name", [BACKEND_SENDER, MAKER, NatsIn("n", "s").sender, RabbitIn("r", "q", "t").sender])
def test_nobody_has_the_name_that_messages_of_a_backend_are_from(name: str) -> None:
    """A user of that name would share their idempotency keys, and look to readers like them."""
    with pytest.raises(BadRequest, match="no user's name"):
        TOKENS.issue(name)
    with pytest.raises(Unauthorized):
        verified(signed(claims(sub=name)))


@pytest.mark.parametrize("name", [NEWS + "018f5c7e-3b7a-7c20-9d0e-2f1a4b6c8d90", "Updates.Store.x"])
def test_nobody_has_a_name_that_only_news_may_have(name: str) -> None:
    """A user of that name would keep the shop's topic from being made."""
    for refuse in (person_name, TOKENS.issue):
        with pytest.raises(BadRequest, match="none begins with"):
            refuse(name)


def test_who_is_not_named_at_all_is_not_let_in() -> None:
    told = claims()
    del told["sub"]
    assert "names no user" in refusal(signed(told))


@pytest.mark.parametrize("payload", [None, 1, "a", [], [1]])
def test_a_payload_that_is_no_object_counts_as_none(payload: Any) -> None:
    assert {} == verified(signed(claims(payload=payload))).payload


def test_an_id_is_any_text_up_to_a_kibibyte() -> None:
    for jti in ("", "a b", "a\0b", "…" * 341, "x" * MAX_ID):
        assert jti == verified(signed(claims(jti=jti))).jti
    assert "" == verified(signed(claims())).jti
    for odd in ("x" * (MAX_ID + 1), "…" * 342, "\ud800", 7, None):  # by these it could not be revoked
        refusal(signed(claims(jti=odd)))


def test_an_end_is_rounded_up() -> None:
    for fraction in (0.0, 0.25, 0.999):
        token, expires_at = TOKENS.issue("omar", 60, now=math.floor(time.time()) + fraction)
        assert expires_at >= math.floor(time.time()) + fraction + 59
        assert expires_at == verified(token).expires_at == math.ceil(verified(token).issued_at + 60)


def test_a_token_that_lives_for_more_than_a_year_is_none() -> None:
    """A revocation is kept for a year: after it, the token would be good again."""
    now = int(time.time())
    assert "omar" == verified(signed(claims(iat=now, exp=now + MAX_LIFETIME))).user
    assert "omar" == verified(signed(claims(iat=now - MAX_LIFETIME + 60, exp=now + 60))).user
    assert "year" in refusal(signed(claims(iat=now, exp=now + MAX_LIFETIME + LEEWAY + 5)))
    assert "year" in refusal(signed(claims(iat=now - MAX_LIFETIME, exp=now + 60)))
    assert "year" in refusal(signed(claims(exp=now + MAX_LIFETIME + LEEWAY + 5)))  # for all that it says


def test_what_stands_in_for_a_token_is_revoked_with_it() -> None:
    for told in (claims(iat=1.5 + int(time.time()), jti="one", payload={"shop": 7}), claims()):
        said = verified(signed(told))
        assert said == verified(TOKENS.stand_in(said))


def test_a_token_for_somebody_else_is_refused() -> None:
    refusal(signed(claims(aud="another service")))


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"null", b"1", b'"a"', b"{", b"\xff", b"[" * 2000], ids=lambda raw: repr(raw[:9])
)
def test_claims_are_one_object(raw: bytes) -> None:
    refusal(signed(raw))


def test_a_huge_token_is_not_even_looked_at() -> None:
    assert "too long" in refusal("x" * (MAX_TOKEN + 1))
    assert "too long" in refusal(signed(claims(a="x" * MAX_TOKEN)))


@given(st.text() | st.from_regex(r"[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*", fullmatch=True))
def test_whatever_comes_is_unauthorized(text: str) -> None:
    with pytest.raises(Unauthorized):
        verified(text)


def test_the_known_secret_makes_the_known_signature() -> None:
    """RFC 7515, appendix A.1: what others sign, we verify."""
    token = signed(claims())
    body, _, signature = token.rpartition(".")
    mine = base64.urlsafe_b64encode(hmac.new(SECRET.encode(), body.encode(), hashlib.sha256).digest()).rstrip(b"=")
    assert signature.encode() == mine
    assert "omar" == jwt.decode(TOKENS.issue("omar")[0], SECRET, ["HS256"])["sub"]
