"""Every setting, once, typed, from the environment."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import messaging.settings.texts as read
from messaging.settings.addresses import LOOPBACK, Network
from messaging.settings.issuers import Issuer, parse_issuers
from messaging.settings.texts import SHOWN

_SCHEME_PORTS = {"http": 80, "https": 443}
SECRET_BYTES = 32  # RFC 7518, section 3.2: an HS256 key is at least as long as the hash
KEY_BYTES = 16  # what has 128 bits is not guessed


class SettingsError(ValueError):
    """A setting has a wrong value; the text names it and says what it may be."""


def _setting(name: str, default: Any, parse: Callable[[str], Any]) -> Any:
    return field(default=default, metadata={"name": name, "parse": parse})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that an operator can choose. Times are in seconds, sizes in bytes."""

    database_url: str = _setting("DATABASE_URL", "", read.database)
    data_dir: Path = _setting("DATA_DIR", Path("data"), Path)
    ws_host: str = _setting("WS_HOST", "127.0.0.1", read.host)
    ws_port: int = _setting("WS_PORT", 5000, read.port)
    api_host: str = _setting("API_HOST", "127.0.0.1", read.host)
    api_port: int = _setting("API_PORT", 5001, read.port)
    public_ws_url: str = _setting("PUBLIC_WS_URL", "", read.ws_address)
    public_api_url: str = _setting("PUBLIC_API_URL", "", read.http_address)
    trusted_proxies: tuple[Network, ...] = _setting("TRUSTED_PROXIES", (), read.networks)
    jwt_secret: str = _setting("JWT_SECRET", "", read.text)
    jwt_issuers: tuple[Issuer, ...] = _setting("JWT_ISSUERS", (), parse_issuers)
    auth_mode: read.AuthMode = _setting("AUTH_MODE", "key", read.auth_mode)
    api_key: str = _setting("API_KEY", "", read.text)
    metrics_token: str = _setting("METRICS_TOKEN", "", read.text)
    open_nets: tuple[Network, ...] = _setting("OPEN_NETS", LOOPBACK, read.networks)
    legacy_nets: tuple[Network, ...] = _setting("LEGACY_NETS", (), read.networks)
    allowed_hosts: tuple[str, ...] = _setting("ALLOWED_HOSTS", ("127.0.0.1", "localhost", "[::1]"), read.listed)
    allowed_origins: tuple[str, ...] = _setting("ALLOWED_ORIGINS", (), read.listed)
    bus_url: str = _setting("BUS_URL", "", read.bus)
    workers: int = _setting("WORKERS", 1, read.workers)
    nats_url: str = _setting("NATS_URL", "", read.text)
    rabbitmq_url: str = _setting("RABBITMQ_URL", "", read.text)
    bridges_file: Path | None = _setting("BRIDGES_FILE", None, Path)
    platforms_file: Path | None = _setting("PLATFORMS_FILE", None, Path)
    integrator_allow_nets: tuple[Network, ...] = _setting("INTEGRATOR_ALLOW_NETS", (), read.networks)
    max_frame: int = _setting("MAX_FRAME", 65536, read.frame_size)
    rate_limit: float = _setting("RATE_LIMIT", 1000.0, read.rate)
    rate_bytes: int = _setting("RATE_BYTES", 2**20, read.byte_rate)
    rate_strangers: float = _setting("RATE_STRANGERS", 100.0, read.rate)
    max_topics_per_user: int = _setting("MAX_TOPICS_PER_USER", 1000, read.most)
    max_memberships_per_user: int = _setting("MAX_MEMBERSHIPS_PER_USER", 5000, read.most)
    max_invitations_per_user: int = _setting("MAX_INVITATIONS_PER_USER", 500, read.most)
    invites: int = _setting("INVITES", 60, read.invites)
    max_connections_per_user: int = _setting("MAX_CONNECTIONS_PER_USER", 64, read.connections)
    max_connections_per_address: int = _setting("MAX_CONNECTIONS_PER_ADDRESS", 5000, read.connections)
    inbox_ttl: int = _setting("INBOX_TTL", 30 * 86400, read.lifetime)
    retention: int = _setting("RETENTION", 30 * 86400, read.retention)
    stop_seconds: int = _setting("STOP_SECONDS", 30, read.stop)
    log_format: str = _setting("LOG_FORMAT", "text", read.log_format)
    unsafe_durability: bool = _setting("UNSAFE_DURABILITY", False, read.flag)

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
            raise SettingsError(
                "BUS_URL: local: joins nobody; with WORKERS above 1 it is postgres: or nats://HOST:PORT"
            )
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
