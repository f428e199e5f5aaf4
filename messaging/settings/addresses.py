"""Who a peer is, by its address. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

CUSTOMER = "/64"  # of IPv6, which one customer has
MAX_HOPS = 32  # of X-Forwarded-For that are looked at
LOOPBACK: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


def client_address(peer: str, forwarded: Iterable[str], proxies: Sequence[Network]) -> str:
    """Who asks: the peer, or the nearest that the trusted proxies in front of us name in X-Forwarded-For."""
    address = peer
    if in_networks(peer, proxies):  # whoever else sends that header is not read
        for hop in islice(_hops(forwarded), MAX_HOPS):
            address = hop or address
            if not in_networks(address, proxies):
                break
    return address


def _hops(forwarded: Iterable[str]) -> Iterator[str]:
    """The nearest first; of a line as many as are looked at, for a line has no other bound than that of the headers."""
    for line in reversed(tuple(forwarded)):
        for hop in reversed(line.rsplit(",", MAX_HOPS)[-MAX_HOPS:]):
            yield hop.strip()


def network_of(address: str) -> str:
    """Who counts as one: an IPv4 address, or the 64 bits of an IPv6 address that one customer has."""
    found = _parsed(address.removesuffix(CUSTOMER))  # of whom it is said already, too
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network(f"{found}{CUSTOMER}", strict=False))
    return "" if found is None else str(found)


def in_networks(address: str, networks: Iterable[Network]) -> bool:
    found = _parsed(address)
    return found is not None and any(found in network for network in networks)


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    host = address.partition("%")[0]
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:  # some proxies name the port, too
        host = host.partition(":")[0]
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
