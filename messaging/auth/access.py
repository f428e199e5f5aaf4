"""Who may ask at a door, from how its request came. Pure.

In open mode whoever reaches the door acts for anyone, so what matters is who reaches it: peers of OPEN_NETS, asking for
a Host that is ours (a rebound DNS name is not), through no proxy (its peers are not ours). LEGACY_NETS opens the older
systems' surfaces in the same way. Neither is ever opened by where the server listens: loopback is no key.
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from messaging.errors import Forbidden, Misdirected, NoCredential, RateLimited, RecadoError, Unauthorized
from messaging.settings.addresses import Network, in_networks, network_of
from messaging.settings.settings import Settings

# What a proxy adds to a request that it passes on; and each name that begins with x-forwarded-.
_OF_PROXIES = frozenset({"forwarded", "via", "x-real-ip", "cf-connecting-ip", "true-client-ip"})
MAX_WRONG = 10  # wrong credentials of an address within a second
MAX_ADDRESSES = 10_000  # that are counted one by one


@dataclass(frozen=True, slots=True)
class Rules:
    """What the settings say about who may ask."""

    is_open: bool
    key: bytes
    metrics_token: bytes
    open_nets: tuple[Network, ...]
    legacy_nets: tuple[Network, ...]
    proxies: tuple[Network, ...]
    hosts: frozenset[str]
    origins: frozenset[str]

    @classmethod
    def of(cls, settings: Settings) -> Rules:
        return cls(
            is_open=settings.auth_mode == "open",
            key=settings.api_key.encode(),
            metrics_token=settings.metrics_token.encode(),
            open_nets=settings.open_nets,
            legacy_nets=settings.legacy_nets,
            proxies=settings.trusted_proxies,
            hosts=frozenset(host_of(host) for host in settings.allowed_hosts),
            origins=settings.origins,
        )


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a request came: its TCP peer, the names of its headers in small letters, and what counts of their values."""

    peer: str
    names: frozenset[str] = frozenset()
    host: str = ""
    credentials: tuple[str, ...] = ()  # each line of Authorization
    forwarded: tuple[str, ...] = ()  # each line of X-Forwarded-For
    is_old: bool = False  # over HTTP/1.0, as a proxy speaks that was told nothing but where to pass on to


def why_outside(rules: Rules, arrival: Arrival) -> RecadoError | None:
    """Why a request is not from inside, in open mode's sense; None where it is."""
    if not in_networks(arrival.peer, rules.open_nets):
        return Forbidden("AUTH_MODE=open answers only the networks in OPEN_NETS.")
    if _came_through_proxy(rules, arrival):
        return Forbidden("AUTH_MODE=open answers nothing that came through a proxy; behind one, set AUTH_MODE=key.")
    if host_of(arrival.host) not in rules.hosts:
        return Misdirected()
    return None


def is_legacy(rules: Rules, arrival: Arrival) -> bool:
    """Whether a request is of an older system's program, which shows no key."""
    return (
        not rules.is_open and in_networks(arrival.peer, rules.legacy_nets) and not _came_through_proxy(rules, arrival)
    )


def _came_through_proxy(rules: Rules, arrival: Arrival) -> bool:
    return (
        arrival.is_old
        or in_networks(arrival.peer, rules.proxies)
        or any(name in _OF_PROXIES or name.startswith("x-forwarded-") for name in arrival.names)
    )


def bearer(credentials: Sequence[str]) -> str:
    """The token of `Authorization: Bearer` (RFC 6750), "" where there is no such header. Raises Unauthorized.

    ``credentials``: each line of Authorization; two are refused, as it would not be clear which counts.
    """
    if not credentials:
        return ""
    scheme, _, token = credentials[0].strip().partition(" ")
    if len(credentials) > 1 or scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("Authorization must be: Bearer, a space, and the API key or a user's token.")
    return token.strip()


def is_key(rules: Rules, token: str) -> bool:
    return _are_equal(token, rules.key)


def check_metrics(rules: Rules, arrival: Arrival) -> None:
    """Raises RecadoError for who may not read the counters."""
    outside = why_outside(rules, arrival) if rules.is_open else None
    if outside is not None:
        raise outside
    token = bearer(arrival.credentials)
    if not token and not rules.is_open:
        raise NoCredential("Authorization is missing: Bearer with METRICS_TOKEN or the API key.")
    if token and not (is_key(rules, token) or _are_equal(token, rules.metrics_token)):
        raise Unauthorized("This is neither METRICS_TOKEN nor the API key.")


def _are_equal(token: str, secret: bytes) -> bool:
    # A header is decoded with surrogateescape: so any bytes may be compared.
    return bool(secret) and hmac.compare_digest(token.encode("utf-8", "surrogateescape"), secret)


def host_of(text: str) -> str:
    """A Host without its port, in small letters; an IPv6 address in brackets. With what is no port it stays whole."""
    host = text.strip().lower()
    if not host.startswith("[") and host.count(":") > 1:
        return f"[{host}]"
    end = host.find("]") + 1 if host.startswith("[") else host.find(":")
    port = host[end:] if end > 0 else ""
    return host[: len(host) - len(port)] if not port[1:].strip("0123456789") and port[:1] in ("", ":") else host


class WrongCredentials:
    """Counts wrong keys and tokens by address, within a second.

    A right one is never asked for: it is not refused for what others of its address try.
    """

    def __init__(self, refused: Callable[[str], None], most: int = MAX_WRONG, addresses: int = MAX_ADDRESSES) -> None:
        """``refused`` is told the name of the limit each time that it refuses."""
        self._refused = refused
        self._most = most
        self._addresses = addresses
        self._second = 0
        self._counts: Counter[str] = Counter()

    def answer_to(self, error: RecadoError, address: str, now: float) -> RecadoError:
        """What somebody at ``address`` is told: the error, or that there are too many of them. ``now``: in seconds."""
        is_wrong = isinstance(error, Unauthorized) and not isinstance(error, NoCredential)
        if not is_wrong or not self._are_too_many(network_of(address), int(now)):
            return error
        self._refused("wrong_credentials")
        return RateLimited("Too many wrong keys and tokens come from this address. Wait a second.")

    def _are_too_many(self, place: str, second: int) -> bool:
        if second != self._second:
            self._second, self._counts = second, Counter()
        if place not in self._counts and len(self._counts) >= self._addresses:
            place = ""  # those who come last share one count
        self._counts[place] += 1
        return self._counts[place] > self._most
