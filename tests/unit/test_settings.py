"""Every setting: its default, a value of its own, and what it refuses in one line that names it."""

from dataclasses import fields
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.model import MAX_LIFETIME
from messaging.settings.issuers import Issuer
from messaging.settings.settings import Settings, SettingsError, is_loopback, origin_of
from recado.client.connection import is_loopback as is_this_machine
from recado.terminal.access import door_url

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
SECRET = "x" * 32
KEY = "k" * 16
# name: (attribute, default, a value as text, what it means, values that are refused)
TABLE: dict[str, tuple[str, Any, str, Any, list[str]]] = {
    "DATABASE_URL": (
        "database_url",
        "",
        "postgresql://a:b@c:1,[::1]:2,d/e?f=g:h",
        "postgresql://a:b@c:1,[::1]:2,d/e?f=g:h",
        [
            "host/db",
            "mysql://a/b",
            "postgres://a@b:x/c",
            "postgres://a:1,b:65536/c",
            "postgres://a,b:²/c",
            "postgres://[",
        ],
    ),
    "DATA_DIR": ("data_dir", Path("data"), "/var/lib/recado", Path("/var/lib/recado"), []),
    "WS_HOST": ("ws_host", "127.0.0.1", "localhost", "localhost", ["localhost:5000", "[::1]:5000", "a b", "http://a"]),
    "WS_PORT": ("ws_port", 5000, "0", 0, ["-1", "65536", "x", "80.0", "8 0"]),
    "API_HOST": ("api_host", "127.0.0.1", "[::1]", "::1", ["::x", "a/b"]),
    "API_PORT": ("api_port", 5001, "65535", 65535, ["-1", "65536", "x"]),
    "PUBLIC_WS_URL": ("public_ws_url", "", "wss://a.example", "wss://a.example", ["x", "https://a", "wss://["]),
    "PUBLIC_API_URL": ("public_api_url", "", "https://a.example", "https://a.example", ["x", "wss://a", "https://a:x"]),
    "TRUSTED_PROXIES": (
        "trusted_proxies",
        (),
        "10.0.0.0/8, fd00::7",
        (ip_network("10.0.0.0/8"), ip_network("fd00::7")),
        ["10.0.0.1/8", "a", "10.0.0.0/33"],
    ),
    "JWT_SECRET": ("jwt_secret", "", SECRET, SECRET, ["short", "x" * 31, "\udcff" * 32, "x" * 32 + "\0"]),
    "JWT_ISSUERS": (
        "jwt_issuers",
        (),
        '[{"issuer": "https://a/", "audience": "b", "jwks_url": "https://a/keys"}]',
        (Issuer("https://a/", "b", "https://a/keys", "sub", "", ("RS256",)),),
        ["[", "[{}]", "[1]", "{}", "/no/such/file", '[{"issuer": "a", "audience": "b", "jwks_url": "http://a/keys"}]'],
    ),
    "AUTH_MODE": ("auth_mode", "open", "open", "open", ["closed", "OPEN"]),
    "API_KEY": ("api_key", "", KEY, KEY, ["k", "k" * 15, "é" * 7, "\udcff" * 16, "a\nb" * 16]),
    "METRICS_TOKEN": ("metrics_token", "", KEY, KEY, ["k" * 15, "\udcff" * 16]),
    "LEGACY_NETS": ("legacy_nets", (), "10.1.0.0/16, ::1", (ip_network("10.1.0.0/16"), ip_network("::1")), ["all"]),
    "OPEN_NETS": ("open_nets", LOOPBACK, "192.168.0.0/16", (ip_network("192.168.0.0/16"),), ["everywhere"]),
    "ALLOWED_HOSTS": ("allowed_hosts", ("127.0.0.1", "localhost", "[::1]"), "a.example,b", ("a.example", "b"), []),
    "ALLOWED_ORIGINS": ("allowed_origins", (), "https://a.example , ", ("https://a.example",), []),
    "BUS_URL": (
        "bus_url",
        "",
        "nats://a:4222",
        "nats://a:4222",
        ["nats:", "redis://a", "local", "nats://a:x", "nats://[", "nats://a b", "postgres://a:b/c"],
    ),
    "WORKERS": ("workers", 1, "4", 4, ["0", "-1", "x", "1.5"]),
    "MAX_FRAME": ("max_frame", 65536, "131072", 131072, ["1023", "131073", "64k"]),
    "RATE_LIMIT": ("rate_limit", 1000.0, "20/s", 20.0, ["-1", "20/m", "fast", "1.5/s"]),
    "RATE_BYTES": (
        "rate_bytes",
        2**20,
        "64KiB/s",
        2**16,
        ["-1", "fast", "1MB/s", "1.5MiB/s", "1MiB/m", "16383", "15KiB/s", "MiB", " 1 MiB"],
    ),
    "RATE_STRANGERS": ("rate_strangers", 100.0, "20/s", 20.0, ["-1", "20/m", "fast", "1.5/s"]),
    "MAX_TOPICS_PER_USER": ("max_topics_per_user", 1000, "7", 7, ["-1", "x", "1.5"]),
    "MAX_MEMBERSHIPS_PER_USER": ("max_memberships_per_user", 5000, "7", 7, ["-1", "x", "1.5"]),
    "MAX_INVITATIONS_PER_USER": ("max_invitations_per_user", 500, "7", 7, ["-1", "x", "1.5"]),
    "INVITES": ("invites", 60, "5/m", 5, ["-1", "5/s", "few", "1.5/m"]),
    "MAX_CONNECTIONS_PER_USER": ("max_connections_per_user", 64, "0", 0, ["-3", "x"]),
    "MAX_CONNECTIONS_PER_ADDRESS": ("max_connections_per_address", 5000, "9", 9, ["-1", "x"]),
    "INBOX_TTL": ("inbox_ttl", 30 * 86400, "12h", 43200, ["0", "0d", "-1d", "1w", "1 d", "d"]),
    "STOP_SECONDS": ("stop_seconds", 30, "90", 90, ["0", "-1", "30s", "1.5", "never"]),
    "RETENTION": ("retention", 30 * 86400, "90", 90, ["0s", "forever", "1.5h"]),
    "NATS_URL": ("nats_url", "", "nats://a:4222", "nats://a:4222", []),
    "RABBITMQ_URL": ("rabbitmq_url", "", "amqp://a", "amqp://a", []),
    "BRIDGES_FILE": ("bridges_file", None, "bridges.toml", Path("bridges.toml"), []),
    "PLATFORMS_FILE": ("platforms_file", None, "platforms.json", Path("platforms.json"), []),
    "INTEGRATOR_ALLOW_NETS": (
        "integrator_allow_nets",
        (),
        "10.1.0.0/16,fd00::/8",
        (ip_network("10.1.0.0/16"), ip_network("fd00::/8")),
        ["10.0.0.1/8", "home"],
    ),
    "LOG_FORMAT": ("log_format", "text", "json", "json", ["JSON", "xml"]),
    "UNSAFE_DURABILITY": ("unsafe_durability", False, "1", True, ["yes", "true", "2"]),
}


def setting_of(environ: dict[str, str], name: str) -> Any:
    return getattr(Settings.from_environ(environ), TABLE[name][0])


def complaint(environ: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ(environ)
    assert 1 == len(str(caught.value).splitlines())
    return str(caught.value)


def test_the_table_here_is_whole() -> None:
    assert {item.metadata["name"] for item in fields(Settings)} == set(TABLE)


@pytest.mark.parametrize("name", TABLE)
def test_a_setting_that_is_absent_or_empty_has_its_default(name: str) -> None:
    assert TABLE[name][1] == setting_of({}, name) == setting_of({name: ""}, name) == setting_of({name: " "}, name)


@pytest.mark.parametrize("name", TABLE)
def test_a_setting_has_the_value_that_it_is_given(name: str) -> None:
    assert (
        TABLE[name][3] == setting_of({name: TABLE[name][2]}, name) == setting_of({name: f" {TABLE[name][2]}\n"}, name)
    )


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, row in TABLE.items() for value in row[4]])
def test_a_wrong_value_is_one_line_that_names_the_setting(name: str, value: str) -> None:
    assert complaint({name: value}).startswith(f"{name}: ")


def test_a_secret_is_never_shown() -> None:
    for name in ("JWT_SECRET", "API_KEY", "METRICS_TOKEN"):
        assert "hunter2" not in complaint({name: "hunter2"})
    assert "hunter2" not in complaint({"DATABASE_URL": "postgresql://a:hunter2@b:x/c"})


# name: (the least, the most, what is below, what is above)
BOUNDS: dict[str, tuple[str, str, str, str]] = {
    "WS_PORT": ("0", "65535", "-1", "65536"),
    "API_PORT": ("0", "65535", "-1", "65536"),
    "WORKERS": ("1", "256", "0", "257"),
    "MAX_FRAME": ("1024", "131072", "1023", "131073"),
    "RATE_LIMIT": ("0", "1000000/s", "-1", "1000001/s"),
    "RATE_BYTES": ("0", "1GiB/s", "-1", "1073741825"),
    "RATE_STRANGERS": ("0", "1000000/s", "-1", "1000001/s"),
    "MAX_TOPICS_PER_USER": ("0", "1000000", "-1", "1000001"),
    "MAX_MEMBERSHIPS_PER_USER": ("0", "1000000", "-1", "1000001"),
    "MAX_INVITATIONS_PER_USER": ("0", "1000000", "-1", "1000001"),
    "INVITES": ("0", "1000000/m", "-1", "1000001/m"),
    "MAX_CONNECTIONS_PER_USER": ("0", "1000000", "-1", "1000001"),
    "MAX_CONNECTIONS_PER_ADDRESS": ("0", "1000000", "-1", "1000001"),
    "INBOX_TTL": ("1s", "365d", "0s", "31536001"),
    "STOP_SECONDS": ("1", "3600", "0", "3601"),
    "RETENTION": ("1", "24855d", "0d", "24856d"),
}


def test_every_number_has_both_bounds() -> None:
    numbers = {f.metadata["name"] for f in fields(Settings) if str(f.type) in ("int", "float")}
    assert numbers == set(BOUNDS)


@pytest.mark.parametrize("name", BOUNDS)
def test_a_number_is_taken_up_to_its_bounds_and_not_beyond(name: str) -> None:
    least, most, *beyond = BOUNDS[name]
    assert setting_of({name: least}, name) < setting_of({name: most}, name)
    for wrong in (*beyond, "1" * 30, "1" * 5_000_000, "١٢", "1_0", "1e3", "0x10", "+1"):
        assert complaint({name: wrong}).startswith(f"{name}: ")


def test_retention_and_lifetime_at_their_most_are_what_the_database_can_count() -> None:
    assert setting_of({"RETENTION": "24855d"}, "RETENTION") < 2**31
    assert setting_of({"INBOX_TTL": "365d"}, "INBOX_TTL") == MAX_LIFETIME


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("12h", 43200), ("30d", 2592000)])
def test_times(text: str, seconds: int) -> None:
    assert seconds == setting_of({"INBOX_TTL": text}, "INBOX_TTL")


def test_no_rate_is_no_limit_and_a_burst_is_two_seconds_worth() -> None:
    assert 0 == setting_of({"RATE_LIMIT": "0"}, "RATE_LIMIT")
    assert 20 == Settings.from_environ({"RATE_LIMIT": "20"}).rate_limit


# --- settings that go together ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["API_HOST", "WS_HOST"])
@pytest.mark.parametrize(
    ("host", "mode"), [("127.0.0.1", "open"), ("::1", "open"), ("localhost", "open"), ("0.0.0.0", "key")]
)
def test_the_mode_is_open_on_loopback_alone(name: str, host: str, mode: str) -> None:
    assert mode == setting_of({name: host, "API_KEY": KEY}, "AUTH_MODE")


def test_key_mode_needs_a_key() -> None:
    assert complaint({"AUTH_MODE": "key"}).startswith("API_KEY: ")
    assert complaint({"API_HOST": "0.0.0.0"}).startswith("API_KEY: ")


@pytest.mark.parametrize("name", ["API_HOST", "WS_HOST"])
@pytest.mark.parametrize("nets", [{}, {"OPEN_NETS": ""}, {"OPEN_NETS": " "}])
def test_open_mode_on_a_reachable_address_needs_networks(name: str, nets: dict[str, str]) -> None:
    assert complaint({"AUTH_MODE": "open", name: "0.0.0.0", **nets}).startswith("OPEN_NETS: ")


def test_open_mode_may_be_chosen_for_named_networks() -> None:
    environ = {"AUTH_MODE": "open", "API_HOST": "0.0.0.0", "OPEN_NETS": "10.0.0.0/8"}
    assert (ip_network("10.0.0.0/8"),) == setting_of(environ, "OPEN_NETS")


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"TRUSTED_PROXIES": "127.0.0.1"}, "OPEN_NETS"), ({"TRUSTED_PROXIES": "::/0"}, "OPEN_NETS"),
        ({"TRUSTED_PROXIES": "127.0.0.1", "AUTH_MODE": "key", "API_KEY": KEY}, ""),
        ({"TRUSTED_PROXIES": "10.0.0.0/8", "LEGACY_NETS": "10.1.2.3"}, "LEGACY_NETS"),
        ({"TRUSTED_PROXIES": "10.1.2.3", "LEGACY_NETS": "fd00::/8,10.0.0.0/8"}, "LEGACY_NETS"),
    ],
)  # fmt: skip
def test_no_network_is_opened_in_which_a_proxy_speaks_for_others(environ: dict[str, str], name: str) -> None:
    if name:
        assert complaint(environ).startswith(f"{name}: ") and "TRUSTED_PROXIES" in complaint(environ)
    else:
        Settings.from_environ(environ)


def test_several_workers_need_a_bus_that_joins_them() -> None:
    assert complaint({"BUS_URL": "local:", "WORKERS": "2"}).startswith("BUS_URL: ")


# --- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "ws_url", "api_url"),
    [
        ({}, "ws://127.0.0.1:5000", "http://127.0.0.1:5001"),
        ({"WS_HOST": "0.0.0.0", "API_HOST": "::", "API_KEY": KEY}, "ws://127.0.0.1:5000", "http://127.0.0.1:5001"),
        ({"WS_HOST": "::1", "API_HOST": "[::1]"}, "ws://[::1]:5000", "http://[::1]:5001"),
        ({"WS_PORT": "1", "API_PORT": " 2 ", "WS_HOST": "localhost"}, "ws://localhost:1", "http://127.0.0.1:2"),
        ({"PUBLIC_WS_URL": "wss://a/", "PUBLIC_API_URL": "https://a/b/"}, "wss://a", "https://a/b"),
    ],
)
def test_the_doors_as_clients_reach_them(environ: dict[str, str], ws_url: str, api_url: str) -> None:
    settings = Settings.from_environ(environ)
    assert (ws_url, api_url) == (settings.ws_url, settings.api_url)
    # The terminal reads the same, without the server.
    assert (ws_url, api_url) == (door_url("WS", environ).rstrip("/"), door_url("API", environ).rstrip("/"))


def test_pages_of_the_api_and_of_chosen_origins_may_connect() -> None:
    settings = Settings.from_environ(
        {"ALLOWED_ORIGINS": "https://A.example:443,nonsense", "PUBLIC_API_URL": "https://b.example/x"}
    )
    own = {"http://127.0.0.1:5001", "http://localhost:5001", "http://[::1]:5001"}
    assert own | {"https://a.example", "https://b.example"} == settings.origins


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://a", "http://a"),
        ("HTTP://A:80/x?y", "http://a"),
        ("https://a:443", "https://a"),
        ("https://a:80", "https://a:80"),
        ("http://[::1]:5001", "http://[::1]:5001"),
        ("null", ""),
        ("", ""),
        ("a.example", ""),
        ("http://", ""),
        ("http://a:x", ""),
        ("http://[", ""),
        ("http://a:99999", ""),
        ("file:///x", ""),
    ],
)
def test_the_origin_of_a_url(url: str, origin: str) -> None:
    assert origin == origin_of(url)


@given(st.text())
def test_whatever_a_browser_calls_its_origin_nothing_breaks(text: str) -> None:
    assert origin_of(text) == origin_of(origin_of(text))


@pytest.mark.parametrize(
    ("host", "is_one"),
    [("127.8.8.8", True), ("[::1]", True), ("localhost", True), ("", False), ("10.0.0.1", False), ("a", False)],
)
def test_loopback(host: str, is_one: bool) -> None:
    assert is_one == is_loopback(host) == is_this_machine(host.strip("[]"))
