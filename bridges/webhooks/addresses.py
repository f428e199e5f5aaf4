"""Which addresses may be dialled for a platform: against server-side request forgery (SSRF). Pure.

Who may register a platform could otherwise make this server ask its own neighbours: the cloud's metadata, a database on
the loopback. `ipaddress.is_global` does not do: it holds IPv4 addresses inside IPv6 ones for global.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from messaging.settings.addresses import Network

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

OPEN_PORTS = frozenset({80, 443})  # of those below 1024: the others belong to mail, SSH, file servers and the like
_PORTS = {"http": 80, "https": 443}

# Refused to everybody: no platform lives there, and some who do must not be asked by us. The first that fits is told.
_NEVER = tuple(
    (ipaddress.ip_network(network), why)
    for network, why in (
        ("0.0.0.0/8", "it is unspecified"),
        ("100.64.0.0/10", "it belongs to a provider's own network (CGNAT)"),
        ("169.254.0.0/16", "it is link-local, where clouds keep their metadata"),
        ("168.63.129.16/32", "a cloud keeps its metadata there"),
        ("192.0.0.0/24", "it is reserved for protocols"),
        ("192.0.2.0/24", "it is reserved for documentation"),
        ("192.88.99.0/24", "it is a 6to4 relay"),
        ("198.18.0.0/15", "it is reserved for benchmarks"),
        ("198.51.100.0/24", "it is reserved for documentation"),
        ("203.0.113.0/24", "it is reserved for documentation"),
        ("224.0.0.0/4", "it is multicast"),
        ("255.255.255.255/32", "it is broadcast"),
        ("240.0.0.0/4", "it is reserved"),
        ("::/128", "it is unspecified"),
        ("::ffff:0:0/96", "it is an IPv4 address in another form (IPv4-mapped)"),
        ("::ffff:0:0:0/96", "it is an IPv4 address in another form (IPv4-translated)"),
        ("::/96", "it is an IPv4 address in another form (IPv4-compatible)"),
        ("64:ff9b::/96", "it is an IPv4 address in another form (NAT64)"),
        ("64:ff9b:1::/48", "it is an IPv4 address in another form (NAT64)"),
        ("2001::/32", "it is an IPv4 address in another form (Teredo)"),
        ("2002::/16", "it is an IPv4 address in another form (6to4)"),
        ("2001::/23", "it is reserved for protocols"),
        ("2001:db8::/32", "it is reserved for documentation"),
        ("3fff::/20", "it is reserved for documentation"),
        ("fd00:ec2::/32", "a cloud keeps its metadata there"),
        ("fd20:ce::/32", "a cloud keeps its metadata there"),
        ("fe80::/10", "it is link-local"),
        ("fec0::/10", "it is site-local"),
        ("ff00::/8", "it is multicast"),
    )
)
_PRIVATE = tuple(
    (ipaddress.ip_network(network), why)
    for network, why in (
        ("127.0.0.0/8", "it is this machine's own"),
        ("::1/128", "it is this machine's own"),
        ("10.0.0.0/8", "it is private"),
        ("172.16.0.0/12", "it is private"),
        ("192.168.0.0/16", "it is private"),
        ("fc00::/7", "it is private"),
    )
)
_UNICAST = ipaddress.ip_network("2000::/3")  # all that is given out of IPv6 today
_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})  # RFC 5214: then the IPv4 address follows


def refusal(ip: str, *, trusted: bool = False, allow_nets: Iterable[Network] = ()) -> str | None:
    """Why this address is not to be dialled; None where it may be.

    ``ip``: as the system writes addresses, with a zone or without. ``trusted``: the operator's file names the platform;
    ``allow_nets``: private networks that the operator opened to the others (INTEGRATOR_ALLOW_NETS).
    """
    try:
        address = ipaddress.ip_address(ip.partition("%")[0])
    except ValueError:
        return f"{ip!r} is no address"
    private = _reason(address, _PRIVATE)
    if address != ipaddress.IPv6Address("::1") and (never := _reason(address, _NEVER) or _hidden(address)):
        return f"{address} is refused: {never}"
    if private is None or trusted or any(address in network for network in allow_nets):
        return None
    return f"{address} is refused: {private}; INTEGRATOR_ALLOW_NETS may open its network"


def url_refusal(url: str, *, trusted: bool = False) -> str | None:
    """What is wrong with a platform's URL as such, before any address is looked up; None where nothing is."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return f"{url!r} is no URL"
    if parts.scheme not in _PORTS or not parts.hostname:
        return f"{url!r} is no http:// or https:// URL"
    if parts.username is not None or parts.password is not None:
        return "a URL with a user or password in it is refused"
    port = _PORTS[parts.scheme] if port is None else port
    if not trusted and port < 1024 and port not in OPEN_PORTS:
        return f"port {port} is refused: it is 80, 443, or from 1024 on"
    return None


def _reason(address: _Address, table: Iterable[tuple[Network, str]]) -> str | None:
    return next((why for network, why in table if address in network), None)


def _hidden(address: _Address) -> str | None:
    """IPv6 that no table can name: an IPv4 address at the end of any prefix, and what is not given out yet."""
    if address.version == 4:
        return None
    if (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP:
        return "it is an IPv4 address in another form (ISATAP)"
    if address not in _UNICAST and _reason(address, _PRIVATE) is None:
        return "it is reserved"
    return None
