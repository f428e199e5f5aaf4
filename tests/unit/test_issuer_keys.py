"""The keys of an issuer: which fit, and when they are read again."""

import json
from typing import Any

import pytest
from jwt.algorithms import get_default_algorithms

from messaging.auth.issuers.keys import READ_EVERY, STALE_AFTER, Keys, read_keys
from messaging.settings.issuers import Algorithm
from support.issuers import private_key, public_jwk

ALGORITHMS: list[Algorithm] = ["RS256", "ES256", "EdDSA"]


def key_set(*keys: Any) -> bytes:
    return json.dumps({"keys": keys}).encode()


def without(jwk: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in jwk.items() if name not in names}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_keys_by_their_ids(algorithm: Algorithm) -> None:
    keys = read_keys(key_set(public_jwk(algorithm, "one"), public_jwk(algorithm, "two")), algorithm)
    assert {"one", "two"} == set(keys)
    assert {algorithm} == {key.algorithm_name for key in keys.values()}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_need_not_say_what_it_is_for(algorithm: Algorithm) -> None:
    bare = without(public_jwk(algorithm, "one"), "alg", "use", "key_ops")
    assert ["one"] == list(read_keys(key_set(bare), algorithm))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("other", ALGORITHMS)
def test_a_key_of_one_kind_is_none_of_another(algorithm: Algorithm, other: Algorithm) -> None:
    if algorithm != other:
        for jwk in (public_jwk(other, "one"), {**public_jwk(other, "one"), "alg": algorithm}):
            with pytest.raises(ValueError, match="none of its 1 keys"):
                read_keys(key_set(jwk), algorithm)


@pytest.mark.parametrize(
    "changes",
    [
        {"use": "enc"}, {"alg": "RS512"}, {"alg": "HS256"}, {"alg": None}, {"kid": None}, {"kid": 7}, {"kty": "oct"},
        {"kty": "oct", "k": "c2VjcmV0" * 8}, {"key_ops": ["sign"]}, {"key_ops": "verify"}, {"n": "!"}, {"n": 5},
        {"n": ""}, {"e": None}, {"e": "AA"},
    ],
    ids=repr,
)  # fmt: skip
def test_what_does_not_fit_is_passed_over(changes: dict[str, Any]) -> None:
    odd = {**public_jwk("RS256", "odd"), **changes}
    assert ["one"] == list(read_keys(key_set(odd, public_jwk("RS256", "one")), "RS256"))


def test_a_private_key_is_no_public_one() -> None:
    private: Any = get_default_algorithms()["EdDSA"].to_jwk(private_key("EdDSA", "one"), as_dict=True)
    assert "d" in private
    with pytest.raises(ValueError, match="none of its 1 keys"):
        read_keys(key_set({**private, "kid": "one"}), "EdDSA")


def test_the_curve_is_the_algorithms() -> None:
    with pytest.raises(ValueError, match="none of its 1 keys"):
        read_keys(key_set(public_jwk("ES256", "one", crv="P-384", alg="ES256")), "ES256")


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b"null", b'{"keys": {}}', b'{"keys": [7]}', b'{"keys": []}', b"<html>", b"\xff",
     b'{"keys":' + b"[" * 60_000],
    ids=lambda body: repr(body[:12]),
)  # fmt: skip
def test_what_is_no_key_set(body: bytes) -> None:
    with pytest.raises(ValueError, match="key"):
        read_keys(body, "RS256")


# --- when they are read -------------------------------------------------------------------------------


def known(*kids: str, at: float = 0.0) -> Keys:
    keys = Keys()
    keys.trying(at)
    keys.read(read_keys(key_set(*(public_jwk("EdDSA", kid) for kid in kids)), "EdDSA"))
    return keys


def test_they_are_read_when_first_needed() -> None:
    assert Keys().wanted("one", 0.0)
    assert not Keys().readable


def test_a_known_key_asks_nobody() -> None:
    keys = known("one")
    assert not keys.wanted("one", READ_EVERY)
    assert not keys.wanted("one", STALE_AFTER - 1)


def test_an_unknown_key_asks_at_most_every_30_seconds() -> None:
    keys = known("one")
    assert 30 == READ_EVERY
    assert not keys.wanted("two", READ_EVERY - 0.001)
    assert keys.wanted("two", READ_EVERY)
    keys.trying(READ_EVERY)
    assert not keys.wanted("three", 2 * READ_EVERY - 0.001)
    assert keys.wanted("three", 2 * READ_EVERY)


def test_what_is_known_is_looked_at_again_within_the_hour() -> None:
    keys = known("one")
    assert keys.wanted("one", STALE_AFTER)
    keys.trying(STALE_AFTER)
    assert not keys.wanted("one", STALE_AFTER + READ_EVERY - 0.001)  # it failed: not at every token
    assert keys.wanted("one", STALE_AFTER + READ_EVERY)


def test_keys_are_kept_while_they_can_not_be_read() -> None:
    keys = known("one")
    keys.trying(STALE_AFTER)
    assert keys.find("one") is not None
    assert not keys.readable


def test_an_issuers_keys_are_those_that_it_names_now() -> None:
    keys = known("one", "two")
    keys.trying(40.0)
    keys.read(read_keys(key_set(public_jwk("EdDSA", "two"), public_jwk("EdDSA", "three")), "EdDSA"))
    assert (None, True, True) == (keys.find("one"), keys.find("two") is not None, keys.find("three") is not None)
    assert keys.readable
