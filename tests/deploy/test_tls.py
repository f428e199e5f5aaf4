"""TLS to PostgreSQL, NATS and RabbitMQ as docs/hardening.md configures it, on both sides; and who is refused."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from page_blocks import block

from bridges.nats.connection import servers_of
from bridges.rabbitmq.connection import ANSWER_TIME, TROUBLE, AmqpConnection
from conftest import needs
from messaging.bus.choose import make_bus
from messaging.bus.nats_connection import confirm, connect, let_go
from messaging.errors import Unavailable
from messaging.settings.settings import Settings, SettingsError
from messaging.store.migrations import migrate
from standalone.postgres import account
from support.authority import Authority
from support.log import run, value
from support.nats_server import nats_server
from support.places import folder, free_port
from support.rabbit_server import Rabbit

REFUSED = "(?i)certificate.verify.failed"
HOST = "localhost"
TIME = 60  # seconds


@dataclass(frozen=True)
class Place:
    """A folder in place of /etc/recado, and a port on this machine in place of the page's hosts."""

    folder: Path
    port: int

    def read(self, word: str) -> str:
        """The page's one block with this word, as it is to be here."""
        text = block("hardening.md", word).replace("/etc/recado", str(self.folder))
        text = re.sub(r"(db|nats|mq)\.example\.org(:\d+)?", f"{HOST}:{self.port}", text)
        return text.replace("10.0.0.0/8", "127.0.0.1/32").replace("5671", str(self.port))

    def setting(self, word: str, name: str) -> str:
        """A setting's value, of the block with this word."""
        (found,) = re.findall(rf"^{name}=(.*)$", self.read(word), re.MULTILINE)
        return str(found)


@pytest.fixture
def place() -> Iterator[Place]:
    with folder() as made:
        yield Place(made, free_port())


@contextmanager
def with_another_authority(place: Place) -> Iterator[None]:
    """Whoever reads the page's file trusts another authority meanwhile."""
    kept = (place.folder / "ca.crt").read_bytes()
    Authority(place.folder)
    try:
        yield
    finally:
        (place.folder / "ca.crt").write_bytes(kept)


# --- PostgreSQL: the one that Recado brings has no TLS, so it is the system's -----------------------------------------


def postgres_programs() -> Path:
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return (installed[-1] if installed else Path(needs("postgres"))).parent


@asynccontextmanager
async def postgres(place: Place) -> AsyncIterator[str]:
    """Configured as the page says; the DSN of its superuser, over a socket of the test's own."""
    data = place.folder / "data"
    data.mkdir()
    user = account.choose(data)
    for path in (data, *Authority(place.folder).vouch_for(HOST)):
        user.give(path)
    programs = postgres_programs()

    async def do(program: str, *arguments: str) -> None:
        who: dict[str, Any] = {"user": user.uid, "group": user.gid, "extra_groups": []} if os.geteuid() == 0 else {}
        command = [str(programs / program), "-D", str(data), *arguments]
        running = partial(subprocess.run, command, check=True, cwd=data, timeout=TIME, stdout=subprocess.DEVNULL)
        await asyncio.to_thread(running, **who)

    await do("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
    listening = f"listen_addresses = '127.0.0.1'\nport = {place.port}\nunix_socket_directories = '{data}'\n"
    with (data / "postgresql.conf").open("a") as file:
        file.write(listening + place.read("ssl_cert_file"))
    (data / "pg_hba.conf").write_text("local all postgres trust\n" + place.read("hostssl"))
    await do("pg_ctl", "--wait", "--log", str(data / "log"), "start")
    try:
        yield f"postgresql://postgres@/recado?host={data}&port={place.port}"
    finally:
        await do("pg_ctl", "--wait", "--mode=immediate", "stop")


async def test_postgresql_is_reached_by_tls_alone_and_only_where_its_certificate_is_right(place: Place) -> None:
    async with postgres(place) as superuser:
        await run(superuser.replace("/recado?", "/postgres?"), "CREATE DATABASE recado")
        await run(superuser, block("hardening.md", "CREATE ROLE"))
        await run(superuser, "ALTER ROLE recado_owner PASSWORD 'PASSWORD'; ALTER ROLE recado_door PASSWORD 'PASSWORD'")
        door = place.setting("verify-full", "DATABASE_URL")
        owner = door.replace("recado_door:", "recado_owner:")

        await migrate(owner, patience=0)
        await run(owner, block("hardening.md", "GRANT USAGE"))
        await migrate(door, patience=0)
        assert await value(door, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")

        with pytest.raises(SettingsError, match="no encryption"):
            await migrate(door.replace("verify-full", "disable"), patience=0)
        with pytest.raises(SettingsError, match=REFUSED):
            await migrate(door.replace(f"@{HOST}:", "@127.0.0.1:"), patience=0)  # a name that it has no certificate for
        with with_another_authority(place), pytest.raises(SettingsError, match=REFUSED):
            await migrate(door, patience=0)


# --- NATS -------------------------------------------------------------------------------------------------------------


async def reach(servers: list[str]) -> None:
    client = await connect(servers, "test")
    try:
        await confirm(client)
    finally:
        await let_go(client)


async def test_nats_is_reached_by_tls_alone_and_only_where_its_certificate_is_right(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    Authority(place.folder).vouch_for(HOST)
    config = place.folder / "nats.conf"
    config.write_text(place.read("cert_file:"))
    server = nats_server("-c", str(config))
    monkeypatch.setenv("SSL_CERT_FILE", place.setting("SSL_CERT_FILE", "SSL_CERT_FILE"))
    async with server as running:
        here = replace(place, port=int(running.url.rpartition(":")[2]))
        settings = Settings.from_environ(
            {name: here.setting("SSL_CERT_FILE", name) for name in ("BUS_URL", "NATS_URL")}
        )
        servers = servers_of(settings.nats_url)
        assert make_bus(settings.bus_url, "")._servers == servers  # type: ignore[attr-defined]
        await reach(servers)
        with pytest.raises(Unavailable, match=REFUSED):
            await reach([servers[0].replace(HOST, "127.0.0.1")])
        with with_another_authority(place), pytest.raises(Unavailable, match=REFUSED):
            await reach(servers)


async def test_a_nats_server_without_tls_is_told_nothing_where_tls_was_asked_for() -> None:
    """Whoever stands between could say that the server has none, and would be given the password."""
    heard = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.15.1","tls_required":false,"max_payload":1024}\r\n')
        try:
            while data := await reader.read(4096):
                heard.extend(data)
        except OSError:
            pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(Unavailable):
            await reach([f"tls://recado:PASSWORD@127.0.0.1:{port}"])
    assert heard.startswith(b"\x16\x03") and b"PASSWORD" not in heard, "a TLS handshake, and nothing else"


def test_a_nats_server_without_a_scheme_has_that_of_the_first() -> None:
    assert ["tls://a:1", "tls://b:2"] == servers_of("tls://a:1,b:2")
    assert ["nats://a", "tls://b"] == servers_of("a,tls://b")


# --- RabbitMQ ---------------------------------------------------------------------------------------------------------


async def test_rabbitmq_is_reached_by_tls_alone_and_only_where_its_certificate_is_right(place: Place) -> None:
    Authority(place.folder).vouch_for(HOST)
    config = place.folder / "rabbitmq.conf"
    config.write_text(place.read("listeners.ssl.default"))
    server = Rabbit(place.folder, config)
    url = place.setting("RABBITMQ_URL", "RABBITMQ_URL").replace("recado:PASSWORD", "guest:guest")
    try:
        await server.start()
        await reach_rabbit(url)
        with pytest.raises(TROUBLE, match=REFUSED):
            await reach_rabbit(url.replace(f"@{HOST}:", "@127.0.0.1:"))
        with with_another_authority(place), pytest.raises(TROUBLE, match=REFUSED):
            await reach_rabbit(url)
        with pytest.raises(TROUBLE):
            await reach_rabbit(url.replace("amqps:", "amqp:"))
    finally:
        await server.stop()


async def reach_rabbit(url: str) -> None:
    line = AmqpConnection(url, "test")
    try:
        async with asyncio.timeout(2 * ANSWER_TIME):
            await line.channel()
    finally:
        await line.close()
