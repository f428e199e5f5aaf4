"""Which addresses may be dialled: what is reserved by nobody, what is private by the operator's own platforms alone."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.webhooks.addresses import refusal, url_refusal

METADATA = "169.254.169.254"
NEVER = {
    METADATA: "link-local",
    "168.63.129.16": "metadata",
    "100.100.100.200": "CGNAT",
    "fd00:ec2::254": "metadata",
    "fd20:ce::254": "metadata",
    "0.0.0.0": "unspecified",
    "0.1.2.3": "unspecified",
    "::": "unspecified",
    "224.0.0.1": "multicast",
    "239.255.255.250": "multicast",
    "ff02::1": "multicast",
    "ff0e::1": "multicast",
    "255.255.255.255": "broadcast",
    "240.0.0.1": "reserved",
    "192.0.0.192": "protocols",
    "192.0.2.1": "documentation",
    "198.51.100.1": "documentation",
    "203.0.113.1": "documentation",
    "2001:db8::1": "documentation",
    "3fff::1": "documentation",
    "198.18.0.1": "benchmarks",
    "192.88.99.1": "6to4 relay",
    "fe80::1": "link-local",
    "fe80::1%eth0": "link-local",
    "fec0::1": "site-local",
    "::ffff:127.0.0.1": "IPv4-mapped",
    "::ffff:a9fe:a9fe": "IPv4-mapped",
    "::ffff:8.8.8.8": "IPv4-mapped",
    "::ffff:0:7f00:1": "IPv4-translated",
    "::7f00:1": "IPv4-compatible",
    "::a9fe:a9fe": "IPv4-compatible",
    "64:ff9b::a9fe:a9fe": "NAT64",
    "64:ff9b:1::7f00:1": "NAT64",
    "2002:a9fe:a9fe::": "6to4",
    "2001:0:a9fe:a9fe::1": "Teredo",
    "2001:20::1": "protocols",
    "2606:4700::5efe:a9fe:a9fe": "ISATAP",
    "2606:4700::200:5efe:7f00:1": "ISATAP",
    "fd00::5efe:7f00:1": "ISATAP",
    "100::1": "reserved",
    "5f00::1": "reserved",
    "4000::1": "reserved",
}
PRIVATE = ["127.0.0.1", "127.9.9.9", "::1", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fd12::1"]
PUBLIC = ["8.8.8.8", "172.32.0.1", "100.128.0.1", "1.1.1.1", "2606:4700::1111", "2a00:1450::200e", "169.253.0.1"]
BEFORE_IPV4 = ["::ffff:0:0", "::ffff:0:0:0", "64:ff9b::", "64:ff9b:1::", "2a00::5efe:0:0"]
EVERYTHING = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))


@pytest.mark.parametrize(("ip", "why"), NEVER.items())
def test_what_nobody_may_dial(ip: str, why: str) -> None:
    """Neither the operator's file nor an opened network helps."""
    assert why in (refusal(ip) or "")
    assert why in (refusal(ip, trusted=True, allow_nets=EVERYTHING) or "")


@pytest.mark.parametrize("ip", PRIVATE)
def test_private_addresses_are_for_the_operators_platforms(ip: str) -> None:
    said = refusal(ip) or ""
    assert ip in said and "INTEGRATOR_ALLOW_NETS" in said, "it says what to do"
    assert refusal(ip, trusted=True) is None
    assert refusal(ip, allow_nets=[ipaddress.ip_network(ip)]) is None
    assert refusal(ip, allow_nets=[ipaddress.ip_network("10.99.0.0/16"), ipaddress.ip_network("fd99::/16")])


@pytest.mark.parametrize("ip", PUBLIC)
def test_what_everybody_may_dial(ip: str) -> None:
    assert refusal(ip) is None


@pytest.mark.parametrize("text", ["", "localhost", "0x7f.1", "2130706433", "127.1", "1.2.3.4.5", "[::1]"])
def test_what_is_no_address_is_refused(text: str) -> None:
    assert "is no address" in (refusal(text, trusted=True) or "")


@given(st.ip_addresses(v=4), st.sampled_from(BEFORE_IPV4))
def test_no_ipv4_address_hides_at_the_end_of_another(inner: ipaddress.IPv4Address, prefix: str) -> None:
    hidden = ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) | int(inner))
    assert refusal(str(hidden), trusted=True)


@given(st.ip_addresses())
def test_what_is_open_to_all_is_global_and_unicast(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if refusal(str(address)) is None:
        assert address.is_global and not address.is_multicast and not address.is_reserved


@pytest.mark.parametrize(
    ("url", "why"),
    {
        "ftp://a.example/": "no http",
        "file:///etc/passwd": "no http",
        "gopher://a.example/": "no http",
        "http://": "no http",
        "//a.example/": "no http",
        "http://user@a.example/": "user or password",
        "http://user:word@a.example/": "user or password",
        "http://:@a.example/": "user or password",
        "http://a.example:99999/": "no URL",
        "http://a.example:x/": "no URL",
        "http://[::1/": "no URL",
    }.items(),
)
def test_urls_that_nobody_may_have(url: str, why: str) -> None:
    assert why in (url_refusal(url, trusted=True) or "")


@pytest.mark.parametrize(
    ("port", "is_open"), [(22, False), (25, False), (80, True), (443, True), (1023, False), (1024, True)]
)
def test_low_ports_belong_to_others(port: int, is_open: bool) -> None:
    url = f"http://a.example:{port}/"
    assert (url_refusal(url) is None) == is_open
    assert url_refusal(url, trusted=True) is None


@pytest.mark.parametrize("url", ["http://a.example", "https://a.example/x?y=1", "http://a.example:8080/api/"])
def test_urls_of_platforms(url: str) -> None:
    assert url_refusal(url) is None
