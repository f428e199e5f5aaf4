"""How the text of a setting is read, by its kind. Pure; each raises ValueError, whose text says what it may be."""

from __future__ import annotations

import ipaddress
import re
from typing import Literal, cast

from messaging.settings.addresses import Network

AuthMode = Literal["open", "key"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZES = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
SHOWN = 120  # characters of a wrong value
LEAST_BYTE_RATE = 2**14  # a burst of it holds the largest frame


def text(value: str) -> str:
    if not value.isprintable():  # nor are bytes of the environment that are no UTF-8
        raise ValueError("characters that can be printed")
    return value


def listed(value: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in value.split(",") if item.strip())


def networks(value: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(item) for item in listed(value))


def host(value: str) -> str:
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


def database(value: str) -> str:
    return _address(value, "postgresql", "postgres")


def ws_address(value: str) -> str:
    return _address(value, "ws", "wss")


def http_address(value: str) -> str:
    return _address(value, "http", "https")


def _bounded(value: str, least: int, most: int, what: str) -> int:
    # The length first: a million digits would be read for seconds.
    if not (value.isascii() and value.isdigit() and len(value) <= 20 and least <= int(value) <= most):
        raise ValueError(f"{what}, {least} … {most}")
    return int(value)


def port(value: str) -> int:
    return _bounded(value, 0, 65535, "a port")


def frame_size(value: str) -> int:
    return _bounded(value, 1024, 131072, "bytes")


def workers(value: str) -> int:
    return _bounded(value, 1, 256, "a whole number")


def connections(value: str) -> int:
    return _bounded(value, 0, 1_000_000, "a whole number, 0 for no limit")


def _seconds(value: str, most_days: int) -> int:
    number, unit = (value[:-1], value[-1]) if value[-1:] in _UNITS else (value, "s")
    try:
        return _bounded(number, 1, most_days * _UNITS["d"] // _UNITS[unit], "") * _UNITS[unit]
    except ValueError:
        raise ValueError(f"a time such as 90s, 15m, 12h or 30d, at most {most_days}d") from None


def lifetime(value: str) -> int:
    return _seconds(value, 365)


def retention(value: str) -> int:
    return _seconds(value, 24855)  # what PostgreSQL's integer holds


def stop(value: str) -> int:
    return _bounded(value, 1, 3600, "seconds")


def _number_per(value: str, unit: str, such_as: int) -> int:
    try:
        return _bounded(value.removesuffix(f"/{unit}"), 0, 1_000_000, "")
    except ValueError:
        raise ValueError(f"a rate such as {such_as}/{unit}, at most 1000000/{unit}, or 0 for none") from None


def rate(value: str) -> float:
    return float(_number_per(value, "s", 1000))


def invites(value: str) -> int:
    return _number_per(value, "m", 60)


def byte_rate(value: str) -> int:
    found = re.fullmatch(r"([0-9]{1,10})([KMG]iB)?(/s)?", value)
    rate = int(found[1]) * _SIZES[found[2] or ""] if found else -1
    if rate and not LEAST_BYTE_RATE <= rate <= _SIZES["GiB"]:
        raise ValueError("a rate such as 1MiB/s, from 16KiB/s to 1GiB/s, or 0 for none")
    return rate


def most(value: str) -> int:
    return _bounded(value, 0, 1_000_000, "a whole number, 0 for no limit")


def flag(value: str) -> bool:
    if value not in ("0", "1"):
        raise ValueError("0 or 1")
    return value == "1"


def auth_mode(value: str) -> AuthMode:
    if value not in ("open", "key"):
        raise ValueError("open or key")
    return cast(AuthMode, value)


def log_format(value: str) -> str:
    if value not in ("text", "json"):
        raise ValueError("text or json")
    return value


def bus(value: str) -> str:
    if not re.match(r"local:$|postgres(ql)?:|(nats|tls)://.", value):
        raise ValueError("local:, postgres:, postgresql://…, nats://HOST:PORT[,…] or tls://HOST:PORT[,…]")
    return _address(value, "local", "postgres", "postgresql", "nats", "tls")
