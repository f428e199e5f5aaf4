"""The API and the bridges as processes of their own, as in containers: what the one accepts, the other delivers."""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from platforms_support import Fake, fakes, get

from support.places import free_port
from support.programs import Program, Recado
from support.waiting import until


@asynccontextmanager
async def services(database: str, file: Path) -> AsyncIterator[tuple[Recado, Program]]:
    """The API, as what can be asked; and the bridges."""
    given = {
        "DATABASE_URL": database, "JWT_SECRET": "a secret of the tests, of 32 bytes or more", "AUTH_MODE": "open",
        "API_PORT": str(free_port()), "PLATFORMS_FILE": str(file),
    }  # fmt: skip
    async with AsyncExitStack() as stack:
        found = []
        for name in ("api", "bridges"):
            program = await Recado.start(sys.executable, "-m", name, **given)
            stack.push_async_callback(program.end)
            await program.line("^ready$")
            found.append(program)
        api, bridges = found
        assert isinstance(api, Recado)
        api.environ = given
        yield api, bridges


async def test_what_one_process_accepts_another_delivers(database: str, tmp_path: Path) -> None:
    async with fakes(tmp_path) as (three, file), services(database, file) as (api, bridges):
        gwt, buas = three["GWT_CHAT"], three["BuasApp"]
        await until(lambda: is_imported(api, buas))
        await buas.say(api, "room", id=5, name="T", type="group", users=[{"GWT_CHAT": ["bob"]}])
        await buas.say(api, "message", roomId=5, senderId=1, text="one")
        await gwt.message("one")
        assert [body["name"] for body in gwt.of("user")] == ["BuasApp 1"]

        await gwt.end()
        await buas.say(api, "message", roomId=5, senderId=1, text="two")
        await until(lambda: is_waiting(api))
        await gwt.start()
        await get(api, f"/ping?token={gwt.token}")  # said to the one process, for the other's lane
        await gwt.message("two")

        await bridges.end(signal.SIGKILL)
        await buas.say(api, "message", roomId=5, senderId=1, text="three")
        again = await Program.start(sys.executable, "-m", "bridges", **api.environ)
        try:
            await again.line("^ready$")
            await gwt.message("three")
        finally:
            await again.end()
        assert gwt.texts()[-1] == "three" and set(gwt.texts()) == {"one", "two", "three"}


async def is_imported(api: Recado, fake: Fake) -> bool:
    users = (await get(api, "/users"))["users"]
    return len(users[fake.name]) == len(fake.users)


async def is_waiting(api: Recado) -> bool:
    listed = (await get(api, "/platforms"))["platforms"]
    return any(each["state"] == "waiting" for each in listed)
