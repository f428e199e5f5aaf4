"""A network of namespaces whose router can be told to swallow packets, as a cable that is cut or a firewall does.

Nothing comes back then: no FIN, no RST, no ICMP, and no acknowledgement, which a proxy in user space would still give.
Linux, and root. The namespaces have no names: with the process that made them they are gone, however it ends.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from standalone.postgres import EmbeddedPostgres
from standalone.postgres.child import Child

CLONE_NEWNET = 0x40000000
LINE = "line"  # what a place calls its end of its line to the router
PORT = 5432
FIRST_RULE = 100  # behind the kernel's rule for its own addresses (0), before that for the routes (32766)


def missing() -> str | None:
    """Why there can be no network here; None where there can be."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "network namespaces need root"
    return None if shutil.which("ip") else "ip (of iproute2) is not installed"


class Namespace:
    """A network namespace; it lives as long as this object, or a process in it."""

    def __init__(self) -> None:
        before = _own()
        _call("unshare", CLONE_NEWNET)
        self._fd = _own()
        _enter(before)
        self.ip("link", "set", "lo", "up")

    @property
    def path(self) -> str:
        return f"/proc/{os.getpid()}/fd/{self._fd}"

    @contextmanager
    def inside(self) -> Iterator[None]:
        """What this thread opens or starts belongs to the namespace. Everything of an event loop does, if it waits."""
        before = _own()
        _enter(os.dup(self._fd))
        try:
            yield
        finally:
            _enter(before)

    def command(self, *command: str) -> tuple[str, ...]:
        """As a command that runs in here, as the same process."""
        return ("nsenter", f"--net={self.path}", "--", *command)

    def ip(self, *arguments: str) -> None:
        with self.inside():
            subprocess.run(["ip", *arguments], check=True)

    def close(self) -> None:
        os.close(self._fd)


class Place(Namespace):
    """A namespace with one line, which leads to the router."""

    def __init__(self, address: str, router: str) -> None:
        super().__init__()
        self.address = address
        self.router = router  # the router's address, as seen from here


class Network:
    """Places around a router, in which whoever measures may stand as well."""

    def __init__(self) -> None:
        self._held = ExitStack()
        self._router = self._hold(Namespace())
        with self._router.inside():
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        self._places = 0
        self._rules: list[str] = []

    def place(self) -> Place:
        self._places += 1
        number = self._places
        place: Place = self._hold(Place(f"10.213.{number}.2", f"10.213.{number}.1"))
        end = f"to{number}"
        self._router.ip("link", "add", end, "type", "veth", "peer", "name", LINE)
        self._router.ip("link", "set", LINE, "netns", place.path)
        for namespace, device, address in ((self._router, end, place.router), (place, LINE, place.address)):
            namespace.ip("address", "add", f"{address}/24", "dev", device)
            namespace.ip("link", "set", device, "up")
        place.ip("route", "add", "default", "via", place.router)
        return place

    def inside(self) -> Any:
        """Stand at the router. See `Namespace.inside`."""
        return self._router.inside()

    def swallow(self, *selector: str) -> None:
        """Drop what passes and fits, such as "from", ADDRESS, "dport", "5432" (TCP where a port is named)."""
        protocol = ("ipproto", "tcp") if {"sport", "dport"} & {*selector} else ()
        priority = str(FIRST_RULE + len(self._rules))
        self._router.ip("rule", "add", "pref", priority, *selector, *protocol, "blackhole")
        self._rules.append(priority)

    def silence(self, place: Place, ports: Sequence[int] = ()) -> None:
        """Nothing from or to a place passes; with ``ports`` only nothing of the TCP lines from these ports of it."""
        if not ports:
            self.swallow("from", place.address)
            self.swallow("to", place.address)
        for port in map(str, ports):
            self.swallow("from", place.address, "sport", port)
            self.swallow("to", place.address, "dport", port)

    def restore(self) -> None:
        """Everything passes again."""
        while self._rules:
            self._router.ip("rule", "del", "pref", self._rules.pop())

    def close(self) -> None:
        self._held.close()

    def _hold(self, namespace: Any) -> Any:
        self._held.callback(namespace.close)
        return namespace


@contextmanager
def network() -> Iterator[Network]:
    found = Network()
    try:
        yield found
    finally:
        found.close()


class PlacedPostgres(EmbeddedPostgres):
    """A PostgreSQL that is also reached by TCP, at its place. `start` returns its address by socket, never silent."""

    def __init__(self, data_dir: Path, place: Place) -> None:
        super().__init__(data_dir)
        self._place = place
        self._rules = data_dir.with_name("hba.conf")
        self._rules.write_text("local all all trust\nhost all all all trust\n")

    @property
    def dsn(self) -> str:
        return f"postgresql://postgres@{self._place.address}:{PORT}/recado"

    def _spawn(self, program: str, *arguments: str, text: str = "") -> Child:
        serves = program == "postgres" and "--single" not in arguments
        more = ("-c", "listen_addresses=*", "-c", f"hba_file={self._rules}") if serves else ()
        with self._place.inside():
            return super()._spawn(program, *arguments, *more, text=text)


def _own() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _enter(fd: int) -> None:
    """This thread alone; closes ``fd``."""
    try:
        _call("setns", fd, CLONE_NEWNET)
    finally:
        os.close(fd)


def _call(name: str, *arguments: int) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), f"{name} failed")
