"""Every setting, once, typed, from the environment."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from messaging.issuers.setting import Issuer, parse_issuers

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZES = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_SCHEME_PORTS = {"http": 80, "https": 443}
_LOOPBACK = "127.0.0.0/8,::1/128"
SHOWN = 120  # characters of a wrong value
SECRET_BYTES = 32  # RFC 7518, section 3.2: an HS256 key is at least as long as the hash
KEY_BYTES = 16  # what has 128 bits is not guessed
LEAST_BYTE_RATE = 2**14  # a burst of it holds the largest frame


class SettingsError(ValueError):
    """A setting has a wrong value; the text names it and says what it may be."""


def _text(value: str) -> str:
    if not value.isprintable():  # nor are bytes of the environment that are no UTF-8
        raise ValueError("characters that can be printed")
    return value


def _list(value: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in value.split(",") if item.strip())


def _networks(value: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(item) for item in _list(value))


def _host(value: str) -> str:
    host = value.removeprefix("[").removesuffix("]")
    if ":" in host:
        ipaddress.IPv6Address(host)
    if not host.isprintable() or any(sign in host for sign in " /[]"):
        raise ValueError("a name or an address, without a port")
    return host


def _address(value: str, *schemes: str) -> str:
    """A URL, perhaps with several hosts, whose ports are numbers: what its library would find out much later."""
    scheme, _, rest = value.partition(":")
    if scheme not in schemes:
        raise ValueError(f"it begins with {' or '.join(f'{each}://' for each in schemes)}")
    hosts = re.split(r"[/?#]", rest.removeprefix("//"), maxsplit=1)[0].rpartition("@")[2]
    for each in hosts.split(","):
        found = re.fullmatch(r"(?:\[[^\[\]]*\]|[^\[\]:\s]*)(?::([0-9]{1,5})?)?", each)
        if found is None or int(found[1] or 0) > 65535:
            raise ValueError(f"{each[:SHOWN]!r} is no host, or host and port")
    return value


def _database(value: str) -> str:
    return _address(value, "postgresql", "postgres")


def _ws_address(value: str) -> str:
    return _address(value, "ws", "wss")


def _http_address(value: str) -> str:
    return _address(value, "http", "https")


def _bounded(value: str, least: int, most: int, what: str) -> int:
    # The length first: a million digits would be read for seconds.
    if not (value.isascii() and value.isdigit() and len(value) <= 20 and least <= int(value) <= most):
        raise ValueError(f"{what}, {least} … {most}")
    return int(value)


def _port(value: str) -> int:
    return _bounded(value, 0, 65535, "a port")


def _frame_size(value: str) -> int:
    return _bounded(value, 1024, 131072, "bytes")


def _workers(value: str) -> int:
    return _bounded(value, 1, 256, "a whole number")


def _connections(value: str) -> int:
    return _bounded(value, 0, 1_000_000, "a whole number, 0 for no limit")


def _seconds(value: str, most_days: int) -> int:
    number, unit = (value[:-1], value[-1]) if value[-1:] in _UNITS else (value, "s")
    try:
        return _bounded(number, 1, most_days * _UNITS["d"] // _UNITS[unit], "") * _UNITS[unit]
    except ValueError:
        raise ValueError(f"a time such as 90s, 15m, 12h or 30d, at most {most_days}d") from None


def _lifetime(value: str) -> int:
    return _seconds(value, 365)


def _retention(value: str) -> int:
    return _seconds(value, 24855)  # what PostgreSQL's integer holds


def _stop(value: str) -> int:
    return _bounded(value, 1, 3600, "seconds")


def _number_per(value: str, unit: str, such_as: int) -> int:
    try:
        return _bounded(value.removesuffix(f"/{unit}"), 0, 1_000_000, "")
    except ValueError:
        raise ValueError(f"a rate such as {such_as}/{unit}, at most 1000000/{unit}, or 0 for none") from None


def _rate(value: str) -> float:
    return float(_number_per(value, "s", 1000))


def _invites(value: str) -> int:
    return _number_per(value, "m", 60)


def _byte_rate(value: str) -> int:
    found = re.fullmatch(r"([0-9]{1,10})([KMG]iB)?(/s)?", value)
    rate = int(found[1]) * _SIZES[found[2] or ""] if found else -1
    if rate and not LEAST_BYTE_RATE <= rate <= _SIZES["GiB"]:
        raise ValueError("a rate such as 1MiB/s, from 16KiB/s to 1GiB/s, or 0 for none")
    return rate


def _most(value: str) -> int:
    return _bounded(value, 0, 1_000_000, "a whole number, 0 for no limit")


def _flag(value: str) -> bool:
    if value not in ("0", "1"):
        raise ValueError("0 or 1")
    return value == "1"


def _auth_mode(value: str) -> str:
    if value not in ("open", "key"):
        raise ValueError("open or key")
    return value


def _bus(value: str) -> str:
    if not re.match(r"local:$|postgres(ql)?:|(nats|tls)://.", value):
        raise ValueError("local:, postgres:, postgresql://…, nats://HOST:PORT[,…] or tls://HOST:PORT[,…]")
    return _address(value, "local", "postgres", "postgresql", "nats", "tls")


def _setting(name: str, default: Any, parse: Callable[[str], Any]) -> Any:
    return field(default=default, metadata={"name": name, "parse": parse})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that an operator can choose. Times are in seconds, sizes in bytes."""

    database_url: str = _setting("DATABASE_URL", "", _database)
    data_dir: Path = _setting("DATA_DIR", Path("data"), Path)
    ws_host: str = _setting("WS_HOST", "127.0.0.1", _host)
    ws_port: int = _setting("WS_PORT", 5000, _port)
    api_host: str = _setting("API_HOST", "127.0.0.1", _host)
    api_port: int = _setting("API_PORT", 5001, _port)
    public_ws_url: str = _setting("PUBLIC_WS_URL", "", _ws_address)
    public_api_url: str = _setting("PUBLIC_API_URL", "", _http_address)
    trusted_proxies: tuple[Network, ...] = _setting("TRUSTED_PROXIES", (), _networks)
    jwt_secret: str = _setting("JWT_SECRET", "", _text)
    jwt_issuers: tuple[Issuer, ...] = _setting("JWT_ISSUERS", (), parse_issuers)
    auth_mode: str = _setting("AUTH_MODE", "", _auth_mode)
    api_key: str = _setting("API_KEY", "", _text)
    metrics_token: str = _setting("METRICS_TOKEN", "", _text)
    open_nets: tuple[Network, ...] = _setting("OPEN_NETS", _networks(_LOOPBACK), _networks)
    legacy_nets: tuple[Network, ...] = _setting("LEGACY_NETS", (), _networks)
    allowed_hosts: tuple[str, ...] = _setting("ALLOWED_HOSTS", ("127.0.0.1", "localhost", "[::1]"), _list)
    allowed_origins: tuple[str, ...] = _setting("ALLOWED_ORIGINS", (), _list)
    bus_url: str = _setting("BUS_URL", "", _bus)
    workers: int = _setting("WORKERS", 1, _workers)
    nats_url: str = _setting("NATS_URL", "", _text)
    rabbitmq_url: str = _setting("RABBITMQ_URL", "", _text)
    bridges_file: Path | None = _setting("BRIDGES_FILE", None, Path)
    platforms_file: Path | None = _setting("PLATFORMS_FILE", None, Path)
    integrator_allow_nets: tuple[Network, ...] = _setting("INTEGRATOR_ALLOW_NETS", (), _networks)
    max_frame: int = _setting("MAX_FRAME", 65536, _frame_size)
    rate_limit: float = _setting("RATE_LIMIT", 1000.0, _rate)
    rate_bytes: int = _setting("RATE_BYTES", 2**20, _byte_rate)
    max_topics_per_user: int = _setting("MAX_TOPICS_PER_USER", 1000, _most)
    max_memberships_per_user: int = _setting("MAX_MEMBERSHIPS_PER_USER", 5000, _most)
    invites: int = _setting("INVITES", 60, _invites)
    max_connections_per_user: int = _setting("MAX_CONNECTIONS_PER_USER", 64, _connections)
    max_connections_per_address: int = _setting("MAX_CONNECTIONS_PER_ADDRESS", 5000, _connections)
    inbox_ttl: int = _setting("INBOX_TTL", 30 * 86400, _lifetime)
    retention: int = _setting("RETENTION", 30 * 86400, _retention)
    stop_seconds: int = _setting("STOP_SECONDS", 30, _stop)
    unsafe_durability: bool = _setting("UNSAFE_DURABILITY", False, _flag)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """Read every setting that is present and not empty.

        Raises:
            SettingsError: a value is wrong, or two do not go together; one line that names it.
        """
        values: dict[str, Any] = {}
        for item in fields(cls):
            name, text = item.metadata["name"], environ.get(item.metadata["name"], "").strip()
            if text:
                values[item.name] = _parsed(name, text, item.metadata["parse"])
        settings = cls(**{**values, "auth_mode": values.get("auth_mode") or _default_mode(values)})
        settings._check("open_nets" in values)
        return settings

    def _check(self, nets_given: bool) -> None:
        if self.bus_url == "local:" and self.workers > 1:
            raise SettingsError("BUS_URL: local: joins nobody; with WORKERS above 1 it is postgres: or nats://HOST:PORT")
        self._check_secrets()
        if self.auth_mode == "key" and not self.api_key:
            raise SettingsError(
                "API_KEY: it is needed with AUTH_MODE=key, the default on an address that others reach; "
                "choose a long random one"
            )
        if self.auth_mode == "open" and not _stays_here(self.api_host, self.ws_host) and not nets_given:
            raise SettingsError(
                "OPEN_NETS: AUTH_MODE=open lets anyone act as anyone; on an address that others reach, "
                "say which networks may, or set AUTH_MODE=key and API_KEY"
            )
        self._check_networks()

    def _check_secrets(self) -> None:
        keys = (("API_KEY", self.api_key, KEY_BYTES), ("METRICS_TOKEN", self.metrics_token, KEY_BYTES))
        for name, value, least in (("JWT_SECRET", self.jwt_secret, SECRET_BYTES), *keys):
            if value and len(value.encode()) < least:
                raise SettingsError(
                    f"{name}: it has fewer than {least} bytes; a good one is made by: openssl rand -hex 32"
                )

    def _check_networks(self) -> None:
        """A proxy speaks for peers that are elsewhere."""
        opened = self.open_nets if self.auth_mode == "open" else ()
        for name, nets in (("OPEN_NETS", opened), ("LEGACY_NETS", self.legacy_nets)):
            if any(_overlap(net, proxy) for net in nets for proxy in self.trusted_proxies):
                raise SettingsError(f"{name}: it has addresses that are in TRUSTED_PROXIES too")

    @property
    def ws_url(self) -> str:
        """The WebSocket door as clients reach it, without a slash at the end."""
        return self.public_ws_url.rstrip("/") or f"ws://{_reachable(self.ws_host)}:{self.ws_port}"

    @property
    def api_url(self) -> str:
        """The HTTP door as clients reach it, without a slash at the end."""
        return self.public_api_url.rstrip("/") or f"http://{_reachable(self.api_host)}:{self.api_port}"

    @property
    def origins(self) -> frozenset[str]:
        """The origins whose pages may ask and connect: the API's own addresses, and ALLOWED_ORIGINS."""
        own = [self.api_url, *(f"http://{host}:{self.api_port}" for host in ("127.0.0.1", "localhost", "[::1]"))]
        return frozenset(map(origin_of, [*self.allowed_origins, *own])) - {""}


def _parsed(name: str, text: str, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(text)
    except ValueError as exc:
        shown = text.rpartition("@")[2] if "://" in text else text  # a password may stand before
        shown = shown if len(shown) <= SHOWN else shown[:SHOWN] + "…"
        raise SettingsError(f"{name}: {shown!r} is not a value that it takes: {exc}") from None


def _default_mode(values: Mapping[str, Any]) -> str:
    hosts = (values.get(name, "127.0.0.1") for name in ("api_host", "ws_host"))
    return "open" if _stays_here(*hosts) else "key"


def _stays_here(*hosts: str) -> bool:
    return all(map(is_loopback, hosts))


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def origin_of(url: str) -> str:
    """The origin (RFC 6454) of a URL: scheme, host, port where it is not the scheme's own. "" where it has none."""
    try:
        parts = urlsplit(url.strip().lower())
        port = parts.port
    except ValueError:
        return ""
    if not parts.scheme or not parts.hostname:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, _SCHEME_PORTS.get(parts.scheme)) else "")


def is_loopback(host: str) -> bool:
    """Whether a door bound to ``host`` is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _reachable(host: str) -> str:
    if host in ("", "0.0.0.0", "::"):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
