"""The bus that BUS_URL names."""

from __future__ import annotations

from urllib.parse import urlsplit

from messaging.bus.contract import Bus, LocalBus
from messaging.bus.postgres import PostgresBus
from messaging.settings.settings import SettingsError

NATS_SUBJECT = "recado.notices"


def make_bus(url: str, dsn: str) -> Bus:
    """``local:``, ``postgres:`` (over ``dsn``, or an address of its own) or ``nats://HOST:PORT[,…][/SUBJECT]``, or
    ``tls://``, which is no line where the server offers no TLS.

    A bus over the database needs a direct connection; behind a pooler it gets an address of its own. Raises
    SettingsError where a client is not installed.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "local":
        return LocalBus()
    if scheme in ("nats", "tls"):
        # Only who uses NATS needs its client installed.
        try:
            from messaging.bus.nats import NatsBus
        except ModuleNotFoundError as exc:
            if exc.name != "nats":
                raise
            raise SettingsError("BUS_URL: nats-py is not installed; pip install 'recado-server[nats]'") from None

        hosts, _, subject = rest.removeprefix("//").partition("/")
        return NatsBus([f"{scheme}://{host}" for host in hosts.split(",")], subject or NATS_SUBJECT)
    return PostgresBus(url if urlsplit(url).netloc else dsn)
