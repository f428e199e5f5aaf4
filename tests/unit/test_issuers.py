"""Tokens of other issuers, which say their keys over HTTP: who is let in, and who is not."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest

from messaging.settings.issuers import Algorithm
from support.issuers import (
    AUTH0,
    FIREBASE,
    KEYCLOAK,
    SECRET,
    issuing,
    private_key,
    public_pem,
    refusal,
    trusting,
)

# --- who is let in --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("iss", "audience", "algorithm"),
    [(FIREBASE, "our-project", "RS256"), (AUTH0, "https://chat.example", "RS256"), (KEYCLOAK, "recado", "ES256"),
     ("https://id.example", "recado", "EdDSA")],
)  # fmt: skip
async def test_a_user_of_another_issuer(iss: str, audience: str, algorithm: Algorithm) -> None:
    async with issuing(iss, audience, algorithm) as issuer, trusting(issuer.setting()) as tokens:
        token = issuer.token(sub="auth0|64f1", jti="j-1", email="ana@example.org")
        said = await tokens.verify(token)

        assert ("auth0|64f1", "j-1") == (said.user, said.jti)
        assert said.issued_at == pytest.approx(time.time(), abs=5)
        assert said.expires_at == pytest.approx(time.time() + 3600, abs=5)
        assert iss == (await tokens.decode(token))["iss"]
        assert 1 == issuer.reads


async def test_one_audience_of_several_is_enough() -> None:
    async with issuing(AUTH0, "https://chat.example") as issuer, trusting(issuer.setting()) as tokens:
        assert (await tokens.verify(issuer.token(aud=[f"{AUTH0}userinfo", "https://chat.example"]))).user == "ana"


async def test_the_name_may_stand_in_another_claim() -> None:
    async with issuing(KEYCLOAK) as issuer, trusting(issuer.setting(name_claim="preferred_username")) as tokens:
        assert (await tokens.verify(issuer.token(preferred_username="eva"))).user == "eva"
        assert "MissingRequiredClaim" in await refusal(tokens, issuer.token())


async def test_our_own_tokens_go_on() -> None:
    async with issuing() as issuer, trusting(issuer.setting()) as tokens:
        assert (await tokens.verify(tokens.issue("omar")[0])).user == "omar"
        assert 0 == issuer.reads


@pytest.mark.parametrize("sub", ["a b", "", "é", "../x", "x" * 129, 7, None, ["ana"], "api"], ids=ascii)
async def test_who_can_not_exist_here_is_not_let_in(sub: Any) -> None:
    async with issuing() as issuer, trusting(issuer.setting()) as tokens:
        claims = issuer.claims(sub=sub)
        token = jwt.PyJWS().encode(
            json.dumps(claims).encode(), private_key("RS256", "one"), "RS256", headers={"kid": "one"}
        )
        await refusal(tokens, token)


async def test_a_prefix_makes_a_name_of_its_own() -> None:
    async with issuing() as issuer, trusting(issuer.setting(prefix="fb:")) as tokens:
        assert (await tokens.verify(issuer.token())).user == "fb:ana"
        assert "names no user" in await refusal(tokens, issuer.token(sub="x" * 126))


async def test_two_issuers_with_the_same_name_are_two_users() -> None:
    async with (
        issuing(FIREBASE) as one,
        issuing(AUTH0) as two,
        trusting(one.setting(), two.setting(prefix="auth0:")) as tokens,
    ):
        assert ["ana", "auth0:ana"] == [(await tokens.verify(each.token())).user for each in (one, two)]
        # Nor may the one without a prefix name who only the other can.
        assert "another issuer" in await refusal(tokens, one.token(sub="auth0:ana"))
        assert "auth0:auth0:ana" == (await tokens.verify(two.token(sub="auth0:ana"))).user


async def test_one_without_end_is_refused() -> None:
    async with issuing() as issuer, trusting(issuer.setting()) as tokens:
        assert "more than a year" in await refusal(tokens, issuer.token(exp=10**15))


# --- who is not -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("claim", ["exp", "iat", "aud", "sub"])
async def test_what_must_be_said(claim: str) -> None:
    changed: dict[str, Any] = {claim: None}
    async with issuing() as issuer, trusting(issuer.setting()) as tokens:
        assert "MissingRequiredClaim" in await refusal(tokens, issuer.token(**changed))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"aud": "another-project"}, "InvalidAudience"),
        ({"aud": ["a", "b"]}, "InvalidAudience"),
        ({"aud": "our-project-2"}, "InvalidAudience"),
    ],
    ids=repr,
)
async def test_the_audience_must_be_ours(changes: dict[str, Any], why: str) -> None:
    async with issuing() as issuer, trusting(issuer.setting()) as tokens:
        assert why in await refusal(tokens, issuer.token(**changes))


@pytest.mark.parametrize(
    ("claim", "seconds", "why"),
    [("exp", -1, "expired"), ("exp", -3600, "expired"), ("iat", 3600, "Immature"), ("nbf", 3600, "Immature")],
)
async def test_its_time_must_have_come_and_not_be_over(claim: str, seconds: int, why: str) -> None:
    changed: dict[str, Any] = {claim: int(time.time()) + seconds}
    async with issuing() as issuer, trusting(issuer.setting()) as tokens:
        assert why in await refusal(tokens, issuer.token(**changed))


@pytest.mark.parametrize("iss", [f"{FIREBASE}/", FIREBASE[:-1], FIREBASE.upper(), None, "", "https://evil.example"])
async def test_an_issuer_is_known_to_the_letter(iss: str | None) -> None:
    async with issuing() as issuer, trusting(issuer.setting()) as tokens:
        await refusal(tokens, issuer.token(iss=iss))
        assert 0 == issuer.reads


async def test_a_key_is_its_issuers_alone() -> None:
    """As in CVE-2026-49998: keys are found by issuer and id, and both may call theirs by one id."""
    async with issuing(FIREBASE, algorithm="EdDSA") as one, issuing(AUTH0, algorithm="EdDSA") as two:
        two.kids = ["two"]
        async with trusting(one.setting(), two.setting(prefix="b:")) as tokens:
            await tokens.verify(one.token())
            await tokens.verify(two.token("two"))
            await refusal(tokens, two.token("two", iss=FIREBASE))
            await refusal(tokens, one.token("one", iss=AUTH0))
            forged = jwt.encode(one.claims(), private_key("EdDSA", "two"), "EdDSA", headers={"kid": "one"})
            assert "InvalidSignature" in await refusal(tokens, forged)


def signed_with(secret: bytes, header: dict[str, Any], claims: dict[str, Any]) -> str:
    def encoded(raw: bytes) -> bytes:
        return base64.urlsafe_b64encode(raw).rstrip(b"=")

    body = encoded(json.dumps(header).encode()) + b"." + encoded(json.dumps(claims).encode())
    return (body + b"." + encoded(hmac.new(secret, body, hashlib.sha256).digest())).decode()


@pytest.mark.parametrize("algorithm", ["HS256", "RS256", "none", "hs256"])
async def test_a_public_key_is_no_shared_secret(algorithm: str) -> None:
    async with issuing() as issuer, trusting(issuer.setting()) as tokens:
        await tokens.verify(issuer.token())
        pem = public_pem("RS256", "one")
        header = {"alg": algorithm, "typ": "JWT", "kid": "one"}
        for secret in (pem, pem.strip(), issuer.key_set(), SECRET.encode(), b""):
            await refusal(tokens, signed_with(secret, header, issuer.claims()))
            # Nor for a token that claims to be ours.
            if secret != SECRET.encode():
                await refusal(tokens, signed_with(secret, header, issuer.claims(iss="recado", aud=None)))


async def test_an_unsigned_token_is_nobodys() -> None:
    async with issuing() as issuer, trusting(issuer.setting()) as tokens:
        for algorithm in ("none", "RS256"):
            token = signed_with(b"", {"alg": algorithm, "typ": "JWT", "kid": "one"}, issuer.claims())
            await refusal(tokens, token.rpartition(".")[0] + ".")


@pytest.mark.parametrize("mine", ["RS256", "ES256", "EdDSA"])
@pytest.mark.parametrize("other", ["RS256", "ES256", "EdDSA"])
async def test_the_algorithm_is_the_issuers(mine: Algorithm, other: Algorithm) -> None:
    if mine == other:
        return
    async with issuing(algorithm=mine) as issuer, trusting(issuer.setting()) as tokens:
        token = jwt.encode(issuer.claims(), private_key(other, "one"), other, headers={"kid": "one"})
        assert mine in await refusal(tokens, token)
        assert 0 == issuer.reads  # and nobody is asked for a key


@pytest.mark.parametrize(
    "header",
    [
        {"kid": None}, {"kid": 7}, {"typ": "logout+jwt"}, {"crit": ["exp"], "exp": 1}, {"crit": []}, {"crit": "b64"},
        {"b64": False, "crit": ["b64"]}, {"b64": False}, {"typ": 1},
    ],
    ids=repr,
)  # fmt: skip
async def test_no_odd_header(header: dict[str, Any]) -> None:
    async with issuing() as issuer, trusting(issuer.setting()) as tokens:
        await tokens.verify(issuer.token())
        good = {"alg": "RS256", "typ": "JWT", "kid": "one", **header}
        raw = json.dumps(good).encode()
        body = b".".join(
            base64.urlsafe_b64encode(part).rstrip(b"=") for part in (raw, json.dumps(issuer.claims()).encode())
        )
        algorithm: Any = jwt.get_algorithm_by_name("RS256")
        signature = base64.urlsafe_b64encode(algorithm.sign(body, private_key("RS256", "one"))).rstrip(b"=")
        await refusal(tokens, (body + b"." + signature).decode())


@pytest.mark.parametrize("typ", ["at+jwt", "application/at+jwt", "jwt"])
async def test_an_access_token_may_say_that_it_is_one(typ: str) -> None:
    async with issuing() as issuer, trusting(issuer.setting()) as tokens:
        assert (await tokens.verify(issuer.token(header={"typ": typ}))).user == "ana"


async def test_where_a_token_says_that_its_key_is_nobody_looks() -> None:
    async with issuing() as issuer, issuing(AUTH0) as thief, trusting(issuer.setting()) as tokens:
        thief.kids = ["thief"]
        header = {"jku": thief.url, "x5u": thief.url, "jwk": {"kty": "oct", "k": "eA"}}
        await refusal(tokens, thief.token("thief", header, iss=FIREBASE, aud="our-project"))
        assert 0 == thief.reads


async def test_a_changed_token_is_nobodys() -> None:
    async with issuing() as issuer, trusting(issuer.setting()) as tokens:
        parts = issuer.token().split(".")
        other = issuer.token(sub="eva").split(".")
        assert "InvalidSignature" in await refusal(tokens, ".".join([parts[0], other[1], parts[2]]))
