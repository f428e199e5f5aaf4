"""Who asks. The decision is pure: from headers and the peer's address to a credential, or no.

In open mode whoever reaches the door acts for anyone, so what matters is who reaches it: peers of OPEN_NETS, asking for
a Host that is ours (a rebound DNS name is not), through no proxy (its peers are not ours). A page of another site could
let a browser inside ask for it: browsers say so by Origin and Sec-Fetch-Site, and in every mode that is refused.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from multidict import CIMultiDict, CIMultiDictProxy

from api.problems import Misdirected
from api.route import Access, Domain
from messaging.errors import Forbidden, RecadoError, Unauthorized
from messaging.identity import identify
from messaging.model import User
from messaging.permissions import BACKEND, Caller
from messaging.settings import Network, Settings, origin_of

Headers = CIMultiDict[str] | CIMultiDictProxy[str]

_ELSEWHERE = ("cross-site", "same-site")  # same-site: another port of this host


@dataclass(frozen=True, slots=True)
class Rules:
    """What the settings say about who may ask."""

    is_open: bool
    key: bytes
    nets: tuple[Network, ...]
    hosts: frozenset[str]
    origins: frozenset[str]

    @classmethod
    def of(cls, settings: Settings) -> Rules:
        return cls(
            is_open=settings.auth_mode == "open",
            key=settings.api_key.encode(),
            nets=settings.open_nets,
            hosts=frozenset(host_of(host) for host in settings.allowed_hosts),
            origins=settings.origins,
        )


@dataclass(frozen=True, slots=True)
class Credential:
    """What a request shows: a user's token, still unread, or that it is a backend, or nothing."""

    is_backend: bool = False
    token: str = ""


NOBODY = Credential()
ANY_BACKEND = Credential(is_backend=True)


def decide(rules: Rules, access: Access, headers: Headers, peer: str | None) -> Credential:
    """What a request may pass for, where ``access`` is asked for.

    Raises:
        Forbidden: it comes from another site, or in open mode from outside.
        Misdirected: in open mode, it asks for a Host that is not ours.
        Unauthorized: it shows no credential where one is needed, or one of another kind.
    """
    check_origin(rules, access, headers)
    if access == "anyone":
        return NOBODY
    asks_where = rules.is_open or access in ("inside", "platform")
    outside = why_outside(rules, headers, peer) if asks_where else None
    if rules.is_open and outside is not None:
        raise outside
    if access == "visitor":
        return NOBODY
    token = bearer(headers)
    if access == "platform":  # whose token it is, if any, the handler asks the registry
        return ANY_BACKEND if is_key(rules, token) or (not token and outside is None) else NOBODY
    if token:
        return ANY_BACKEND if is_key(rules, token) else Credential(token=token)
    if rules.is_open or (access == "inside" and outside is None):
        return ANY_BACKEND
    raise Unauthorized("Authorization is missing: Bearer with the API key or a user's token.")


def check_origin(rules: Rules, access: Access, headers: Headers) -> None:
    """Raises Forbidden for what a page of another site had a browser send."""
    origins = headers.getall("Origin", [])
    if any(origin_of(origin) not in rules.origins for origin in origins):
        raise Forbidden("A page of this origin may not ask here. ALLOWED_ORIGINS says which may.")
    followed_link = access == "visitor" and headers.get("Sec-Fetch-Mode") == "navigate"
    elsewhere = headers.get("Sec-Fetch-Site", "").lower() in _ELSEWHERE
    if elsewhere and not origins and not followed_link:
        raise Forbidden("A page of another site may not ask here. ALLOWED_ORIGINS says which may.")


def why_outside(rules: Rules, headers: Headers, peer: str | None) -> RecadoError | None:
    """Why a request is not from inside, in open mode's sense; None where it is."""
    if not in_networks(peer, rules.nets):
        return Forbidden("AUTH_MODE=open answers only the networks in OPEN_NETS.")
    if any(name.lower() == "forwarded" or name.lower().startswith("x-forwarded-") for name in headers):
        return Forbidden("AUTH_MODE=open answers nothing that came through a proxy; behind one, set AUTH_MODE=key.")
    if host_of(headers.get("Host", "")) not in rules.hosts:
        return Misdirected()
    return None


def in_networks(peer: str | None, nets: Iterable[Network]) -> bool:
    try:
        address = ipaddress.ip_address((peer or "").partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in net for net in nets)


def host_of(text: str) -> str:
    """A Host without its port, in small letters; an IPv6 address in brackets."""
    host = text.strip().lower()
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return f"[{host}]" if host.count(":") > 1 else host.partition(":")[0]


def bearer(headers: Headers) -> str:
    """The credential of `Authorization: Bearer` (RFC 6750), "" where there is no such header. Raises Unauthorized."""
    lines = headers.getall("Authorization", [])
    if not lines:
        return ""
    scheme, _, token = lines[0].strip().partition(" ")
    if len(lines) > 1 or scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("Authorization must be: Bearer, a space, and the API key or a user's token.")
    return token.strip()


def is_key(rules: Rules, token: str) -> bool:
    # aiohttp decodes headers with surrogateescape: so any bytes may be compared.
    given = token.encode("utf-8", "surrogateescape")
    return bool(rules.key) and hmac.compare_digest(given, rules.key)


def stranger() -> Caller:
    """A user that belongs to nothing and whom nothing belongs to: ids begin at 1."""
    return Caller(User(0, "", 0))


async def caller_of(credential: Credential, domain: Domain) -> Caller:
    """Who shows a credential. A user that a valid token names is known from here on.

    Raises:
        Unauthorized: the token is not valid, or revoked.
        Unavailable: another issued it, whose keys can't be read now.
    """
    if not credential.token:
        return BACKEND if credential.is_backend else stranger()
    claims = await domain.tokens.verify(credential.token)
    return Caller(await identify(domain.node.store, claims), claims.grants, claims.expires_at)
