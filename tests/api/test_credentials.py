"""Who is let in, decided without a socket."""

import ipaddress

import pytest
from multidict import CIMultiDict

from api.auth import ANY_BACKEND, NOBODY, Credential, Rules, bearer, decide, host_of, in_networks
from api.problems import Misdirected
from api.route import Access
from messaging.errors import Forbidden, Unauthorized
from messaging.settings import Settings, origin_of

OPEN = Rules.of(Settings(auth_mode="open", allowed_origins=("https://app.example",)))
OPEN_WITH_KEY = Rules.of(Settings(auth_mode="open", api_key="k3y"))
LOCKED = Rules.of(Settings(auth_mode="key", api_key="k3y"))
HOST = {"Host": "localhost:5001"}
HERE = "127.0.0.1"
ALL: tuple[Access, ...] = ("visitor", "caller", "backend", "inside")


def headers(*more: tuple[str, str], **fields: str) -> CIMultiDict[str]:
    return CIMultiDict({**HOST, **fields, **dict(more)})


@pytest.mark.parametrize("access", ALL)
@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:5001", "[::1]", "[::1]:5001"])
def test_open_mode_lets_in_who_is_inside(access: Access, peer: str, host: str) -> None:
    expected = NOBODY if access == "visitor" else ANY_BACKEND
    assert decide(OPEN, access, headers(Host=host), peer) == expected


@pytest.mark.parametrize("access", ALL)
@pytest.mark.parametrize("peer", ["192.168.1.7", "8.8.8.8", "::2", "fe80::1%eth0", "::ffff:8.8.8.8", "", None, "x"])
def test_open_mode_refuses_other_peers(access: Access, peer: str | None) -> None:
    with pytest.raises(Forbidden, match="OPEN_NETS"):
        decide(OPEN, access, headers(), peer)


@pytest.mark.parametrize("access", ALL)
@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "127.0.0.1.nip.io", "[::2]", "[", "x:"])
def test_open_mode_refuses_other_hosts(access: Access, host: str) -> None:
    with pytest.raises(Misdirected):
        decide(OPEN, access, headers(Host=host), HERE)


@pytest.mark.parametrize("access", ALL)
@pytest.mark.parametrize(
    "name", ["Forwarded", "X-Forwarded-For", "x-forwarded-host", "X-FORWARDED-PROTO", "X-Forwarded-"]
)
def test_open_mode_refuses_what_came_through_a_proxy(access: Access, name: str) -> None:
    with pytest.raises(Forbidden, match="proxy"):
        decide(OPEN, access, headers((name, "for=10.0.0.1")), HERE)


def test_open_mode_takes_a_token_for_what_it_says() -> None:
    assert decide(OPEN, "caller", headers(Authorization="Bearer a.b.c"), HERE) == Credential(token="a.b.c")


def test_open_mode_knows_the_key_where_there_is_one() -> None:
    assert decide(OPEN_WITH_KEY, "caller", headers(Authorization="Bearer k3y"), HERE) == ANY_BACKEND


@pytest.mark.parametrize("rules", [OPEN, LOCKED])
@pytest.mark.parametrize("value", ["Basic eA==", "Bearer", "Bearer ", "", "k3y"])
def test_another_kind_of_credential_is_refused(rules: Rules, value: str) -> None:
    with pytest.raises(Unauthorized):
        decide(rules, "caller", headers(Authorization=value), HERE)


def test_two_credentials_are_none() -> None:
    two = CIMultiDict([("Authorization", "Bearer k3y"), ("Authorization", "Bearer other")])
    with pytest.raises(Unauthorized):
        bearer(two)


@pytest.mark.parametrize("access", ["caller", "backend", "inside"])
@pytest.mark.parametrize("peer", [HERE, "8.8.8.8", None])
def test_key_mode_lets_in_the_key_from_anywhere(access: Access, peer: str | None) -> None:
    found = headers(("X-Forwarded-For", "10.0.0.1"), Host="any.example", Authorization="bearer  k3y")
    assert decide(LOCKED, access, found, peer) == ANY_BACKEND


@pytest.mark.parametrize("access", ["caller", "backend"])
def test_key_mode_wants_a_credential(access: Access) -> None:
    with pytest.raises(Unauthorized):
        decide(LOCKED, access, headers(), HERE)


@pytest.mark.parametrize("key", ["k3", "k3yy", "K3Y", "k3\udcff"])
def test_what_is_not_the_key_is_taken_for_a_token(key: str) -> None:
    assert decide(LOCKED, "caller", headers(Authorization=f"Bearer {key}"), HERE) == Credential(token=key)


def test_without_a_key_nothing_is_the_key() -> None:
    rules = Rules.of(Settings(auth_mode="key", api_key=""))
    with pytest.raises(Unauthorized):
        decide(rules, "caller", headers(Authorization="Bearer "), HERE)


def test_key_mode_shows_pages_to_anyone_and_counters_inside() -> None:
    assert decide(LOCKED, "visitor", headers(Host="any.example"), "8.8.8.8") == NOBODY
    assert decide(LOCKED, "inside", headers(), HERE) == ANY_BACKEND
    for outside, peer in [
        (headers(), "8.8.8.8"),
        (headers(("Forwarded", "x")), HERE),
        (headers(Host="x.example"), HERE),
    ]:
        with pytest.raises(Unauthorized):
            decide(LOCKED, "inside", outside, peer)


@pytest.mark.parametrize("rules", [OPEN, LOCKED])
def test_probes_are_answered_whoever_asks(rules: Rules) -> None:
    assert decide(rules, "anyone", headers(("X-Forwarded-For", "1.2.3.4"), Host="10.0.0.7"), "10.0.0.1") == NOBODY


OWN = ["http://127.0.0.1:5001", "http://localhost:5001", "http://[::1]:5001", "HTTP://LocalHost:5001"]
FOREIGN = [
    "https://evil.example", "null", "", "http://localhost", "http://localhost:5000", "https://localhost:5001",
    "http://localhost:5001.evil.example", "https://app.example:444", "http://app.example", "file://", "http://[x",
]  # fmt: skip


@pytest.mark.parametrize("origin", [*OWN, "https://app.example", "https://app.example:443", "https://APP.example"])
def test_allowed_origins(origin: str) -> None:
    found = headers(("Sec-Fetch-Site", "cross-site"), Origin=origin)
    assert decide(OPEN, "caller", found, HERE) == ANY_BACKEND


@pytest.mark.parametrize("rules", [OPEN, LOCKED])
@pytest.mark.parametrize("access", ["anyone", *ALL])
@pytest.mark.parametrize("origin", FOREIGN)
def test_foreign_origins(rules: Rules, access: Access, origin: str) -> None:
    with pytest.raises(Forbidden, match="ALLOWED_ORIGINS"):
        decide(rules, access, headers(Origin=origin, Authorization="Bearer k3y"), HERE)


def test_one_foreign_origin_of_two_is_enough() -> None:
    found = CIMultiDict([*HOST.items(), ("Origin", OWN[0]), ("Origin", "https://evil.example")])
    with pytest.raises(Forbidden):
        decide(OPEN, "caller", found, HERE)


@pytest.mark.parametrize("rules", [OPEN, LOCKED])
@pytest.mark.parametrize("access", ["caller", "backend", "inside"])
@pytest.mark.parametrize("site", ["cross-site", "same-site", "Cross-Site"])
def test_a_page_of_another_site_is_refused(rules: Rules, access: Access, site: str) -> None:
    found = headers(("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", "navigate"), Authorization="Bearer k3y")
    with pytest.raises(Forbidden):
        decide(rules, access, found, HERE)


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_the_same_page_or_no_page_is_fine(site: str) -> None:
    assert decide(OPEN, "caller", headers(("Sec-Fetch-Site", site)), HERE) == ANY_BACKEND


def test_a_link_to_a_page_may_be_followed_but_not_drawn_upon() -> None:
    site = ("Sec-Fetch-Site", "cross-site")
    assert decide(OPEN, "visitor", headers(site, ("Sec-Fetch-Mode", "navigate")), HERE) == NOBODY
    with pytest.raises(Forbidden):
        decide(OPEN, "visitor", headers(site, ("Sec-Fetch-Mode", "no-cors")), HERE)


def test_the_public_address_is_an_origin_of_ours() -> None:
    rules = Rules.of(Settings(auth_mode="key", api_key="k3y", public_api_url="https://chat.example/recado/"))
    found = headers(Origin="https://chat.example", Authorization="Bearer k3y")
    assert decide(rules, "caller", found, HERE) == ANY_BACKEND


def test_allowed_hosts_as_people_write_them() -> None:
    rules = Rules.of(Settings(auth_mode="open", allowed_hosts=("::1", "Chat.Example:5001")))
    assert rules.hosts == {"[::1]", "chat.example"}


@pytest.mark.parametrize(
    ("text", "host"), [("a:1", "a"), ("A", "a"), ("[::1]:5", "[::1]"), ("::1", "[::1]"), ("", ""), (" a ", "a")]
)
def test_host_of(text: str, host: str) -> None:
    assert host_of(text) == host


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://a:80/x", "http://a"), ("https://a:443", "https://a"), ("https://a:80", "https://a:80"),
        ("http://[::1]:5001", "http://[::1]:5001"), ("null", ""), ("http://a:x", ""), ("//a", ""), ("http://", ""),
    ],
)  # fmt: skip
def test_origin_of(url: str, origin: str) -> None:
    assert origin_of(url) == origin


def test_networks() -> None:
    nets = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))
    assert in_networks("10.1.2.3", nets) and in_networks("fd00::1", nets) and in_networks("::ffff:10.0.0.1", nets)
    assert not in_networks("11.0.0.1", nets) and not in_networks("::ffff:11.0.0.1", nets)
