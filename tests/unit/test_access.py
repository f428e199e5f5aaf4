"""Who may ask, from how its request came: decided without a socket."""

import ipaddress
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from messaging.auth.access import (
    Arrival,
    Rules,
    WrongCredentials,
    bearer,
    host_of,
    is_key,
    is_legacy,
    why_outside,
)
from messaging.errors import Misdirected, NoCredential, RateLimited, Unauthorized
from messaging.settings.addresses import MAX_HOPS, client_address, in_networks
from messaging.settings.settings import Settings

HERE = "127.0.0.1"
KEY, METER = "a key of the tests", "a token for counters"
LEGACY = (ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00::/8"))
PROXIES = (ipaddress.ip_network("10.0.0.0/24"), ipaddress.ip_network("::1"))
OPEN = Rules.of(Settings(auth_mode="open", api_key=KEY, metrics_token=METER, legacy_nets=LEGACY))
LOCKED = Rules.of(Settings(auth_mode="key", api_key=KEY, metrics_token=METER, legacy_nets=LEGACY))
OF_PROXIES = [
    "forwarded", "via", "x-real-ip", "cf-connecting-ip", "true-client-ip", "x-forwarded-for", "x-forwarded-",
    "x-forwarded-x",
]  # fmt: skip


def arrival(peer: str = HERE, *names: str, host: str = "localhost:5001", bearer: str = "", **more: Any) -> Arrival:
    return Arrival(peer, frozenset(names), host, (f"Bearer {bearer}",) if bearer else (), **more)


# --- open mode, and the older systems' networks -----------------------------------------------------------


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:5001", "[::1]", "[::1]:5001"])
def test_open_mode_lets_in_who_is_inside(peer: str, host: str) -> None:
    assert why_outside(OPEN, arrival(peer, host=host)) is None


@pytest.mark.parametrize("peer", ["192.168.1.7", "8.8.8.8", "::2", "fe80::1%eth0", "::ffff:8.8.8.8", "", "x"])
def test_open_mode_refuses_other_peers(peer: str) -> None:
    assert "OPEN_NETS" in str(why_outside(OPEN, arrival(peer)))


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "", "127.0.0.1.nip.io", "[::2]", "[", "x:", "[::1]evil", "[::1]evil:80",
     "[::1]80", "localhost:evil", "localhost:80.evil"],
)  # fmt: skip
def test_open_mode_refuses_other_hosts(host: str) -> None:
    assert isinstance(why_outside(OPEN, arrival(host=host)), Misdirected)


@pytest.mark.parametrize("peer", ["10.1.2.3", "::ffff:10.1.2.3", "fd00::7"])
def test_a_program_of_an_older_system_is_known_by_its_peer_alone(peer: str) -> None:
    assert is_legacy(LOCKED, arrival(peer, "host", "user-agent", host="prontogram_backend:8080"))
    assert not is_legacy(OPEN, arrival(peer)), "open mode has OPEN_NETS"
    assert not is_legacy(LOCKED, arrival("10.2.0.1")) and not is_legacy(LOCKED, arrival(HERE))


@pytest.mark.parametrize("name", [*OF_PROXIES, "HTTP/1.0", "TRUSTED_PROXIES"])
def test_nothing_is_opened_to_what_came_through_a_proxy(name: str) -> None:
    behind = Rules.of(Settings(auth_mode="key", legacy_nets=LEGACY, trusted_proxies=LEGACY))
    rules = behind if name == "TRUSTED_PROXIES" else LOCKED
    given: dict[str, Any] = {"is_old": True} if name == "HTTP/1.0" else {}
    names = (name,) if name in OF_PROXIES else ()
    assert not is_legacy(rules, arrival("10.1.2.3", *names, **given))
    if name != "TRUSTED_PROXIES":
        assert "proxy" in str(why_outside(OPEN, arrival(HERE, *names, **given)))


# --- keys -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines", [("Basic eA==",), ("Bearer",), ("Bearer ",), ("",), ("k3y",), ("Bearer a", "Bearer b")]
)
def test_another_kind_of_credential_is_refused(lines: tuple[str, ...]) -> None:
    with pytest.raises(Unauthorized):
        bearer(lines)


def test_a_credential_is_read_however_it_is_spaced() -> None:
    assert bearer((" bearer  a.b ",)) == "a.b" and bearer(()) == ""


@pytest.mark.parametrize(
    ("given", "is_it"), [(KEY, True), (KEY[:-1], False), (KEY + "x", False), ("k\udcff", False), ("", False)]
)
def test_the_key_and_nothing_like_it(given: str, is_it: bool) -> None:
    assert is_key(LOCKED, given) is is_it
    assert not is_key(Rules.of(Settings(auth_mode="open")), given), "without a key nothing is the key"


# --- wrong ones -------------------------------------------------------------------------------------------


def told(wrong: WrongCredentials, addresses: Sequence[str], now: float) -> list[int]:
    return [wrong.answer_to(Unauthorized(), address, now).status for address in addresses]


def test_wrong_credentials_beyond_ten_a_second_are_told_to_wait_by_address() -> None:
    wrong = WrongCredentials(lambda _: None)
    assert told(wrong, ["192.0.2.1"] * 12, 7.0) == [401] * 10 + [429] * 2
    assert told(wrong, ["192.0.2.2", "192.0.2.1"], 7.9) == [401, 429]
    assert told(wrong, ["192.0.2.1"], 8.0) == [401]


def test_of_ipv6_a_customer_is_one_address_and_ipv4_is_ipv4_however_it_is_written() -> None:
    wrong = WrongCredentials(lambda _: None, most=1)
    assert told(wrong, ["2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1"], 1) == [401, 429, 401]
    assert told(wrong, ["192.0.2.1", "::ffff:192.0.2.1"], 1) == [401, 429]


def test_who_shows_nothing_is_not_counted() -> None:
    wrong = WrongCredentials(lambda _: None, most=1)
    assert [wrong.answer_to(NoCredential(), HERE, 1).status for _ in range(9)] == [401] * 9
    assert told(wrong, [HERE], 1) == [401]


def test_no_number_of_addresses_takes_more_memory() -> None:
    wrong = WrongCredentials(lambda _: None, most=2, addresses=100)
    answers = told(wrong, [f"10.0.{n // 250}.{n % 250}" for n in range(1000)], 1)
    assert answers == [401] * 102 + [429] * 898, "those who come last share one count"
    assert len(wrong._counts) == 101
    assert isinstance(wrong.answer_to(Unauthorized(), "8.8.8.8", 1), RateLimited)


# --- addresses --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "host"), [("a:1", "a"), ("A", "a"), ("[::1]:5", "[::1]"), ("::1", "[::1]"), ("", ""), (" a ", "a")]
)
def test_host_of(text: str, host: str) -> None:
    assert host_of(text) == host


def test_networks() -> None:
    assert in_networks("10.1.2.3", LEGACY) and in_networks("fd00::1", LEGACY) and in_networks("::ffff:10.1.0.1", LEGACY)
    assert not in_networks("11.0.0.1", LEGACY) and not in_networks("::ffff:11.0.0.1", LEGACY)


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", ["203.0.113.9"], "192.0.2.1"), ("10.0.0.7", [], "10.0.0.7"),
        ("10.0.0.7", ["203.0.113.9, 192.0.2.1"], "192.0.2.1"), ("::ffff:10.0.0.7", ["192.0.2.1"], "192.0.2.1"),
        ("10.0.0.7", ["203.0.113.9", "192.0.2.1, 10.0.0.8"], "192.0.2.1"), ("10.0.0.7", ["", " , "], "10.0.0.7"),
        ("10.0.0.7", ["nonsense"], "nonsense"), ("nonsense", ["192.0.2.1"], "nonsense"),
        ("::1", ["10.0.0.1, 10.0.0.2"], "10.0.0.1"),
    ],
)  # fmt: skip
def test_who_asks_is_the_peer_or_whom_trusted_proxies_name(peer: str, forwarded: list[str], address: str) -> None:
    assert client_address(peer, forwarded, PROXIES) == address


def test_only_what_a_trusted_proxy_says_of_others_is_read_and_only_so_much() -> None:
    def unread() -> Iterator[str]:
        raise AssertionError("X-Forwarded-For of a peer that is no proxy")
        yield

    proxies = (ipaddress.ip_network("10.0.0.0/8"),)
    assert "192.0.2.1" == client_address("192.0.2.1", unread(), proxies)
    assert "192.0.2.9" == client_address("10.0.0.1", ["198.51.100.7, 192.0.2.9, 10.0.0.2", "10.0.0.3"], proxies)
    assert "10.0.0.1" == client_address("10.0.0.1", ["192.0.2.9" + "," * 10_000], proxies)
    assert "10.0.0.5" == client_address("10.0.0.1", ["192.0.2.9, " + "10.0.0.5, " * MAX_HOPS], proxies)
