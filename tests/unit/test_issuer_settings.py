"""JWT_ISSUERS: what it takes, and what stops the start."""

import json
from pathlib import Path
from typing import Any

import pytest

from messaging.settings.issuers import Issuer, parse_issuers
from messaging.settings.settings import Settings, SettingsError


def entry(number: int = 1, **changes: Any) -> dict[str, Any]:
    given = {"issuer": f"https://id{number}.example/", "audience": "ours", "jwks_url": f"https://id{number}.example/k"}
    if number > 1:
        given["prefix"] = f"{number}:"
    return {**given, **changes}


def parsed(*entries: dict[str, Any]) -> tuple[Issuer, ...]:
    return parse_issuers(json.dumps(entries))


def complaint(*entries: dict[str, Any]) -> str:
    """The one line that stops the start."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ({"JWT_ISSUERS": json.dumps(entries)})
    assert str(caught.value).startswith("JWT_ISSUERS: ")
    assert 1 == len(str(caught.value).splitlines())
    return str(caught.value)


def test_what_is_left_out_has_its_default() -> None:
    [issuer] = parsed(entry())
    assert ("sub", "", ("RS256",), "RS256") == (
        issuer.name_claim, issuer.prefix, issuer.algorithms, issuer.algorithm,
    )  # fmt: skip


def test_several_issuers_each_with_a_prefix_of_its_own() -> None:
    assert ["", "2:", "3:"] == [issuer.prefix for issuer in parsed(entry(), entry(2), entry(3))]


def test_they_may_stand_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "issuers.json"
    path.write_text(json.dumps([entry()]))
    assert parsed(entry()) == Settings.from_environ({"JWT_ISSUERS": str(path)}).jwt_issuers
    path.write_text("{")
    with pytest.raises(SettingsError, match=r"JWT_ISSUERS: .*this one: "):
        Settings.from_environ({"JWT_ISSUERS": str(path)})


@pytest.mark.parametrize("name", ["issuer", "audience", "jwks_url"])
def test_what_is_needed_is_named(name: str) -> None:
    without = entry()
    del without[name]
    assert name in complaint(without)
    assert name in complaint(entry() | {name: ""})
    assert name in complaint(entry(**{name: 7}))


def test_what_is_unknown_is_named() -> None:
    assert "name_clam" in complaint(entry(name_clam="email"))


@pytest.mark.parametrize(
    "algorithms",
    [["HS256"], ["none"], ["RS256", "ES256"], [], "RS256", ["RS256", "HS256"], ["PS256"], [None]],
    ids=repr,
)
def test_one_family_of_public_keys_and_never_a_shared_secret(algorithms: Any) -> None:
    assert "algorithms" in complaint(entry(algorithms=algorithms))


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_the_three_families(algorithm: str) -> None:
    assert algorithm == parsed(entry(algorithms=[algorithm]))[0].algorithm


@pytest.mark.parametrize(
    "url",
    [
        "http://id.example/keys", "http://10.0.0.1/keys", "ftp://127.0.0.1/keys", "file:///keys", "id.example/keys",
        "https://", "https:///keys", "https://me:secret@id.example/keys", "http://127.0.0.1.id.example/", "https://a:x/",
        "http://[::2]/keys", "https://[",
    ],
)  # fmt: skip
def test_keys_are_read_where_nobody_can_change_them(url: str) -> None:
    assert "jwks_url" in complaint(entry(jwks_url=url))


@pytest.mark.parametrize(
    "url", ["https://id.example/keys", "http://127.0.0.1:8080/keys", "http://[::1]/keys", "http://localhost/keys"]
)
def test_places_to_read_keys_from(url: str) -> None:
    assert url == parsed(entry(jwks_url=url))[0].jwks_url


def test_every_issuer_but_the_first_needs_a_prefix() -> None:
    assert "https://id2.example/: prefix is missing" in complaint(entry(), entry(2, prefix=""))
    assert "prefix is missing" in complaint(entry(prefix="a:"), entry(2, prefix=""))


@pytest.mark.parametrize(("one", "other"), [("a:", "a:"), ("a", "ab"), ("ab", "a")])
def test_no_prefix_begins_another(one: str, other: str) -> None:
    assert "none may begin the other" in complaint(entry(prefix=one), entry(2, prefix=other))
    assert "none may begin the other" in complaint(entry(), entry(2, prefix=one), entry(3, prefix=other))


@pytest.mark.parametrize("prefix", ["a b", "é", "../", "a//", "*", "x" * 128])
def test_a_prefix_can_begin_a_name(prefix: str) -> None:
    assert "prefix" in complaint(entry(prefix=prefix))


def test_an_issuer_stands_there_once() -> None:
    assert "twice" in complaint(entry(), entry(2, issuer=entry()["issuer"]))


def test_a_long_value_is_not_shown_whole() -> None:
    assert len(complaint(*[entry(number, issuer="") for number in range(1, 30)])) < 300
